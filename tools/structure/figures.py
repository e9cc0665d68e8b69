"""The figures of a checkout, and the most that each may be."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tools.structure.graph import (
    Graph,
    against,
    child_of,
    children,
    circles,
    exhaustive_layers,
    graph_of,
    in_circles,
    layers,
)
from tools.structure.source import Function, Import, SourceFile, When, imports_of, modules_of, read_sources

PACKAGE = "rankd"
CLIENT = "rankd_client"
MOST_LOOSE = 8
MOST_LINES = 350
MOST_FUNCTION_LINES = 50


@dataclass(frozen=True, slots=True)
class Figure:
    """One count, what was counted, and where there is one, the most that it may be."""

    name: str
    text: str
    value: int
    found: list[str] = field(default_factory=list)
    most: int | None = None

    @property
    def holds(self) -> bool:
        """Whether it is within its bound."""
        return self.most is None or self.value <= self.most


def figures_of(root: Path) -> list[Figure]:
    """All figures of the checkout at `root`.

    Raises:
        SyntaxError: a file is no Python; the error names it.
    """
    files = read_sources(root)
    modules = modules_of(files)
    imports = imports_of(modules)
    return [
        *_rooms(modules, imports),
        *_against_layers(root, modules, imports),
        *_circles(imports),
        *_class_names(modules),
        *_lengths(files),
        _public_names(modules),
        _lines(files),
    ]


def _rooms(modules: dict[str, SourceFile], imports: list[Import]) -> list[Figure]:
    inside = [name for name in modules if child_of(PACKAGE, name)]
    loose = [modules[name].path for name in inside if modules[name].path.count("/") == 1]
    packages = {child_of(PACKAGE, name) for name in inside if modules[name].path.count("/") > 1}
    rooms: Graph = graph_of(children(PACKAGE, imports), (child_of(PACKAGE, name) for name in inside))
    return [
        Figure("loose_modules", f"Python files directly in {PACKAGE}/, all of them", len(loose), loose, MOST_LOOSE),
        Figure("packages", f"packages directly in {PACKAGE}/", len(packages), sorted(packages)),
        Figure("layers", "layers of imports: longest path from entry to entry, a circle is one", layers(rooms)),
        Figure("room_imports", f"pairs of entries of {PACKAGE}/ that import each other", sum(map(len, rooms.values()))),
    ]


def _against_layers(root: Path, modules: dict[str, SourceFile], imports: list[Import]) -> list[Figure]:
    contracts = exhaustive_layers(root)
    if not contracts:
        found, text = in_circles(PACKAGE, imports), "pairs of entries within circles (no exhaustive contract of layers)"
        pairs = set(children(PACKAGE, found))
        return [Figure("upward_imports", text, len(pairs), list(map(str, found)), 0)]
    found = [each for contract in contracts for each in against(contract, imports)]
    pairs = {pair for contract in contracts for pair in children(contract.container, found)}
    missing = sorted(
        f"{modules[name].path}: {name} stands on no layer"
        for contract in contracts
        for name in modules
        if contract.lacks(name)
    )
    return [
        Figure(
            "upward_imports", "pairs of entries against the contract of layers", len(pairs), list(map(str, found)), 0
        ),
        Figure("modules_on_no_layer", "modules that the contract of layers does not place", len(missing), missing, 0),
    ]


def _circles(imports: list[Import]) -> list[Figure]:
    def figure(name: str, text: str, most: int | None, *kinds: When) -> Figure:
        found = circles(graph_of((each.importer, each.imported) for each in imports if each.when in kinds))
        return Figure(name, f"circles of files, {text}", len(found), [" <-> ".join(circle) for circle in found], most)

    return [
        figure("circles_at_load", "by imports at module level", None, "load"),
        figure("circles_with_calls", "and those that functions make", None, "load", "call"),
        figure("circles", "and those for the type checker", 0, "load", "call", "types"),
    ]


def _class_names(modules: dict[str, SourceFile]) -> list[Figure]:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for file in modules.values():
        for node in file.tree.body:
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(f"{file.path}:{node.lineno}")
    repeated = [f"{name}: {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]
    return [
        Figure("class_names", "names of classes, a leading underscore aside", len(places)),
        Figure("repeated_class_names", "names that stand for several classes", len(repeated), repeated, 0),
    ]


def _lengths(files: list[SourceFile]) -> list[Figure]:
    lengths = [(file.lines, file.path) for file in files]
    functions = [
        (node.end_lineno - node.lineno + 1, f"{file.path}:{node.lineno} {node.name}")
        for file in files
        for node in ast.walk(file.tree)
        if isinstance(node, Function) and node.end_lineno is not None
    ]
    return [
        *_longest("file", lengths, MOST_LINES),
        *_longest("function", functions, MOST_FUNCTION_LINES),
    ]


def _longest(kind: str, lengths: Iterable[tuple[int, str]], most: int) -> list[Figure]:
    ordered = sorted(lengths, reverse=True)
    told = [f"{place}: {lines}" for lines, place in ordered]
    long = [text for text, (lines, _) in zip(told, ordered, strict=True) if lines > most]
    longest = max((lines for lines, _ in ordered), default=0)
    return [
        Figure(f"longest_{kind}", f"lines of the longest {kind}", longest, told[:1]),
        Figure(f"long_{kind}s", f"{kind}s over {most} lines", len(long), long, 0),
    ]


def _public_names(modules: dict[str, SourceFile]) -> Figure:
    names: list[str] = []
    for node in modules[CLIENT].tree.body if CLIENT in modules else []:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            names = list(ast.literal_eval(node.value))
    return Figure("public_names", f"names in {CLIENT}.__all__", len(names), names)


def _lines(files: list[SourceFile]) -> Figure:
    lines: Counter[str] = Counter()
    for file in files:
        lines[file.folder] += file.lines
    per_folder = [f"{folder}: {number:,}" for folder, number in sorted(lines.items())]
    return Figure("lines", "lines of Python, without what is generated", lines.total(), per_folder)
