"""An encoder's weights out of the int8 graph that ``Int8Encoder`` wrote, for rankers whose float32 weights are gone.

They are the rounded ones: what is made of them orders prompts as the int8 graph does, and has lost what that has lost.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from rankd.training.export.parity import INPUTS
from rankd.training.export.read_encoder import EncoderLayer, EncoderWeights, Floats, LayerNorm

_PRODUCT, _NORM = "MatMulIntegerToFloat", "InstanceNormalization"
_PRODUCTS = 6
"""Of a layer: queries, keys, values, out, up, down."""


def read_int8_encoder(model: ModelProto) -> EncoderWeights | None:
    """Read the graph; None where it is not of that form.

    The int8 graph has each norm's bias in the products behind it: here norms have none, but for the last one.
    """
    nodes = list(model.graph.node)
    products = [n for n in nodes if n.op_type == _PRODUCT]
    if not products or len(products) % _PRODUCTS:
        return None
    reader = _Reader(model)
    last = next(n for n in reversed(nodes) if n.op_type == _NORM)
    scaled = reader.reads(last.output[0])[0]
    end = reader.reads(scaled.output[0])[0]
    gains = [reader.gain(n.output[0]) for n in nodes if n.op_type == _NORM]
    norms = [LayerNorm(g, np.zeros_like(g)) for g in gains[:-1]] + [
        LayerNorm(gains[-1], reader.constants[end.input[1]])
    ]
    shape = next(reader.constants[n.input[1]] for n in nodes if n.op_type == "Reshape")
    words, scale, positions = reader.tables()
    return EncoderWeights(
        words=words * scale,
        positions=positions,
        start=norms[0],
        layers=tuple(
            _layer(reader, products[i * _PRODUCTS :][:_PRODUCTS], norms[2 * i : 2 * i + 3], int(shape[3]))
            for i in range(len(products) // _PRODUCTS)
        ),
        heads=int(shape[2]),
        epsilon=next(helper.get_attribute_value(a) for a in last.attribute if a.name == "epsilon"),
        tail=tuple(nodes[nodes.index(end) + 1 :]),
        constants=reader.constants,
        hidden=end.output[0],
    )


def _layer(reader: _Reader, products: list[NodeProto], norms: list[LayerNorm], size: int) -> EncoderLayer:
    (query, key, value, out, up, down), (before, middle, end) = [reader.product(p) for p in products], norms
    factors = (math.sqrt(size), 1.0, 1.0)  # the int8 graph has the softmax's scale in the queries
    parts = list(zip((query, key, value), factors, strict=True))
    return EncoderLayer(
        qkv=np.concatenate([f * weight / before.weight[:, None] for (weight, _), f in parts], axis=1),
        qkv_bias=np.concatenate([f * bias for (_, bias), f in parts]),
        out=out[0],
        out_bias=out[1],
        middle=middle,
        up=up[0] / middle.weight[:, None],
        up_bias=up[1],
        down=down[0],
        down_bias=down[1],
        end=end,
    )


class _Reader:
    """A graph's constants, and who reads whom."""

    def __init__(self, model: ModelProto) -> None:
        self.constants: dict[str, NDArray[Any]] = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
        self._nodes = list(model.graph.node)
        self._made = {name: n for n in self._nodes for name in n.output}

    def reads(self, name: str) -> list[NodeProto]:
        """Nodes that read a value."""
        return [n for n in self._nodes if name in n.input]

    def gain(self, normed: str) -> Floats:
        """A norm's weight: what its output is multiplied with on its way into a sum."""
        scaled = [n for n in self.reads(normed) if n.op_type == "Mul"]
        found = next(n for n in scaled if any(r.op_type == "Add" for r in self.reads(n.output[0])))
        return self.constants[found.input[1]]

    def product(self, node: NodeProto) -> tuple[Floats, Floats]:
        """Weight and bias of a product as it acts on what comes before scaling and rounding."""
        whole, scale, bias = (self.constants[node.input[i]] for i in (1, 3, 6))
        weight = whole.astype(np.float32) * scale
        before = self._made[self._made[node.input[0]].input[0]]
        if before.op_type == "Mul" and before.input[1] in self.constants:
            weight = self.constants[before.input[1]][:, None] * weight
        return weight, bias

    def tables(self) -> tuple[NDArray[Any], Floats, Floats]:
        """Word vectors as int8, their scales, and positions."""
        words, scale, *_ = [self.constants[n.input[0]] for n in self._nodes if n.input[1:] == [INPUTS[0]]]
        sliced = next(n for n in self._nodes if n.op_type == "Slice")
        return words, scale, self.constants[sliced.input[0]]
