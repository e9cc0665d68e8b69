"""float16 for CUDA: weights and arithmetic in half precision, inputs int64 and outputs float32 as they were."""

from __future__ import annotations

import copy

import numpy as np
from onnx import ModelProto

from rankd.errors import ArtifactError
from rankd.scoring.onnxruntime_import import import_onnxruntime
from rankd.training.bases.transformer import TransformerRanker
from rankd.training.data.lists import EncodedRows
from rankd.training.export.canonical_graph import canonical
from rankd.training.export.parity import scores_of, torch_runner

_PROBED = 200
"""Rows that are run in half precision on the CPU, which is slow."""


def to_fp16(model: ModelProto, module: TransformerRanker, encoded: EncodedRows) -> ModelProto:
    """Convert a graph.

    On a CPU onnxruntime calculates such a graph in float32, so that a check of the file there finds what rounding of
    the weights costs and no overflow. PyTorch does calculate in half precision on a CPU: that is asked first.

    Args:
        model: in float32.
        module: the same in PyTorch.
        encoded: real prompts to look for overflow on.

    Raises:
        ArtifactError: OVERFLOW, where half precision cannot hold what the model calculates.
    """
    halved = copy.deepcopy(module).half()
    step = max(1, len(encoded) // _PROBED)
    scores = scores_of(torch_runner(halved), encoded.ids[::step])
    if not np.isfinite(scores).all():
        raise ArtifactError(
            "OVERFLOW",
            f"fp16: {int((~np.isfinite(scores)).sum())} of {len(scores)} prompts overflow half precision in this base: "
            "export fp32, or int8 for a CPU",
        )
    tool = import_onnxruntime("transformers.float16")
    return canonical(tool.convert_float_to_float16(model, keep_io_types=True))
