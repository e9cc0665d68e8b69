"""Write the table of CUDA kernels anew: ``python -m tools.cuda_kernels OperatorKernels.md "VERSION"``.

The page is ``OperatorKernels.md`` in the documentation of microsoft/onnxruntime; ``VERSION`` says of which tag or
commit, and goes into the table's head. What encoders are made of is taken from it, in opset 13 and later.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from rankd.training.export.cuda_kernels import TABLE

OPERATORS = frozenset(
    {
        "Abs", "Add", "And", "Attention", "BiasGelu", "BiasSoftmax", "Cast", "Clip", "Concat", "ConstantOfShape",
        "Conv", "CumSum", "DequantizeLinear", "Div", "EmbedLayerNormalization", "Equal", "Erf", "Exp", "Expand",
        "FastGelu", "Flatten", "FusedMatMul", "Gather", "GatherBlockQuantized", "GatherElements", "Gelu", "Gemm",
        "Greater", "GreaterOrEqual", "GroupQueryAttention", "InstanceNormalization", "LayerNormalization", "Less",
        "LessOrEqual", "Log", "MatMul", "MatMulBnb4", "MatMulInteger", "MatMulIntegerToFloat", "MatMulNBits", "Max",
        "Min", "Mod", "Mul", "MultiHeadAttention", "Neg", "Not", "PackedAttention", "PackedMultiHeadAttention", "Pow",
        "QAttention", "QLinearMatMul", "QuantizeLinear", "QuickGelu", "RMSNormalization", "Range", "Reciprocal",
        "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "RemovePadding", "Reshape", "RestorePadding",
        "RotaryEmbedding", "Round", "ScatterElements", "Shape", "Sigmoid", "Sign", "SimplifiedLayerNormalization",
        "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "Slice", "Softmax", "Softsign", "Split", "Sqrt",
        "Squeeze", "Sub", "Sum", "Tanh", "Tile", "TopK", "Transpose", "Unsqueeze", "Where",
    }
)  # fmt: skip
"""What to look for; those without a kernel there are not in the table, which is how they are told."""
DOMAINS = frozenset({"ai.onnx", "com.microsoft"})
LEAST_OPSET = 13
_SECTION = "## Operators implemented by "
_TENSOR = re.compile(r"(?<!seq\()tensor\((\w+)\)")
_PARAMETER = re.compile(r"\*(in|out)\* [^:*]+:\*\*([^*]+)\*\*")


def rows(page: str) -> Iterator[str]:
    """The table's rows, a kernel each: domain, operator, versions, parameters, types."""
    section = page.split(_SECTION + "CUDAExecutionProvider", 1)[1].split(_SECTION, 1)[0]
    domain = operator = parameters = ""
    for line in section.splitlines():
        if found := re.match(r"\|\*\*Operator Domain:\*\* \*([\w.]+)\*", line):
            domain = found[1]
            continue
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 4 or cells[3].startswith(("Types", "---")):
            continue
        # A further version of the operator above has neither name nor parameters.
        operator, parameters = cells[0] or operator, _parameters(cells[1]) or parameters
        versions = cells[2].strip("[]").replace(", ", "-")
        if domain in DOMAINS and operator in OPERATORS and _recent(versions, domain):
            yield "\t".join((domain, operator, versions, parameters, _types(cells[3])))


def _recent(versions: str, domain: str) -> bool:
    last = versions.rsplit("-", maxsplit=1)[-1]
    return domain != "ai.onnx" or last.endswith("+") or int(last) >= LEAST_OPSET


def _parameters(cell: str) -> str:
    """``T Tind > T``, and what else an opset may call for after a `` or ``."""
    forms = []
    for form in cell.split("or<br>") if cell else []:
        named = _PARAMETER.findall(form)
        sides = ([re.sub(r"tensor\((\w+)\)", r"\1", kind) for side, kind in named if side == s] for s in ("in", "out"))
        forms.append(" > ".join(" ".join(side) for side in sides))
    return " or ".join(forms)


def _types(cell: str) -> str:
    """``T=float,float16 Tind=int32,int64``; sequences are left out."""
    parts = [part.partition(" = ") for part in cell.split("<br/>")]
    return " ".join(f"{name.strip(' *')}={','.join(_TENSOR.findall(kinds))}" for name, _, kinds in parts)


def main() -> int:
    """Write the table from onnxruntime's page."""
    page, version = Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2]
    head = [
        f"# CUDA kernels of onnxruntime, {version}: OperatorKernels.md of microsoft/onnxruntime,",
        "# shortened by tools/cuda_kernels.py to what encoders are made of, opset 13 and later.",
        "# domain, operator, versions, inputs > outputs (or those of another opset), types",
    ]
    lines = list(rows(page))
    TABLE.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    print(f"{TABLE}: {len(lines)} kernels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
