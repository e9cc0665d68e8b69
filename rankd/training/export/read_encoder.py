"""A BERT-like encoder read back out of its fused graph, so that it can be written anew in another arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

Floats = NDArray[np.float32]

_BIAS_RELU = "BiasRelu"
"""Name here for what onnxruntime does not fuse: a sum with a bias, and a ReLU."""
_LAYER = (
    "Attention",
    "MatMul",
    "SkipLayerNormalization",
    "MatMul",
    "BiasGelu",
    "MatMul",
    "SkipLayerNormalization",
)
_WITH_RELU = tuple(_BIAS_RELU if operator == "BiasGelu" else operator for operator in _LAYER)


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """A layer normalisation's weight and bias, [hidden] each."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class EncoderLayer:
    """One layer; a matrix is [in, out]."""

    qkv: Floats
    qkv_bias: Floats
    out: Floats
    out_bias: Floats
    middle: LayerNorm
    up: Floats
    up_bias: Floats
    down: Floats
    down_bias: Floats
    end: LayerNorm
    relu: bool = False
    """Whether ``up`` is followed by a ReLU, and not by a Gelu."""


@dataclass(frozen=True, slots=True)
class EncoderWeights:
    """All of a ranker: an encoder's weights, and the nodes behind it, which pool and score."""

    words: Floats
    """[vocabulary, hidden]."""
    positions: Floats
    """[positions, hidden], the first token type's vector added."""
    start: LayerNorm
    layers: tuple[EncoderLayer, ...]
    heads: int
    epsilon: float
    tail: tuple[NodeProto, ...]
    constants: dict[str, NDArray[Any]]
    """What the tail's nodes read, by name."""
    hidden: str
    """The name under which the tail reads the last layer's states."""

    @property
    def width(self) -> int:
        """Hidden size."""
        return int(self.words.shape[1])


def read_encoder(model: ModelProto) -> EncoderWeights | None:
    """Read a fused graph; None where it is not of the form known here, a BERT's."""
    graph = model.graph
    constants: dict[str, NDArray[Any]] = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    body = [n for n in _with_relus(list(graph.node)) if n.op_type in {*_LAYER, *_WITH_RELU, "EmbedLayerNormalization"}]
    depth = (len(body) - 1) // len(_LAYER)
    known = [("EmbedLayerNormalization", *kind * depth) for kind in (_LAYER, _WITH_RELU)]
    if depth < 1 or tuple(n.op_type for n in body) not in known:
        return None
    parts = [body[1 + i * len(_LAYER) :][: len(_LAYER)] for i in range(depth)]
    first = _attributes(parts[0][0])
    if not _chained(body) or first.get("unidirectional", 0) or "scale" in first:
        return None
    words, positions, types, weight, bias = (constants.get(name) for name in body[0].input[2:7])
    if words is None or positions is None or weight is None or bias is None:
        return None
    return EncoderWeights(
        words=words,
        positions=positions if types is None else positions + types[0],  # DistilBERT has none
        start=LayerNorm(weight, bias),
        layers=tuple(_layer(part, constants) for part in parts),
        heads=first["num_heads"],
        epsilon=_attributes(body[0])["epsilon"],
        tail=tuple(_behind(model, body[-1].output[0], constants)),
        constants=constants,
        hidden=body[-1].output[0],
    )


def _with_relus(nodes: list[NodeProto]) -> list[NodeProto]:
    """Each sum that a ReLU reads, and the ReLU, as one node of two inputs like ``BiasGelu``."""
    sums = {n.output[0]: n for n in nodes if n.op_type == "Add"}
    products = {n.output[0] for n in nodes if n.op_type == "MatMul"}
    out = []
    for node in nodes:
        if node.op_type == "Relu" and node.input[0] in sums:
            # The exporter writes the bias first, onnxruntime's own sums have it second.
            read = sorted(sums[node.input[0]].input, key=lambda name: name not in products)
            out.append(helper.make_node(_BIAS_RELU, read, list(node.output)))
        else:
            out.append(node)
    return out


def _layer(nodes: list[NodeProto], constants: dict[str, NDArray[Any]]) -> EncoderLayer:
    attention, out, middle, up, active, down, end = nodes
    return EncoderLayer(
        qkv=constants[attention.input[1]],
        qkv_bias=constants[attention.input[2]],
        out=constants[out.input[1]],
        out_bias=constants[middle.input[4]],
        middle=LayerNorm(constants[middle.input[2]], constants[middle.input[3]]),
        up=constants[up.input[1]],
        up_bias=constants[active.input[1]],
        down=constants[down.input[1]],
        down_bias=constants[end.input[4]],
        end=LayerNorm(constants[end.input[2]], constants[end.input[3]]),
        relu=active.op_type == _BIAS_RELU,
    )


def _chained(body: list[NodeProto]) -> bool:
    """Whether each node reads the one before it, and norms have all their inputs."""
    follows = all(before.output[0] in after.input for before, after in pairwise(body))
    return follows and all(len(n.input) == 5 for n in body if n.op_type == "SkipLayerNormalization")


def _behind(model: ModelProto, hidden: str, constants: dict[str, NDArray[Any]]) -> list[NodeProto]:
    """The nodes that lead from ``hidden`` and the inputs to the outputs, in order."""
    needed = {v.name for v in model.graph.output}
    nodes: list[NodeProto] = []
    for node in reversed(model.graph.node):
        if needed & set(node.output) and hidden not in node.output and node.output[0] not in constants:
            nodes.append(node)
            needed.update(node.input)
    return nodes[::-1]


def _attributes(node: NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
