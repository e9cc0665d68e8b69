"""Write the table of CUDA kernels anew: ``python -m tools.cuda_kernels``.

The installed onnxruntime-gpu lists its kernels itself, as soon as its CUDA library can be loaded. No GPU is needed for
that, nor CUDA: a process of its own gets empty libraries in the place of CUDA's, which ``cc`` makes. What encoders are
made of is taken from the list, in opset 13 and later.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from rankd.scoring.gpu import CUDA
from rankd.scoring.onnxruntime_import import import_onnxruntime
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
_ONNX = "ai.onnx"
DOMAINS = frozenset({_ONNX, "com.microsoft"})
LEAST_OPSET = 13
_OPEN = 2**31 - 1
"""Last version of a kernel that has none."""
_PROVIDERS = ("libonnxruntime_providers_cuda.so", "libonnxruntime_providers_tensorrt.so")
"""What onnxruntime loads to list kernels: those of all providers that it was built with."""
_TOOLS = ("cc", "readelf")
_DUMP = "--dump"

Signature = tuple[tuple[str, str], ...]
"""Names and types of an operator's inputs or outputs, in order."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel as onnxruntime lists it."""

    domain: str
    operator: str
    first: int
    last: int
    types: Mapping[str, Iterable[str]]
    """By the name of a type or of a parameter: what it may be."""


@dataclass(frozen=True, slots=True)
class Schema:
    """An operator's declaration, which has the parameters that a kernel's list of types lacks."""

    since: int
    inputs: Signature
    outputs: Signature


def rows(kernels: Iterable[Kernel], schemas: Mapping[tuple[str, str], Iterable[Schema]]) -> Iterator[str]:
    """The table's rows: domain, operator, versions, inputs > outputs, types; the latest versions first.

    Args:
        kernels: all that are listed, each for a few types only.
        schemas: all declarations, by domain and operator.
    """
    found: dict[tuple[str, str, int, int], list[dict[str, frozenset[str]]]] = {}
    for k in kernels:
        if k.domain in DOMAINS and k.operator in OPERATORS and (k.domain != _ONNX or k.last >= LEAST_OPSET):
            types = {name: frozenset(map(_plain, kinds)) for name, kinds in k.types.items()}
            found.setdefault((k.domain, k.operator, -k.first, -k.last), []).append(types)
    for (domain, operator, first, last), listed in sorted(found.items()):
        for types in _joined(listed):
            # A kernel without a last version takes the declaration alone that its first one is of.
            most = -first if -last == _OPEN else -last
            own = sorted((s for s in schemas[domain, operator] if -first <= s.since <= most), key=lambda s: -s.since)
            if forms := list(dict.fromkeys(_form(s, types) for s in own)):
                named = " ".join(f"{name}={','.join(sorted(kinds))}" for name, kinds in sorted(types.items()))
                yield "\t".join((domain, operator, _versions(-first, -last), " or ".join(forms), named))


def _joined(listed: list[dict[str, frozenset[str]]]) -> list[dict[str, frozenset[str]]]:
    """Kernels that differ in the types of one name, as one: what fits is the same."""
    for name in sorted({name for types in listed for name in types}):
        alike: dict[Any, dict[str, frozenset[str]]] = {}
        for types in listed:
            others = frozenset((n, kinds) for n, kinds in types.items() if n != name)
            kept = alike.setdefault((others, name in types), types)
            if name in types:
                alike[others, True] = {**kept, name: kept[name] | types[name]}
        listed = list(alike.values())
    return sorted(listed, key=lambda types: sorted((n, sorted(kinds)) for n, kinds in types.items()))


def _form(schema: Schema, types: Mapping[str, Any]) -> str:
    """``T Tind > T``; a kernel may restrict one parameter by its own name."""
    sides = (
        " ".join(parameter if parameter in types else _plain(kind) for parameter, kind in side)
        for side in (schema.inputs, schema.outputs)
    )
    return " > ".join(sides)


def _versions(first: int, last: int) -> str:
    if last == _OPEN:
        return f"{first}+"
    return str(first) if first == last else f"{first}-{last}"


def _plain(kind: str) -> str:
    return re.sub(r"^tensor\((\w+)\)$", r"\1", kind)


def main() -> int:
    """Write the table of the onnxruntime that is installed; say what is missing where that cannot be."""
    if sys.argv[1:] == [_DUMP]:
        _dump()
    try:
        version, lines = listed_rows()
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    head = [
        f"# CUDA kernels of onnxruntime-gpu {version}, as it lists them itself (python -m tools.cuda_kernels):",
        "# what encoders are made of, opset 13 and later.",
        "# domain, operator, versions, inputs > outputs (or those of another opset), types",
    ]
    TABLE.write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    print(f"{TABLE}: {len(lines)} rows")
    return 0


