"""The daemon's state, told as gauges, as JSON and as a page."""
