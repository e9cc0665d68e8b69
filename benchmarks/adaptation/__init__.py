"""What learning the traffic brings, on rows of lengths: ``python -m benchmarks.adaptation --data DIR``."""
