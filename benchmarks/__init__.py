"""Studies, ablations and comparisons; not part of the wheel."""
