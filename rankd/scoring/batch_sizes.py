"""How large batches are, by provider."""

from __future__ import annotations

DEFAULT_BATCH_TOKENS = {"cpu": 128, "cuda": 16384}
"""Padded tokens of a batch at most, unless ``scoring.max_batch_tokens`` says otherwise."""
EFFICIENT_BATCH_TOKENS = {"cpu": 1, "cuda": 4096}
"""Batches are not made smaller than this to meet a deadline; a CPU reads one prompt about as fast as many."""
WIDTH_MULTIPLE = {"cpu": 1, "cuda": 16}
"""Widths on CUDA are bucketed: onnxruntime's memory arena there grows with every new shape."""
