"""Traces of arrivals and lengths, read from files and from the completion log."""
