"""The chart's reference, schema and rendered examples: ``python -m tools.chart`` writes them."""