def listed_rows() -> tuple[str, list[str]]:
    """The installed onnxruntime's version, and the table's rows.

    Raises:
        OSError: what is missing.
    """
    spec = find_spec("onnxruntime")
    place = Path(spec.origin or "").parent / "capi" if spec else Path()
    providers = [place / name for name in _PROVIDERS if (place / name).is_file()]
    if not providers or providers[0].name != _PROVIDERS[0]:
        raise FileNotFoundError(f"no {_PROVIDERS[0]} beside onnxruntime: install onnxruntime-gpu, on Linux")
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        raise FileNotFoundError(f"{' and '.join(missing)} not found: install a C compiler and binutils")
    with tempfile.TemporaryDirectory() as directory:
        make_stubs(providers, Path(directory))
        paths = os.pathsep.join(filter(None, (directory, os.environ.get("LD_LIBRARY_PATH"))))
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "tools.cuda_kernels", _DUMP],
            env={**os.environ, "LD_LIBRARY_PATH": paths},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise OSError(f"onnxruntime lists no kernels here: {said[-1] if said else f'ended with {done.returncode}'}")
    told = json.loads(done.stdout)
    schemas: dict[tuple[str, str], list[Schema]] = {}
    for domain, operator, since, inputs, outputs in told["schemas"]:
        schema = Schema(since, tuple(map(tuple, inputs)), tuple(map(tuple, outputs)))
        schemas.setdefault((domain, operator), []).append(schema)
    return told["version"], list(rows((Kernel(*k) for k in told["kernels"]), schemas))


def make_stubs(needing: Iterable[Path], out: Path) -> None:
    """Make libraries that have every name which others want of CUDA's, and do nothing.

    It is one library under all their names. A name's version must be there, or the loader takes no notice of it.
    """
    libraries: set[str] = set()
    wanted: dict[str, set[str]] = {}
    for path in needing:
        told = _said("readelf", "-dW", "--dyn-syms", path)
        libraries.update(re.findall(r"\(NEEDED\).*\[(lib(?:cu|nv)[^\]]+)\]", told))
        for name, version in re.findall(r" GLOBAL +DEFAULT +UND +([^\s@]+)(?:@+(\S+))?", told):
            if version in libraries or not version:
                wanted.setdefault(version, set()).add(name)
    wanted[""].discard("Provider_GetHost")  # onnxruntime's own
    # What registers kernels with CUDA is given a place to write into; all others are told that all is well.
    code = [
        f"void *{name}(void) {{ return {'place' if name.startswith('__') else '0'}; }}"
        for name in sorted(set().union(*wanted.values()))
    ]
    (out / "stub.c").write_text("\n".join(["static char place[4096];", *code, ""]), encoding="utf-8")
    versions = [f"{v} {{ global: {' '.join(f'{n};' for n in sorted(names))} }};" for v, names in wanted.items() if v]
    (out / "stub.map").write_text("\n".join(versions) + "\n", encoding="utf-8")
    flags = ["-shared", "-fPIC", "-w", "-fno-builtin", f"-Wl,--version-script={out / 'stub.map'}"]
    _said("cc", *flags, "-o", out / "stub.so", out / "stub.c")
    for library in libraries:
        (out / library).symlink_to("stub.so")


def _said(*command: str | Path) -> str:
    """What a tool of ``_TOOLS`` prints."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - named here
    if done.returncode:
        raise OSError(f"{command[0]} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def _dump() -> NoReturn:
    """Print what is needed of onnxruntime's lists, and end at once: nothing can be taken down over empty libraries."""
    state = import_onnxruntime("capi.onnxruntime_pybind11_state")
    kernels = [
        (k.domain or _ONNX, k.op_name, *k.version_range, k.type_constraints)
        for k in state.get_all_opkernel_def()
        if k.provider == CUDA
    ]
    schemas = [
        (s.domain or _ONNX, s.name, s.since_version, _parameters(s.inputs), _parameters(s.outputs))
        for s in state.get_all_operator_schema()
    ]
    print(json.dumps({"version": import_onnxruntime().__version__, "kernels": kernels, "schemas": schemas}), flush=True)
    os._exit(0)


def _parameters(side: Iterable[Any]) -> list[tuple[str, str]]:
    return [(parameter.name, parameter.typeStr) for parameter in side]


if __name__ == "__main__":
    sys.exit(main())
