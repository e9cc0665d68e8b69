"""A ranker's second graph, for CUDA: written beside ``model.onnx``, and checked as far as a CPU can."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import ModelProto

from rankd.errors import ArtifactError
from rankd.registry.artifact_files import CUDA_MODEL
from rankd.scoring.onnx_model import Scores
from rankd.training.bases.transformer import TransformerRanker
from rankd.training.data.lists import EncodedRows
from rankd.training.export.canonical_graph import to_bytes
from rankd.training.export.cuda_kernels import nodes_without_kernel
from rankd.training.export.fp16 import encoder_in_fp16, refuse_overflow
from rankd.training.export.parity import onnx_runner, scores_of, tau_lost

MOST_TAU_LOST = 0.001
"""What the graph may cost in tau against PyTorch's float32, on the calibration rows."""
PRECISION = "fp16"


@dataclass(frozen=True, slots=True)
class CudaReport:
    """What was written, and how near it is to what was trained."""

    bytes: int
    """Of ``model.cuda.onnx``."""
    largest_difference: float
    """Between a score in onnxruntime and PyTorch's, in units of the score."""
    tau_lost: float
    tau_lost_deviation: float
    """What the choice of rows alone makes of ``tau_lost``; infinite where there are too few."""


def write_cuda_graph(
    model: ModelProto, module: TransformerRanker | None, encoded: EncodedRows, expected: Scores, out: Path
) -> CudaReport:
    """Write ``model.cuda.onnx``; nothing is left where it cannot be served.

    On a CPU onnxruntime puts casts around what has no kernel for half precision there. So the check finds a wrong
    graph and what rounding costs; overflow is looked for in PyTorch, which does calculate in half precision.

    Args:
        model: the fused graph in float32.
        module: the same in PyTorch; None: overflow is not looked for.
        encoded: real prompts to check on.
        expected: scores of them in float32, float64[rows].
        out: the ranker's directory.

    Raises:
        ArtifactError: NO_CUDA_GRAPH, where the graph is not of the form that can be written; NO_CUDA_KERNEL, where the
            table of CUDA's kernels has none for its products; OVERFLOW, NAN_SCORES or TAU_LOST.
    """
    path = out / CUDA_MODEL
    path.unlink(missing_ok=True)
    if module is not None:
        refuse_overflow(module, encoded)
    written = encoder_in_fp16(model, small=True)
    if written is None:
        raise ArtifactError("NO_CUDA_GRAPH", "only encoders of BERT's form get a graph for CUDA beside the other")
    if left := [str(node) for node in nodes_without_kernel(written) if node.is_product]:
        raise ArtifactError("NO_CUDA_KERNEL", f"onnxruntime would leave to the CPU: {'; '.join(left[:3])}")
    content = to_bytes(written)
    scores = scores_of(onnx_runner(content), encoded.ids)
    if not np.isfinite(scores).all():
        raise ArtifactError("NAN_SCORES", f"fp16: {int((~np.isfinite(scores)).sum())} scores are not finite")
    loss = tau_lost(expected, scores, encoded)
    # Twice the deviation: with few rows the figure is noise.
    if loss.tau - 2 * loss.deviation > MOST_TAU_LOST:
        raise ArtifactError(
            "TAU_LOST",
            f"fp16 loses {loss.tau:.4f} ± {loss.deviation:.4f} tau on {loss.rows} rows, {MOST_TAU_LOST} is allowed",
        )
    path.write_bytes(content)
    return CudaReport(len(content), float(np.abs(scores - expected).max()), loss.tau, loss.deviation)
