"""An encoder written anew so that what is not a matrix product costs little on a CPU.

onnxruntime's fused operators are made for float32, where products take all the time. With products in int8 they are
two thirds of it, and the rest counts:

- ``SkipLayerNormalization`` adds up one number at a time where ``LayerNormalization`` uses vectors (236 against 28
  microseconds for 128 tokens of 384). Its weight is free, so it divides the loud channels; the norm's own weight and
  bias go into the products behind it. Exact but for rounding.
- Attention is faster as two products and a softmax. Activations are kept as [tokens, batch, hidden]: the two products
  then read and write heads where they lie (``transBatchA``), which saves three of four transpositions.
- A feed-forward part with ReLU needs no ReLU: negative numbers are below the grid of what reads it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto

from rankd.training.export.graph_writer import OWN, GraphWriter
from rankd.training.export.parity import INPUTS
from rankd.training.export.read_encoder import EncoderLayer, EncoderWeights, Floats, LayerNorm

Scales = Mapping[str, Floats]
_MASKED = 1e4
"""Taken off the logits of padding."""


class Products(Protocol):
    """An arithmetic for the products of activations with weights."""

    def read(self, writer: GraphWriter, x: str, place: str) -> tuple[str, ...]:
        """Make activations, float32[tokens, batch, in], ready for products; ``place`` is where they are."""

    def times(self, writer: GraphWriter, ready: tuple[str, ...], weight: Floats, bias: Floats) -> str:
        """Multiply with ``weight`` [in, out] and add ``bias`` [out]: float32[tokens, batch, out]."""

    def relu(self, writer: GraphWriter, x: str) -> str:
        """Negative numbers as 0, or as they are where ``read`` rounds them to 0."""


class Int8Encoder:
    """Writes one encoder in one arithmetic."""

    def __init__(self, encoder: EncoderWeights, products: Products, scales: Scales | None = None) -> None:
        """Keep the parts.

        Args:
            encoder: what to write.
            products: in what arithmetic.
            scales: by place, what each channel of the activations is divided by before a product; the weights are
                multiplied with the same. It brings channels to one range, and changes nothing but rounding.
        """
        self._encoder, self._products, self._scales = encoder, products, scales or {}
        self._writer = GraphWriter()
        self.places: dict[str, str] = {}
        """Name of the activations at each place, as the products read them."""

    def model(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
        """Write it all."""
        writer, encoder = self._writer, self._encoder
        self._ids = writer.add("Transpose", INPUTS[0], perm=[1, 0])
        self._mask_bias = self._padding()
        normed, norm = self._normalise(self._embedded(), self._quiet("0.attention")), encoder.start
        for i, layer in enumerate(encoder.layers):
            normed, norm = self._layer(i, layer, normed, norm)
        states = writer.add("Transpose", normed, perm=[1, 0, 2])
        writer.copy(encoder.tail, encoder.constants, {encoder.hidden: states})
        return writer.model(inputs, outputs)

    def _embedded(self) -> str:
        """Word vectors as int8 with a scale of their own each, which halves the file and costs next to nothing."""
        writer = self._writer
        whole, scale = eight_bit(self._encoder.words, axis=1)
        rows = writer.add("Cast", writer.add("Gather", writer.weight(whole), self._ids), to=TensorProto.FLOAT)
        words = writer.add("Mul", rows, writer.add("Gather", writer.weight(scale), self._ids))
        zero, length = writer.weight([0], np.int64), writer.add("Shape", INPUTS[0], start=1, end=2)
        positions = writer.add("Slice", writer.weight(self._encoder.positions), zero, length, zero)
        return writer.add("Add", words, writer.add("Unsqueeze", positions, writer.weight([1], np.int64)))

    def _padding(self) -> str:
        """What is added to the logits, [batch, 1, 1, tokens]: 0, or a large negative number on padding."""
        writer = self._writer
        off = writer.add("Sub", writer.add("Cast", INPUTS[1], to=TensorProto.FLOAT), writer.weight(1.0, np.float32))
        scaled = writer.add("Mul", off, writer.weight(_MASKED, np.float32))
        return writer.add("Unsqueeze", scaled, writer.weight([1, 2], np.int64))

    def _normalise(self, x: str, weight: Floats, *bias: Floats) -> str:
        """Mean 0 and deviation 1 of each token, times ``weight`` [hidden], and ``bias`` [hidden] where it has one."""
        writer = self._writer
        given = [writer.weight(part, np.float32) for part in (weight, *bias)]
        return writer.add("LayerNormalization", x, *given, axis=-1, epsilon=float(self._encoder.epsilon))

    def _layer(self, i: int, layer: EncoderLayer, normed: str, norm: LayerNorm) -> tuple[str, LayerNorm]:
        """From one norm's output, without its weight and bias, to the next one's; the last has them."""
        writer = self._writer
        context = self._attention(i, layer, normed, norm)
        scale = self._scale(f"{i}.context", layer.out)
        attended = self._times(f"{i}.context", context, [(scale[:, None] * layer.out, layer.out_bias + norm.bias)])[0]
        attended = self._plus_rest(attended, normed, norm, f"{i}.attention")
        normed = self._normalise(attended, self._quiet(f"{i}.up"))
        scale = self._scale(f"{i}.down", layer.down)
        if layer.relu:  # positive numbers may be divided before it as well as behind it, which is for nothing
            up = self._behind_norm(f"{i}.up", normed, layer.middle, [(layer.up / scale, layer.up_bias / scale)])[0]
            active = self._products.relu(writer, up)
        else:
            up = self._behind_norm(f"{i}.up", normed, layer.middle, [(layer.up, layer.up_bias)])[0]
            active = self._divided(writer.add("Gelu", up, domain=OWN), scale)
        down = self._times(f"{i}.down", active, [(scale[:, None] * layer.down, layer.down_bias + layer.middle.bias)])[0]
        down = self._plus_rest(down, normed, layer.middle, f"{i}.up")
        if i + 1 == len(self._encoder.layers):
            return self._normalise(down, layer.end.weight, layer.end.bias), layer.end
        return self._normalise(down, self._quiet(f"{i + 1}.attention")), layer.end

    def _plus_rest(self, change: str, normed: str, norm: LayerNorm, place: str) -> str:
        """The residual; the norm's bias is in the bias of ``change`` already."""
        writer = self._writer
        weight = norm.weight * self._scale(place, norm.weight)
        return writer.add("Add", change, writer.add("Mul", normed, writer.weight(weight, np.float32)))

    def _attention(self, i: int, layer: EncoderLayer, normed: str, norm: LayerNorm) -> str:
        writer, width, heads = self._writer, self._encoder.width, self._encoder.heads
        parts = [
            (layer.qkv[:, j * width : (j + 1) * width], layer.qkv_bias[j * width : (j + 1) * width]) for j in (0, 1, 2)
        ]
        size = width // heads
        factors: tuple[Any, Any, Any] = (1 / math.sqrt(size), 1.0, 1 / self._scale(f"{i}.context", layer.out))
        scaled = [(weight * f, bias * f) for (weight, bias), f in zip(parts, factors, strict=True)]
        shape = writer.weight([0, 0, heads, size], np.int64)
        query, key, value = (
            writer.add("Reshape", x, shape) for x in self._behind_norm(f"{i}.attention", normed, norm, scaled)
        )
        # [tokens, batch, heads, size] is read as [batch, heads, tokens, size].
        heads_of: dict[str, Any] = {"domain": OWN, "transBatchB": 1}
        logits = writer.add("FusedMatMul", query, key, transBatchA=1, transB=1, **heads_of)
        chances = writer.add("Softmax", writer.add("Add", logits, self._mask_bias), axis=-1)
        mixed = writer.add("FusedMatMul", chances, value, **heads_of)
        back = writer.weight([0, 0, width], np.int64)
        return writer.add("Reshape", writer.add("Transpose", mixed, perm=[2, 0, 1, 3]), back)

    def _behind_norm(self, place: str, normed: str, norm: LayerNorm, parts: list[tuple[Floats, Floats]]) -> list[str]:
        """Products with a norm's output, the norm's weight and bias taken into theirs."""
        factor = (self._scale(place, parts[0][0]) * norm.weight)[:, None]
        return self._times(place, normed, [(factor * weight, norm.bias @ weight + bias) for weight, bias in parts])

    def _times(self, place: str, x: str, parts: list[tuple[Floats, Floats]]) -> list[str]:
        self.places[place] = x
        ready = self._products.read(self._writer, x, place)
        return [self._products.times(self._writer, ready, w.astype(np.float32), b.astype(np.float32)) for w, b in parts]

    def _scale(self, place: str, weight: Floats) -> Floats:
        return self._scales.get(place, np.ones(len(weight), dtype=np.float32))

    def _quiet(self, place: str) -> Floats:
        """Weight of the norm before a place: what its loud channels are divided by."""
        ones = np.ones(self._encoder.width, dtype=np.float32)
        return ones / self._scale(place, ones)

    def _divided(self, x: str, scale: Floats) -> str:
        if np.all(scale == 1):
            return x
        return self._writer.add("Mul", x, self._writer.weight(1 / scale, np.float32))


def eight_bit(weight: Floats, axis: int) -> tuple[NDArray[np.int8], Floats]:
    """Round to int8, one scale for each slice along ``axis``: ``weight`` is about ``whole * scale``."""
    scale = np.maximum(np.abs(weight).max(axis=axis, keepdims=True), 1e-12) / 127
    return np.clip(np.rint(weight / scale), -127, 127).astype(np.int8), scale.astype(np.float32)
