"""``rankd bench``: a running daemon measured beside its floors, the model alone and gRPC alone, in one run."""

SCENARIOS = ("latency", "throughput", "echo", "queue", "calls", "overload", "memory")
