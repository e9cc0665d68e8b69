"""rankd in transformers' continuous batching."""
