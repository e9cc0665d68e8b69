"""The simulator of `rankd replay` beside a real vLLM: `make sim-check`."""
