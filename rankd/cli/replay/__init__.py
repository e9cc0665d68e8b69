"""``rankd replay``."""
