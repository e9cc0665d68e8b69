"""Writes down what rankd-vllm uses of vLLM beyond its public interface, from vLLM's own source.

usage: python -m engines.vllm.record_hooks FOLDER OUT.json

FOLDER holds the package ``vllm``: site-packages, or a wheel unpacked (pip download --no-deps vllm==0.33.0). Reads
the source only, so that it needs none of what vLLM needs. tests/contract/vllm_*_hooks.json are what it wrote.
"""

import ast
import json
import re
import sys
from pathlib import Path

CLASSES = {
    "vllm.v1.core.sched.interface": ["SchedulerInterface"],
    "vllm.v1.core.sched.scheduler": ["Scheduler"],
    "vllm.v1.core.sched.async_scheduler": ["AsyncScheduler"],
    "vllm.v1.core.sched.request_queue": ["RequestQueue", "SchedulingPolicy"],
    "vllm.v1.core.sched.output": ["SchedulerOutput", "NewRequestData"],
    "vllm.v1.core.kv_cache_manager": ["KVCacheManager"],
    "vllm.v1.request": ["Request"],
    "vllm.v1.metrics.stats": ["FinishedRequestStats", "IterationStats"],
    "vllm.v1.metrics.loggers": ["StatLoggerBase"],
    "vllm.config.scheduler": ["SchedulerConfig"],
    "vllm.sampling_params": ["SamplingParams"],
}
MODULES = ["vllm.tokenizers"]
"""Of which only names are taken."""
TEXTS = {"vllm.plugins": "vllm.stat_logger_plugins", "vllm.entrypoints.generate.base.serving": "X-Vllm-Priority"}


def source_of(folder, module):
    """A module's tree and text."""
    path = folder.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = path.read_text()
    return ast.parse(text), text


def names_of(tree):
    """What can be imported from a module."""
    out = set()
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            out.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            out |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign):
            out |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return sorted(out)


def parameters_of(function):
    """Parameters without self: ``name``, ``name=`` for one that may be left out, ``*`` where more are taken."""
    a = function.args
    named = [p.arg for p in (*a.posonlyargs, *a.args)]
    must = len(named) - len(a.defaults)
    out = [name if place < must else f"{name}=" for place, name in enumerate(named) if name not in {"self", "cls"}]
    for one, default in zip(a.kwonlyargs, a.kw_defaults, strict=True):
        out.append(one.arg if default is None else f"{one.arg}=")
    return out + ["*"] * (a.vararg is not None or a.kwarg is not None)


def written(value, depth=0):
    """JSON with a line for each list."""
    if not isinstance(value, dict):
        return json.dumps(value)
    indent = " " * (depth + 1)
    lines = [f"{indent}{json.dumps(name)}: {written(value[name], depth + 1)}" for name in sorted(value)]
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def class_of(node):
    """Methods with parameters, and attributes: declared, or set on self anywhere."""
    methods, abstract, attributes = {}, [], set()
    for item in node.body:
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            methods[item.name] = parameters_of(item)
            decorators = {d.id for d in item.decorator_list if isinstance(d, ast.Name)}
            if "abstractmethod" in decorators:
                abstract.append(item.name)
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            attributes.add(item.target.id)
        elif isinstance(item, ast.Assign):
            attributes |= {t.id for t in item.targets if isinstance(t, ast.Name)}
    for item in ast.walk(node):
        if isinstance(item, ast.Attribute) and isinstance(item.ctx, ast.Store) and isinstance(item.value, ast.Name):
            attributes |= {item.attr} if item.value.id == "self" else set()
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return {"bases": bases, "methods": methods, "abstract": sorted(abstract), "attributes": sorted(attributes)}


def main(folder, target):
    """All of it."""
    folder = Path(folder)
    out = {"version": re.search(r"version = '([^']+)'", (folder / "vllm" / "_version.py").read_text())[1]}
    out["modules"], out["classes"] = {}, {}
    for module in [*CLASSES, *MODULES]:
        tree, _ = source_of(folder, module)
        out["modules"][module] = names_of(tree)
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name in CLASSES.get(module, ()):
                out["classes"][node.name] = class_of(node)
    missing = {name for names in CLASSES.values() for name in names} - out["classes"].keys()
    assert not missing, f"vLLM has no {missing}"
    out["texts"] = [text for module, text in TEXTS.items() if f'"{text}"' in source_of(folder, module)[1]]
    Path(target).write_text(written(out) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
