"""The same encoder as graphs for CUDA: attention with a mask or with lengths, padding removed, fp32 or fp16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from rankd.scoring.onnxruntime_import import import_onnxruntime
from rankd.training.export.graph_writer import OWN, GraphWriter
from rankd.training.export.read_encoder import EncoderLayer, EncoderWeights, LayerNorm

Attention = Literal["mask", "lengths", "heads", "packed"]
"""``mask``: one operator with the mask of each token, as it is exported. ``lengths``: the same with the number of real
tokens in each row, which lets onnxruntime choose kernels that know no other mask. ``heads``: MultiHeadAttention behind
a product of its own. ``packed``: padding is taken out before the first layer and comes back behind the last."""


@dataclass(frozen=True, slots=True)
class GraphKind:
    """Which graph to write."""

    attention: Attention
    precision: Literal["fp32", "fp16"]

    @property
    def name(self) -> str:
        """As results call it."""
        return f"{self.precision} {self.attention}"

    @property
    def cuda_only(self) -> bool:
        """Whether it has operators that a CPU has not."""
        return self.attention == "packed"


def write_graph(encoder: EncoderWeights, kind: GraphKind) -> ModelProto:
    """Write an encoder; inputs int64[batch, tokens], output ``score`` float32[batch], whatever the precision."""
    model = _Writer(encoder, kind.attention).model()
    if kind.precision == "fp32":
        return model
    tool = import_onnxruntime("transformers.float16")
    half: ModelProto = tool.convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    return half


class _Writer:
    """One graph."""

    def __init__(self, encoder: EncoderWeights, attention: Attention) -> None:
        self._encoder, self._attention = encoder, attention
        self._writer = GraphWriter()
        self._packing: list[str] = []
        """Offsets of tokens and cumulated lengths, where padding is removed."""

    def model(self) -> ModelProto:
        writer, encoder = self._writer, self._encoder
        ids, mask = (writer.add("Cast", name, to=TensorProto.INT32) for name in ("input_ids", "attention_mask"))
        x, lengths = self._embedded(ids, mask)
        if self._attention == "packed":
            x, *self._packing = writer.split("RemovePadding", x, lengths, outputs=4, domain=OWN)
        for layer in encoder.layers:
            attended = writer.add("MatMul", self._attended(x, layer, mask, lengths), writer.weight(layer.out))
            x = self._normed(attended, x, layer.middle, layer.out_bias)
            up = writer.add("MatMul", x, writer.weight(layer.up))
            active = writer.add("BiasGelu", up, writer.weight(layer.up_bias), domain=OWN)
            down = writer.add("MatMul", active, writer.weight(layer.down))
            x = self._normed(down, x, layer.end, layer.down_bias)
        if self._packing:
            x = writer.add("RestorePadding", x, self._packing[0], domain=OWN)
        writer.copy(encoder.tail, encoder.constants, {encoder.hidden: x})
        return writer.model(_inputs(), [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])])

    def _embedded(self, ids: str, mask: str) -> tuple[str, str]:
        """States before the first layer, and lengths, int32[batch]."""
        writer, encoder = self._writer, self._encoder
        inputs = (
            ids, "", writer.weight(encoder.words), writer.weight(encoder.positions), "",
            writer.weight(encoder.start.weight), writer.weight(encoder.start.bias), mask,
        )  # fmt: skip
        x, lengths = writer.split(
            "EmbedLayerNormalization", *inputs, outputs=2, domain=OWN, epsilon=float(encoder.epsilon)
        )
        return x, lengths

    def _attended(self, x: str, layer: EncoderLayer, mask: str, lengths: str) -> str:
        writer, heads = self._writer, self._encoder.heads
        if self._attention == "heads":
            parts = [writer.weight(np.ascontiguousarray(w)) for w in np.split(layer.qkv, 3, axis=1)]
            query, key, value = (writer.add("MatMul", x, part) for part in parts)
            bias = writer.weight(layer.qkv_bias)
            return writer.add("MultiHeadAttention", query, key, value, bias, lengths, domain=OWN, num_heads=heads)
        fused = (x, writer.weight(layer.qkv), writer.weight(layer.qkv_bias))
        if self._attention == "packed":
            return writer.add("PackedAttention", *fused, *self._packing[:2], domain=OWN, num_heads=heads)
        seen = mask if self._attention == "mask" else lengths
        return writer.add("Attention", *fused, seen, domain=OWN, num_heads=heads)

    def _normed(self, change: str, x: str, norm: LayerNorm, bias: Any) -> str:
        writer = self._writer
        inputs = (change, x, writer.weight(norm.weight), writer.weight(norm.bias), writer.weight(bias))
        return writer.add("SkipLayerNormalization", *inputs, domain=OWN, epsilon=float(self._encoder.epsilon))


def _inputs() -> list[ValueInfoProto]:
    names = ("input_ids", "attention_mask")
    return [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"]) for name in names]
