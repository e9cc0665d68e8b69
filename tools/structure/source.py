"""The Python files of a checkout, and what they import of each other."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

_SKIPPED = frozenset({"node_modules", "__pycache__", "build", "dist", "out", "site-packages"})

When = Literal["load", "call", "types"]
"""When an import is carried out: as its module loads, in a call of a function, never (`if TYPE_CHECKING`)."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A Python file that a person wrote; `path` is relative to the checkout, with slashes."""

    path: str
    lines: int
    tree: ast.Module

    @property
    def folder(self) -> str:
        """The top-level folder it is in; "." for a file that is in none."""
        parts = PurePosixPath(self.path).parts
        return parts[0] if len(parts) > 1 else "."


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """One module takes another of the same checkout."""

    importer: str
    imported: str
    path: str
    line: int
    when: When

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.importer} imports {self.imported}"


def read_sources(root: Path) -> list[SourceFile]:
    """All Python files below `root`, by path; without hidden folders and what protoc generated.

    Raises:
        SyntaxError: a file is no Python; the error names it.
    """
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
        for name in names:
            path = Path(folder, name)
            if path.suffix == ".py" and "_pb2" not in name:
                text = path.read_text(encoding="utf-8")
                relative = path.relative_to(root).as_posix()
                files.append(SourceFile(relative, len(text.splitlines()), ast.parse(text, filename=relative)))
    return sorted(files, key=lambda file: file.path)


def modules_of(files: Iterable[SourceFile]) -> dict[str, SourceFile]:
    """The modules that are shipped, by dotted name: `rankd/**`, and `clients/*/NAME/**` as NAME."""
    modules = {}
    for file in files:
        parts = PurePosixPath(file.path).with_suffix("").parts
        parts = parts[2:] if parts[0] == "clients" else parts if parts[0] == "rankd" else ()
        if len(parts) > 1:
            modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return modules


def imports_of(modules: dict[str, SourceFile]) -> list[Import]:
    """What these modules import of each other; of several imports of one module by another, all."""
    return sorted(found for name, file in modules.items() for found in _imports_of(name, file, modules))


def _imports_of(name: str, file: SourceFile, modules: dict[str, SourceFile]) -> Iterator[Import]:
    package = name if file.path.endswith("__init__.py") else name.rpartition(".")[0]
    for node, when in _import_nodes(file.tree.body, "load"):
        for target in sorted({_known(target, modules) for target in _targets(node, package, modules)}):
            if target and target != name:
                yield Import(name, target, file.path, node.lineno, when)


def _import_nodes(nodes: Sequence[ast.AST], when: When) -> Iterator[tuple[ast.Import | ast.ImportFrom, When]]:
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, when
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from _import_nodes(node.body, "types")
            yield from _import_nodes(node.orelse, when)
        else:
            inner: When = "call" if when == "load" and isinstance(node, Function) else when
            yield from _import_nodes(list(ast.iter_child_nodes(node)), inner)


def _is_type_checking(test: ast.expr) -> bool:
    return (test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")) == "TYPE_CHECKING"


def _targets(node: ast.Import | ast.ImportFrom, package: str, modules: dict[str, SourceFile]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    base = node.module or ""
    if node.level:
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, base] if base else above)
    for alias in node.names:
        inner = f"{base}.{alias.name}"
        yield inner if inner in modules else base


def _known(name: str, modules: dict[str, SourceFile]) -> str:
    """The module that is meant: the longest known head of a dotted name, or "" where it is not of this checkout."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name
