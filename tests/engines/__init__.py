"""rankd inside real engines: `make engines`, `make sim-check`."""
