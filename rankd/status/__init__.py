"""The daemon's state as gauges, as JSON and as a page."""
