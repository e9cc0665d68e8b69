"""int8 for CPUs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from rankd.training.canonical import canonical


def to_int8(model: ModelProto, ids: Sequence[NDArray[np.int32]]) -> ModelProto:
    """Quantise weights by channel, and activations by batch."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    del ids
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "int8.onnx"
        quantize_dynamic(
            model,
            path,
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        return canonical(onnx.load(path))
