"""Is the file what was trained? Scores of a model in onnxruntime beside PyTorch's, on real prompts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rankd.scoring.onnx_model import Ids, OnnxModel, Scores, pad
from rankd.scoring.session import ModelSpec, SessionOptions
from rankd.training.data.lists import EncodedRows
from rankd.training.fit.validate import group_tau

INPUTS = ("input_ids", "attention_mask")
SCORE, FEATURES = "score", "features"
Run = Callable[[Ids, Ids], Scores]
"""From ids and mask, int64[batch, tokens] each, to scores, [batch]."""
BATCH_TOKENS = 128
"""Padded tokens of a batch: the daemon's own on a CPU (docs/adr/0004-scoring-on-cpu.md)."""
_RESAMPLES = 200
_FEWEST = 50
"""Rows below which a difference of tau says nothing."""


def batches(ids: Sequence[NDArray[np.int32]], budget: int = BATCH_TOKENS) -> list[NDArray[np.int64]]:
    """Rows sorted by length and cut into batches of at most ``budget`` padded tokens, as they are served."""
    order = np.argsort([len(row) for row in ids], kind="stable")
    out, start = [], 0
    while start < len(order):
        end = start + 1
        while end < len(order) and len(ids[order[end]]) * (end + 1 - start) <= budget:
            end += 1
        out.append(order[start:end])
        start = end
    return out


def scores_of(run: Run, ids: Sequence[NDArray[np.int32]], budget: int = BATCH_TOKENS) -> Scores:
    """Score rows in batches.

    Args:
        run: the model.
        ids: token ids of each row.
        budget: padded tokens of a batch; 1 scores each row alone.

    Returns:
        float64[rows].
    """
    out = np.zeros(len(ids))
    for places in batches(ids, budget):
        out[places] = run(*pad([ids[p].astype(np.int64) for p in places]))
    return out


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch use one thread: sums come out the same on any machine, and batches are too small to share."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def torch_runner(module: nn.Module) -> Run:
    """What PyTorch gives: the score, without the spread."""

    def run(ids: Ids, mask: Ids) -> Scores:
        with torch.inference_mode():
            out = module(torch.from_numpy(ids), torch.from_numpy(mask))
        scores: Scores = (out[0] if isinstance(out, tuple) else out).double().numpy()
        return scores

    return run


def onnx_runner(content: bytes, threads: int = 1) -> Run:
    """What onnxruntime gives for a model on the CPU, through the daemon's own session.

    Raises:
        ArtifactError: it cannot be loaded.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        path.write_bytes(content)
        spec = ModelSpec(str(path), INPUTS, SCORE, 0)
        return OnnxModel(spec, SessionOptions("cpu", threads=threads)).run


@dataclass(frozen=True, slots=True)
class PrecisionLoss:
    """What a precision costs in order: tau of PyTorch's scores less its own, on the same rows."""

    tau: float
    deviation: float
    """Standard deviation of ``tau``, by paired bootstrap: what the choice of rows alone makes of it."""
    rows: int


def tau_lost(before: Scores, after: Scores, encoded: EncodedRows) -> PrecisionLoss:
    """Measure it, within each source and model; 0 with infinite deviation where the rows cannot tell."""
    random = np.random.default_rng(0)
    n = len(encoded)
    whole = _difference(before, after, encoded, np.arange(n))
    if whole is None or n < _FEWEST:
        return PrecisionLoss(whole or 0.0, float("inf"), n)
    drawn = [_difference(before, after, encoded, random.integers(0, n, n)) for _ in range(_RESAMPLES)]
    return PrecisionLoss(whole, float(np.std([d for d in drawn if d is not None])), n)


def _difference(before: Scores, after: Scores, encoded: EncodedRows, rows: NDArray[np.int64]) -> float | None:
    part = EncodedRows([], encoded.tokens[rows], encoded.complete[rows], encoded.groups[rows], encoded.log_tokens[rows])
    first, second = group_tau(before[rows], part), group_tau(after[rows], part)
    return None if first is None or second is None else first - second
