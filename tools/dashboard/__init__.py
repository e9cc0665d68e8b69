"""The Grafana dashboard of the chart: ``python -m tools.dashboard`` writes it."""
