"""An encoder's weights out of the int8 graph that ``Int8Encoder`` wrote, for rankers whose float32 weights are gone.

They are the rounded ones: what is made of them orders prompts as the int8 graph does, and has lost what that has lost.
Graphs of two forms are read: today's, and the one before, in which the bundled encoder was shipped.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from rankd.training.export.parity import INPUTS
from rankd.training.export.read_encoder import EncoderLayer, EncoderWeights, Floats, LayerNorm

_PRODUCT, _NORM, _OLD_NORM = "MatMulIntegerToFloat", "LayerNormalization", "InstanceNormalization"
_PRODUCTS = 6
"""Of a layer: queries, keys, values, out, up, down."""
_ROUNDED = frozenset({_NORM, "Mul", "Reshape", "Gelu", _PRODUCT})
"""What is rounded on a fixed grid, four times a layer; behind anything else the grid is looked for at run time."""


def read_int8_encoder(model: ModelProto) -> EncoderWeights | None:
    """Read the graph; None where it is not of that form.

    The int8 graph has each norm's bias in the products behind it: here norms have none, but for the last one. What is
    divided in one matrix and multiplied in the next one, values and numbers before a ReLU, stays so.
    """
    reader = _Reader(model)
    products, norms, rounded = reader.of(_PRODUCT), reader.of(_NORM, _OLD_NORM), reader.of("QuantizeLinear")
    depth = len(products) // _PRODUCTS
    counts = (len(products), len(rounded), len(norms), len(reader.of("Softmax")))
    if depth < 1 or counts != (_PRODUCTS * depth, 4 * depth, 2 * depth + 1, depth):
        return None
    if not all(reader.made[n.input[0]].op_type in _ROUNDED for n in rounded):
        return None
    last, states = reader.last(norms[-1])
    read = [*(reader.norm(n) for n in norms[:-1]), last]
    shape = reader.constants[reader.of("Reshape")[0].input[1]]
    words, scale, positions = reader.tables()
    return EncoderWeights(
        words=words * scale,
        positions=positions,
        start=read[0],
        layers=tuple(
            _layer(reader, products[i * _PRODUCTS :][:_PRODUCTS], read[2 * i : 2 * i + 3], int(shape[3]))
            for i in range(depth)
        ),
        heads=int(shape[2]),
        epsilon=next(helper.get_attribute_value(a) for a in norms[-1].attribute if a.name == "epsilon"),
        tail=tuple(reader.nodes[reader.nodes.index(states) + 1 :]),
        constants=reader.constants,
        hidden=states.output[0],
    )


def _layer(reader: _Reader, products: list[NodeProto], norms: list[LayerNorm], size: int) -> EncoderLayer:
    (query, key, value, out, up, down), (before, middle, end) = [reader.product(p) for p in products], norms
    factors = (math.sqrt(size), 1.0, 1.0)  # the int8 graph has the softmax's scale in the queries
    parts = list(zip((query, key, value), factors, strict=True))
    return EncoderLayer(
        qkv=np.concatenate([f * _without(before, weight) for (weight, _), f in parts], axis=1),
        qkv_bias=np.concatenate([f * bias for (_, bias), f in parts]),
        out=out[0],
        out_bias=out[1],
        middle=middle,
        up=_without(middle, up[0]),
        up_bias=up[1],
        down=down[0],
        down_bias=down[1],
        end=end,
        relu=not any(n.op_type == "Gelu" for n in reader.reads(products[4].output[0])),
    )


def _without(norm: LayerNorm, weight: Floats) -> Floats:
    """A matrix behind a norm that takes what the norm's weight was taken into; a weight of 0 leaves nothing to read."""
    factor = np.broadcast_to(norm.weight[:, None], weight.shape)
    return np.divide(weight, factor, out=np.zeros_like(weight), where=factor != 0)


class _Reader:
    """A graph's nodes and constants, and who reads whom."""

    def __init__(self, model: ModelProto) -> None:
        self.nodes = list(model.graph.node)
        self.constants: dict[str, NDArray[Any]] = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
        self.made = {name: n for n in self.nodes for name in n.output}

    def of(self, *operators: str) -> list[NodeProto]:
        """Nodes of these operators."""
        return [n for n in self.nodes if n.op_type in operators]

    def reads(self, name: str) -> list[NodeProto]:
        """Nodes that read a value."""
        return [n for n in self.nodes if name in n.input]

    def norm(self, node: NodeProto) -> LayerNorm:
        """A norm with the weight that its output has in the next sum."""
        scaled = [n for n in self.reads(node.output[0]) if n.op_type == "Mul"]
        found = next(n for n in scaled if any(r.op_type == "Add" for r in self.reads(n.output[0])))
        weight = self.constants[found.input[1]]
        if node.op_type == _NORM:  # what is divided here is multiplied there
            weight = weight * self.constants[node.input[1]]
        return LayerNorm(weight, np.zeros_like(weight))

    def last(self, node: NodeProto) -> tuple[LayerNorm, NodeProto]:
        """The last norm, and the node behind it that gives the states which are pooled."""
        after = self.reads(node.output[0])[0]
        if node.op_type == _NORM:
            return LayerNorm(self.constants[node.input[1]], self.constants[node.input[2]]), after
        end = self.reads(after.output[0])[0]
        return LayerNorm(self.constants[after.input[1]], self.constants[end.input[1]]), end

    def product(self, node: NodeProto) -> tuple[Floats, Floats]:
        """Weight and bias of a product as it acts on what comes before scaling and rounding."""
        whole, scale, bias = (self.constants[node.input[i]] for i in (1, 3, 6))
        weight = whole.astype(np.float32) * scale
        before = self.made[self.made[node.input[0]].input[0]]
        if before.op_type == _NORM or (before.op_type == "Mul" and before.input[1] in self.constants):
            weight = self.constants[before.input[1]][:, None] * weight
        return weight, bias

    def tables(self) -> tuple[NDArray[Any], Floats, Floats]:
        """Word vectors as int8, their scales, and positions."""
        ids = {INPUTS[0], *(n.output[0] for n in self.of("Transpose") if n.input[0] == INPUTS[0])}
        words, scale, *_ = [self.constants[n.input[0]] for n in self.of("Gather") if n.input[1] in ids]
        return words, scale, self.constants[self.of("Slice")[0].input[0]]
