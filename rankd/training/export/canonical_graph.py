"""One way to write a graph down: names that only depend on its structure, and nothing else than the graph."""

from __future__ import annotations

from typing import Any

from onnx import GraphProto, ModelProto, NodeProto

PRODUCER = "rankd"


def canonical(model: ModelProto) -> ModelProto:
    """Rename everything inside by its place, and drop comments, stack traces, paths and versions of tools.

    Inputs and outputs keep their names; what no node reads is dropped. The result depends on the graph alone. Names of
    a graph with inner graphs (``If``, ``Loop``) stay as they are: these refer to each other across levels.
    """
    out = ModelProto()
    out.CopyFrom(model)
    _drop_unused(out)
    if not any(a.HasField("g") or a.graphs for n in out.graph.node for a in n.attribute):
        _rename(out.graph)
    graph = out.graph
    items: tuple[Any, ...] = (*graph.input, *graph.output, *graph.initializer, *graph.node)
    for item in items:
        item.doc_string = ""
        del item.metadata_props[:]
    del graph.value_info[:], graph.quantization_annotation[:]
    del out.metadata_props[:], graph.metadata_props[:]
    graph.name, graph.doc_string = PRODUCER, ""
    out.producer_name, out.producer_version, out.domain, out.doc_string = PRODUCER, "", "", ""
    out.model_version = 0
    return out


def _rename(graph: GraphProto) -> None:
    names = {v.name: v.name for v in (*graph.input, *graph.output)} | {"": ""}
    for i, tensor in enumerate(graph.initializer):
        tensor.name = names.setdefault(tensor.name, f"w{i}")
    for i, node in enumerate(graph.node):
        for j, name in enumerate(node.output):
            names.setdefault(name, f"n{i}" if j == 0 else f"n{i}_{j}")
    for i, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{i}"
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]


def to_bytes(model: ModelProto) -> bytes:
    """The file."""
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _drop_unused(model: ModelProto) -> None:
    graph = model.graph
    needed = {v.name for v in graph.output}
    nodes: list[NodeProto] = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed.update(node.input)
            needed.update(_read_inside(node))
    used = GraphProto(node=reversed(nodes), initializer=[w for w in graph.initializer if w.name in needed])
    del graph.node[:], graph.initializer[:]
    graph.node.extend(used.node)
    graph.initializer.extend(used.initializer)
    versions = {o.domain: o.version for o in model.opset_import}
    del model.opset_import[:]
    for domain in sorted({n.domain for n in graph.node} | {""}):
        # onnxruntime's own operators, which its optimiser puts in without saying so, are all of version 1.
        model.opset_import.add(domain=domain, version=versions.get(domain, 1))


def _read_inside(node: NodeProto) -> set[str]:
    """What a node's inner graphs read, of their own or from outside."""
    inner = [g for a in node.attribute for g in (*a.graphs, *([a.g] if a.HasField("g") else []))]
    names: set[str] = set()
    for graph in inner:
        names.update(v.name for v in graph.output)
        for below in graph.node:
            names.update(below.input)
            names.update(_read_inside(below))
    return names
