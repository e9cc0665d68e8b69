"""Which nodes of a graph have a CUDA kernel in onnxruntime: told from a table, so that no GPU is needed.

The table (``cuda_kernels.tsv``, whose head says of which onnxruntime it is) holds what encoders are made of. A node
whose operator, opset version or types are not in it runs on the CPU. Where nodes really ran is what counts in the end:
``rankd.scoring.placement``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, defs, helper

from rankd.scoring.placement import MATRIX_PRODUCTS

TABLE = Path(__file__).with_name("cuda_kernels.tsv")
_ONNX = "ai.onnx"
_OUTPUT_LIKE = {"MatMulIntegerToFloat": 2, "DynamicQuantizeMatMul": 0, "QLinearMatMul": 7, "QGemm": 7}
"""Operators that have no kernel there, and the input whose type their output has."""


@dataclass(frozen=True, slots=True)
class CudaKernel:
    """A kernel: versions of its operator, and the types that it takes."""

    first: int
    last: int | None
    """None: the version that begins with ``first``, whatever its opset is called."""
    forms: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
    """Inputs and outputs, each a type or the name of one in ``types``; an operator's versions may differ in them."""
    types: Mapping[str, frozenset[str]]

    def fits(self, version: int, inputs: list[str | None]) -> bool:
        """Whether it takes a node of an operator that is as of ``version``, with inputs of these types.

        Args:
            version: opset in which the operator last changed.
            inputs: types such as ``float16``; None for one that is left out, or not known.
        """
        in_range = version == self.first if self.last is None else self.first <= version <= self.last
        return in_range and any(self._takes(form, inputs) for form, _ in self.forms)

    def _takes(self, form: tuple[str, ...], inputs: list[str | None]) -> bool:
        if not form or (len(inputs) > len(form) and len(form) > 1):
            return False
        bound: dict[str, str] = {}
        # One that may be given any number of times, as of Concat, stands there once.
        for name, kind in zip(form * len(inputs) if len(form) == 1 else form, inputs, strict=False):
            allowed = self.types.get(name)
            if kind is None or (allowed is None and name[0].isupper()):
                continue
            if kind not in (allowed or {name}) or bound.setdefault(name, kind) != kind:
                return False
        return True


@dataclass(frozen=True, slots=True)
class NodeWithoutKernel:
    """A node that CUDA leaves to the CPU."""

    node: str
    operator: str
    inputs: tuple[str | None, ...]

    @property
    def is_product(self) -> bool:
        """Whether it is one of those in which a model spends its time; the others are mostly about shapes."""
        return self.operator in MATRIX_PRODUCTS

    def __str__(self) -> str:
        """The node in words."""
        return f"{self.node}: {self.operator}({', '.join(kind or '?' for kind in self.inputs)})"


@cache
def cuda_kernels() -> Mapping[tuple[str, str], tuple[CudaKernel, ...]]:
    """The table, by domain (``ai.onnx`` for onnx's own) and operator."""
    kernels: dict[tuple[str, str], tuple[CudaKernel, ...]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            domain, operator, versions, forms, types = line.split("\t")
            kernels[domain, operator] = (*kernels.get((domain, operator), ()), _kernel(versions, forms, types))
    return kernels


def _kernel(versions: str, forms: str, types: str) -> CudaKernel:
    first, _, last = versions.rstrip("+").partition("-")
    sides = [form.split(" > ") for form in forms.split(" or ")]
    return CudaKernel(
        int(first),
        None if versions.endswith("+") else int(last or first),
        tuple((tuple(inputs.split()), tuple(outputs.split())) for inputs, outputs in sides),
        {name: frozenset(kinds.split(",")) for name, _, kinds in (part.partition("=") for part in types.split())},
    )


def nodes_without_kernel(model: ModelProto) -> list[NodeWithoutKernel]:
    """Every node of a graph that no CUDA kernel of the table takes, in the graph's order; ``model`` is left as it is.

    Types are followed from inputs and weights through the graph. Nodes inside of control flow are not looked at.
    """
    return list(_Types(model).missing())


class _Types:
    """The types of a graph's values, as far as they are known."""

    def __init__(self, model: ModelProto) -> None:
        self._graph = model.graph
        self._opsets = {o.domain or _ONNX: o.version for o in model.opset_import}
        self._known = {w.name: _type_name(w.data_type) for w in model.graph.initializer}
        for value in model.graph.input:
            self._known[value.name] = _type_name(value.type.tensor_type.elem_type)

    def missing(self) -> Iterator[NodeWithoutKernel]:
        for node in self._graph.node:
            inputs = [self._known.get(name) if name else None for name in node.input]
            domain = node.domain or _ONNX
            version = self._version(node, domain)
            kernels = cuda_kernels().get((domain, node.op_type), ())
            if node.op_type != "Constant" and not any(kernel.fits(version, inputs) for kernel in kernels):
                yield NodeWithoutKernel(node.name or node.output[0], node.op_type, tuple(inputs))
            for name, kind in zip(node.output, self._outputs(node, domain, inputs), strict=False):
                if kind is not None:
                    self._known[name] = kind

    def _version(self, node: NodeProto, domain: str) -> int:
        return int(_schema(node, self._opsets.get(_ONNX, 1)).since_version) if domain == _ONNX else 1

    def _outputs(self, node: NodeProto, domain: str, inputs: list[str | None]) -> list[str | None]:
        """The outputs' types, by the operator's own declaration."""
        told = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Cast":
            return [_type_name(told["to"])]
        if node.op_type in {"ConstantOfShape", "Constant"}:
            return [_type_name(told["value"].data_type) if "value" in told else "float"]
        if domain == _ONNX:
            schema = _schema(node, self._opsets.get(_ONNX, 1))
            single = {c.type_param_str: list(c.allowed_type_strs) for c in schema.type_constraints}
            outs = [o.type_str for o in schema.outputs]
            names = [i.type_str for i in schema.inputs]
        elif kernels := cuda_kernels().get((domain, node.op_type)):
            (form, out), single = kernels[0].forms[0], {n: sorted(k) for n, k in kernels[0].types.items()}
            names, outs = list(form), list(out)
        else:
            like = _OUTPUT_LIKE.get(node.op_type, 0)
            return [inputs[like] if like < len(inputs) else None] * len(node.output)
        bound = {n: k for n, k in zip(names, inputs, strict=False) if k is not None}
        return [bound.get(out) or _only(single.get(out, [out])) for out in outs]


def _schema(node: NodeProto, opset: int) -> Any:
    return defs.get_schema(node.op_type, opset, "")


def _only(kinds: list[str]) -> str | None:
    """The type, where there is but one."""
    plain = kinds[0].removeprefix("tensor(").removesuffix(")") if len(kinds) == 1 else ""
    return plain if plain and plain[0].islower() else None


def _type_name(kind: int) -> str:
    return TensorProto.DataType.Name(kind).lower()
