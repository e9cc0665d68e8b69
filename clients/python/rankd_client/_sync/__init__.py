"""The client with threads; made from ``_async`` by ``make generate``."""
