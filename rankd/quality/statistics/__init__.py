"""Pure statistics: pairs, sums, intervals, comparisons."""
