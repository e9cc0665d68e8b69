"""``rankd train``."""
