"""Metrics, spans, events and logs, and what may stand in them."""
