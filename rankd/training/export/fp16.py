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
from rankd.training.export.cuda_encoder import CudaEncoder
from rankd.training.export.parity import scores_of, torch_runner
from rankd.training.export.read_encoder import read_encoder

_PROBED = 200
"""Rows that are run in half precision on the CPU, which is slow."""


def to_fp16(model: ModelProto, module: TransformerRanker, encoded: EncodedRows) -> ModelProto:
    """Convert a graph: an encoder of BERT's form is written anew for CUDA, any other converted node by node.

    On a CPU onnxruntime calculates such a graph in float32, so that a check of the file there finds what rounding of
    the weights costs and no overflow. PyTorch does calculate in half precision on a CPU: that is asked first.

    Args:
        model: in float32.
        module: the same in PyTorch.
        encoded: real prompts to look for overflow on.

    Raises:
        ArtifactError: OVERFLOW, where half precision cannot hold what the model calculates.
    """
    refuse_overflow(module, encoded)
    written = encoder_in_fp16(model)
    if written is not None:
        return written
    tool = import_onnxruntime("transformers.float16")
    return canonical(tool.convert_float_to_float16(model, keep_io_types=True))


def encoder_in_fp16(model: ModelProto, *, small: bool = False) -> ModelProto | None:
    """A fused float32 graph of a BERT-like encoder, written for CUDA; None where it is not of that form.

    Args:
        model: in float32.
        small: keep word vectors in eight bits.
    """
    encoder = read_encoder(model)
    if encoder is None:
        return None
    return canonical(CudaEncoder(encoder, small=small).model(list(model.graph.input), list(model.graph.output)))


def refuse_overflow(module: TransformerRanker, encoded: EncodedRows) -> None:
    """Score prompts in half precision.

    Raises:
        ArtifactError: OVERFLOW, where it cannot hold what the model calculates.
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
