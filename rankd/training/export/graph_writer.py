"""Writing a graph node by node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper

OPSET = 21
IR_VERSION = 10
OWN = "com.microsoft"
"""Domain of onnxruntime's own operators."""


class GraphWriter:
    """Nodes and weights in the order in which they were added; names follow from the order."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.nodes: list[NodeProto] = []
        self._weights: dict[str, NDArray[Any]] = {}
        self._known: dict[tuple[Any, ...], str] = {}

    def weight(self, array: Any, dtype: Any = None) -> str:
        """Name a constant; an equal one is kept once."""
        value = np.ascontiguousarray(array, dtype=dtype) if np.ndim(array) else np.asarray(array, dtype=dtype)
        key = (value.dtype.str, value.shape, value.tobytes())
        if key not in self._known:
            self._known[key] = name = f"w{len(self._weights)}"
            self._weights[name] = value
        return self._known[key]

    def add(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node of one output, and name that."""
        return self.split(operator, *inputs, outputs=1, domain=domain, **attributes)[0]

    def split(self, operator: str, *inputs: str, outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node of several outputs, and name them."""
        place = len(self.nodes)
        names = [f"n{place}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(operator, list(inputs), names, name=f"{operator}_{place}", domain=domain, **attributes)
        )
        return names

    def copy(self, nodes: Sequence[NodeProto], weights: dict[str, NDArray[Any]], names: dict[str, str]) -> None:
        """Take over nodes of another graph as they are, but for their names.

        Args:
            nodes: in order.
            weights: constants of that graph, by name.
            names: what stands here for a name there; graph inputs and outputs keep theirs.
        """
        for node in nodes:
            taken = NodeProto()
            taken.CopyFrom(node)
            taken.name = f"{node.op_type}_{len(self.nodes)}"  # its own may be taken here
            for i, name in enumerate(node.input):
                taken.input[i] = self.weight(weights[name]) if name in weights else names.get(name, name)
            self.nodes.append(taken)

    def model(self, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]) -> ModelProto:
        """The whole graph."""
        weights = [numpy_helper.from_array(value, name) for name, value in self._weights.items()]
        graph = helper.make_graph(self.nodes, "rankd", list(inputs), list(outputs), weights)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(OWN, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
