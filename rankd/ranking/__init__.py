"""The two use cases: order a queue, take a completion."""
