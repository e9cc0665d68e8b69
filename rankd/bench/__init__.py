"""``rankd bench``: a daemon against its floors, side by side in one run."""

SCENARIOS = ("latency", "throughput", "echo", "queue", "overload", "memory")
