"""Circles and layers of a graph of imports, and its edges that a contract of import-linter forbids."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

from tools.structure.source import Import

Graph = dict[str, set[str]]
"""What each node imports."""


@dataclass(frozen=True, slots=True)
class Layers:
    """An exhaustive contract of layers over the modules directly in `container`."""

    container: str
    level: dict[str, int]
    """0 is the top."""
    siblings: frozenset[str]
    """Those that may not import others of their own level."""
    ignored: frozenset[str]
    """Those that the contract leaves out on purpose."""

    def lacks(self, module: str) -> bool:
        """Whether a module directly in the container stands on no level."""
        name = child_of(self.container, module)
        return module == f"{self.container}.{name}" and name not in self.level and name not in self.ignored


def graph_of(edges: Iterable[tuple[str, str]], nodes: Iterable[str] = ()) -> Graph:
    """The graph of these edges, without an edge from a node to itself."""
    graph: Graph = {node: set() for node in nodes}
    for importer, imported in edges:
        graph.setdefault(importer, set())
        graph.setdefault(imported, set())
        if importer != imported:
            graph[importer].add(imported)
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Strongly connected components of more than one node, each sorted."""
    reach = {node: _reached(graph, node) for node in graph}
    found = {frozenset(other for other in reach[node] if node in reach[other]) for node in graph if node in reach[node]}
    return sorted(sorted(circle) for circle in found)


def _reached(graph: Graph, start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        more = graph[waiting.pop()] - reached
        reached |= more
        waiting.extend(more)
    return reached


def layers(graph: Graph) -> int:
    """Nodes on the longest path; the nodes of a circle count as one."""
    stands_for = {node: node for node in graph} | {node: circle[0] for circle in circles(graph) for node in circle}
    edges = ((stands_for[node], stands_for[other]) for node, others in graph.items() for other in others)
    condensed = graph_of(edges, stands_for.values())
    depth: dict[str, int] = {}
    for node in TopologicalSorter(condensed).static_order():
        depth[node] = 1 + max((depth[other] for other in condensed[node]), default=0)
    return max(depth.values(), default=0)


def child_of(container: str, module: str) -> str:
    """The name directly in `container` that holds `module`; "__init__" for the container, "" for what is elsewhere."""
    if module == container:
        return "__init__"
    head, _, tail = module.partition(f"{container}.")
    return tail.split(".")[0] if not head else ""


def exhaustive_layers(root: Path) -> list[Layers]:
    """The contracts of `pyproject.toml` that place every module of a container on a level; none where there is none."""
    path = root / "pyproject.toml"
    settings = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found: list[Layers] = []
    for contract in settings.get("tool", {}).get("importlinter", {}).get("contracts", []):
        if contract["type"] != "layers" or not contract.get("exhaustive"):
            continue
        level: dict[str, int] = {}
        siblings: set[str] = set()
        for number, line in enumerate(contract["layers"]):
            names = re.findall(r"[\w.]+", line)
            level.update(dict.fromkeys(names, number))
            # `a | b` are independent of each other, `a : b` are not.
            siblings.update(names if ":" not in line else ())
        ignored = frozenset(contract.get("exhaustive_ignores", []))
        found.extend(Layers(name, level, frozenset(siblings), ignored) for name in contract["containers"])
    return found


def against(contract: Layers, imports: Iterable[Import]) -> list[Import]:
    """The imports that run up, or across between siblings."""
    found = []
    for each in imports:
        importer, imported = child_of(contract.container, each.importer), child_of(contract.container, each.imported)
        if importer == imported or importer not in contract.level or imported not in contract.level:
            continue
        above, below = contract.level[importer], contract.level[imported]
        if above > below or (above == below and importer in contract.siblings):
            found.append(each)
    return found


def children(container: str, imports: Iterable[Import]) -> list[tuple[str, str]]:
    """Importer and imported as names directly in `container`, of the imports between two of these."""
    pairs = ((child_of(container, each.importer), child_of(container, each.imported)) for each in imports)
    return [(importer, imported) for importer, imported in pairs if importer and imported and importer != imported]


def in_circles(container: str, imports: Iterable[Import]) -> list[Import]:
    """The imports between two children of `container` that import each other, if only by way of others."""
    imports = list(imports)
    found = circles(graph_of(children(container, imports)))
    return [
        each
        for each in imports
        for (importer, imported) in children(container, [each])
        if any(importer in circle and imported in circle for circle in found)
    ]
