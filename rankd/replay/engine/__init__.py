"""A simulated engine: continuous batching, its cost, its KV memory."""
