"""rankd beside other servers of the same encoder: ``make peers``."""
