"""int8 for CPUs: what was found to be the fastest that keeps the order, and does not depend on the batch.

``python -m benchmarks.rankers.int8`` compares it with what else was tried.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from rankd.scoring.onnx_model import pad
from rankd.scoring.onnxruntime_import import import_onnxruntime
from rankd.training.export.canonical_graph import canonical, to_bytes
from rankd.training.export.int8_encoder import Int8Encoder
from rankd.training.export.int8_products import FixedGridProducts, FloatProducts
from rankd.training.export.parity import INPUTS, batches
from rankd.training.export.read_encoder import EncoderWeights, Floats, read_encoder
from rankd.training.quiet import quiet_libraries

CALIBRATION_PROMPTS = 300
"""Prompts whose activations are looked at."""
_LARGEST_QUIET = 1.5
"""A channel is quiet up to this many times the median channel's largest activation; louder ones are scaled down to
it. A few channels of an encoder are five times as loud as the others, and would leave these a coarse grid."""
_BATCH = 512
_DIGITS = 3

Ids = Sequence[NDArray[np.int32]]


@dataclass(frozen=True, slots=True)
class ObservedActivations:
    """What activations at one place were like."""

    low: Floats
    """Smallest by channel, [channels]."""
    high: Floats
    sample: Floats
    """Some of the values."""


def to_int8(model: ModelProto, ids: Ids) -> ModelProto:
    """Quantise a fused float32 graph.

    Args:
        model: of a BERT-like encoder; any other is quantised by onnxruntime's own dynamic quantisation.
        ids: real prompts, which fix the ranges of activations.
    """
    encoder = read_encoder(model)
    if encoder is None:
        return by_onnxruntime(model, per_channel=True)
    seen = observe(encoder, model, ids)
    scales = {place: _scale(o) for place, o in seen.items()}
    ranges = {
        place: (_rounded((o.low / scales[place]).min()), _rounded((o.high / scales[place]).max()))
        for place, o in seen.items()
    }
    body = Int8Encoder(encoder, FixedGridProducts(ranges), scales)
    return canonical(body.model(list(model.graph.input), list(model.graph.output)))


def observe(encoder: EncoderWeights, model: ModelProto, ids: Ids) -> dict[str, ObservedActivations]:
    """Run prompts through the encoder in float32 and look at what its products read, by place."""
    onnxruntime = import_onnxruntime()
    body = Int8Encoder(encoder, FloatProducts())
    probe = body.model(list(model.graph.input), list(model.graph.output))
    places = list(body.places)
    for place in places:
        probe.graph.output.append(helper.make_tensor_value_info(body.places[place], TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(to_bytes(probe), options, providers=["CPUExecutionProvider"])
    chosen = [ids[i] for i in np.unique(np.linspace(0, len(ids) - 1, CALIBRATION_PROMPTS).round().astype(int))]
    seen: dict[str, list[ObservedActivations]] = {place: [] for place in places}
    for rows in batches(chosen, _BATCH):
        real, mask = pad([chosen[r].astype(np.int64) for r in rows])
        found = session.run([body.places[p] for p in places], dict(zip(INPUTS, (real, mask), strict=True)))
        for place, values in zip(places, found, strict=True):
            active = values[mask.T.astype(bool)]  # [tokens, batch, channels]
            seen[place].append(
                ObservedActivations(
                    active.min(axis=0), active.max(axis=0), active.ravel()[:: max(1, active.size // 4096)]
                )
            )
    return {place: _joined(parts) for place, parts in seen.items()}


def _joined(parts: list[ObservedActivations]) -> ObservedActivations:
    return ObservedActivations(
        np.min([p.low for p in parts], axis=0),
        np.max([p.high for p in parts], axis=0),
        np.concatenate([p.sample for p in parts]),
    )


def _scale(observed: ObservedActivations) -> Floats:
    """What to divide each channel by, [channels]: 1, or more for a loud one."""
    largest = np.maximum(-observed.low, observed.high)
    quiet = _LARGEST_QUIET * float(np.median(largest))
    if quiet == 0:
        return np.ones_like(largest)
    return np.array([_rounded(max(1.0, v / quiet)) for v in largest.tolist()], dtype=np.float32)


def _rounded(value: float) -> float:
    """To few digits: the last bits of a float32 sum differ from processor to processor, and files should not."""
    return float(f"{value:.{_DIGITS}g}")


def by_onnxruntime(model: ModelProto, *, per_channel: bool, leave: Sequence[str] = ()) -> ModelProto:
    """Quantise with onnxruntime's own tool: weights beforehand, activations by batch.

    Args:
        model: any.
        per_channel: a scale for each output of a product, not one for the whole matrix.
        leave: names of nodes that stay in float32.
    """
    tool = import_onnxruntime("quantization")
    options: Mapping[str, int] = {"DefaultTensorType": TensorProto.FLOAT}
    with tempfile.TemporaryDirectory() as directory, quiet_libraries():
        path = Path(directory) / "int8.onnx"
        tool.quantize_dynamic(
            model,
            path,
            per_channel=per_channel,
            weight_type=tool.QuantType.QInt8,
            nodes_to_exclude=list(leave),
            extra_options=dict(options),
        )
        return canonical(onnx.load(path))
