"""The ranker's encoder in float32, from which every variant is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from rankd.errors import ConfigError
from rankd.registry.artifact import Artifact
from rankd.training.export.read_encoder import EncoderLayer, EncoderWeights, Floats, LayerNorm, read_encoder

CUDA_GRAPH = "model.cuda.onnx"
_WORDS, _POSITIONS, _WIDTH, _INNER, _LAYERS, _HEADS = 30522, 512, 384, 1536, 6, 12
"""The bundled encoder's, for a stand-in."""


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder, and where it is from."""

    weights: EncoderWeights
    source: str
    real: bool
    """Whether it is the ranker, and not a stand-in with weights at random: as fast, and without its order."""
    graph: Path | None = None
    """The ranker's own graph for CUDA, as it is served; None where it has none."""


def find_encoder(artifact: Artifact, graph: Path | None) -> Encoder:
    """Take ``graph``, or the ranker's own for CUDA, or a stand-in of the bundled encoder's shape.

    Args:
        artifact: the ranker.
        graph: a graph of the same ranker in fp32 or fp16 with fused attention, as ``rankd train`` exports it.

    Raises:
        ConfigError: ``graph`` is no such graph.
    """
    own = artifact.path / CUDA_GRAPH
    path = graph or (own if own.exists() else None)
    if path is not None:
        try:
            weights = read_any(onnx.load(str(path)))
        except (OSError, ValueError) as error:
            raise ConfigError(f"--graph: {path} cannot be read: {error}") from None
        if weights is not None:
            return Encoder(weights, str(path), real=True, graph=path)
        if graph is not None:
            raise ConfigError(f"--graph: {path} is not a BERT with fused attention: export it as fp16 or fp32")
    return Encoder(stand_in(), "weights at random, in the bundled encoder's shape", real=False)


def read_any(model: ModelProto) -> EncoderWeights | None:
    """Read a graph in fp32 or fp16, with its embedding in one operator or in several; None where it is neither form."""
    whole = as_float32(model)
    return read_encoder(whole) or read_encoder(_embedding_in_one(whole))


def _embedding_in_one(model: ModelProto) -> ModelProto:
    """The graph with the norm of words and positions as one operator, which ``read_encoder`` knows it by."""
    graph = model.graph
    makes = {name: node for node in graph.node for name in node.output}
    constants = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    place = next((i for i, n in enumerate(graph.node) if n.op_type == "SkipLayerNormalization"), None)
    norm = None if place is None else graph.node[place]
    positions = None if norm is None else makes.get(norm.input[1])
    if place is None or norm is None or len(norm.input) != 4 or positions is None or positions.op_type != "Slice":
        return model
    words = _table(makes[norm.input[0]], makes, constants)
    if words is None or positions.input[0] not in constants:
        return model
    graph.initializer.append(numpy_helper.from_array(words, "all_words"))
    names = ("input_ids", "", "all_words", positions.input[0], "", norm.input[2], norm.input[3], "attention_mask")
    one = helper.make_node("EmbedLayerNormalization", names, norm.output, domain=norm.domain)
    one.attribute.extend(norm.attribute)
    graph.node[place].CopyFrom(one)
    return model


def _table(node: NodeProto, makes: dict[str, NodeProto], constants: dict[str, NDArray[Any]]) -> Floats | None:
    """What a node looks words up in, float32[words, hidden]; in int8 it is multiplied with a scale of each."""
    if node.op_type == "Gather":
        table = constants.get(node.input[0])
        return None if table is None else table.astype(np.float32)
    if node.op_type == "Cast":
        return _table(makes[node.input[0]], makes, constants)
    if node.op_type != "Mul":
        return None
    parts = [_table(makes[name], makes, constants) for name in node.input]
    return None if parts[0] is None or parts[1] is None else parts[0] * parts[1]


def as_float32(model: ModelProto) -> ModelProto:
    """A graph in which half precision became single: weights, casts, inputs and outputs."""
    out = ModelProto()
    out.CopyFrom(model)
    for i, tensor in enumerate(out.graph.initializer):
        if tensor.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(tensor).astype(np.float32)
            out.graph.initializer[i].CopyFrom(numpy_helper.from_array(values, tensor.name))
    for node in out.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            elif attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT16:
                values = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))
    for value in (*out.graph.input, *out.graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    del out.graph.value_info[:]
    return out


def stand_in(layers: int = _LAYERS, words: int = _WORDS) -> EncoderWeights:
    """An encoder with weights at random, the same ones each time, that means its states and gives a score."""
    random = np.random.default_rng(0)

    def matrix(rows: int, columns: int) -> Floats:
        values: Floats = (random.standard_normal((rows, columns)) / np.sqrt(rows)).astype(np.float32)
        return values

    def bias(size: int) -> Floats:
        values: Floats = (0.02 * random.standard_normal(size)).astype(np.float32)
        return values

    def norm() -> LayerNorm:
        return LayerNorm(1 + bias(_WIDTH), bias(_WIDTH))

    def layer() -> EncoderLayer:
        return EncoderLayer(
            qkv=matrix(_WIDTH, 3 * _WIDTH), qkv_bias=bias(3 * _WIDTH), out=matrix(_WIDTH, _WIDTH),
            out_bias=bias(_WIDTH), middle=norm(), up=matrix(_WIDTH, _INNER), up_bias=bias(_INNER),
            down=matrix(_INNER, _WIDTH), down_bias=bias(_WIDTH), end=norm(),
        )  # fmt: skip

    constants: dict[str, NDArray[Any]] = {
        "tail_axis": np.array([1], dtype=np.int64),
        "tail_last": np.array([-1], dtype=np.int64),
        "tail_head": matrix(_WIDTH, 1),
        "tail_bias": bias(1),
    }
    return EncoderWeights(
        words=matrix(words, _WIDTH), positions=0.1 * matrix(_POSITIONS, _WIDTH), start=norm(),
        layers=tuple(layer() for _ in range(layers)), heads=_HEADS, epsilon=1e-12, tail=_tail(),
        constants=constants, hidden="states",
    )  # fmt: skip


def _tail() -> tuple[NodeProto, ...]:
    """Mean of the states of real tokens, and a linear head."""
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Cast", ["attention_mask"], "tail_mask", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["tail_mask", "tail_last"], "tail_wide", {}),
        ("ReduceSum", ["tail_wide", "tail_axis"], "tail_count", {"keepdims": 0}),
        ("Mul", ["states", "tail_wide"], "tail_kept", {}),
        ("ReduceSum", ["tail_kept", "tail_axis"], "tail_sum", {"keepdims": 0}),
        ("Div", ["tail_sum", "tail_count"], "features", {}),
        ("Gemm", ["features", "tail_head", "tail_bias"], "tail_score", {}),
        ("Squeeze", ["tail_score", "tail_last"], "score", {}),
    ]
    return tuple(helper.make_node(op, inputs, [out], **fields) for op, inputs, out, fields in steps)
