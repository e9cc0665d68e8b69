"""A ranker's graphs beside each other: whether the one for another provider orders prompts as the one judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankd.errors import ArtifactError
from rankd.quality.statistics.kendall import tau_b
from rankd.registry.artifact import Artifact
from rankd.training.evaluation.offline_ranker import OfflineRanker

COMPARED = 200
"""Prompts that every other graph scores too, on the CPU, where one for CUDA is slow."""


SAME_RANKER = 0.9
"""tau-b below which two graphs are not of one ranker; the bundled encoder's, in int8 and fp16, agree at .98."""


@dataclass(frozen=True, slots=True)
class GraphFigures:
    """One graph of a ranker."""

    file: str
    precision: str | None
    """None: the manifest does not say."""
    provider: str
    """Where it was run."""
    prompts: int
    """Prompts that it was compared on; 0: it is the one that is judged."""
    agreement: float | None = None
    """tau-b between its scores and those of the one that is judged."""
    largest_difference: float | None = None
    """Between its score and that one's, in standard deviations of that one's."""

    @property
    def judged(self) -> bool:
        """Whether the verdict is about this one."""
        return self.prompts == 0


def compare_graphs(artifact: Artifact, judged: OfflineRanker, prompts: Sequence[str]) -> tuple[GraphFigures, ...]:
    """Run every graph that is not judged, and compare.

    Args:
        artifact: the ranker.
        judged: it, with one of its graphs.
        prompts: distinct ones, of which at most ``COMPARED`` are used.

    Raises:
        ArtifactError: a graph cannot be loaded, or gives scores that are not finite.
    """
    first = GraphFigures(judged.graph.path.name, judged.graph.precision, judged.provider, 0)
    places = np.unique(np.linspace(0, len(prompts) - 1, COMPARED).round().astype(int))
    few = [prompts[i] for i in places.tolist()]
    out = [first]
    for provider in ("cpu", "cuda"):
        graph = artifact.graph(provider)
        if graph.path.name in {known.file for known in out}:
            continue
        other = OfflineRanker(artifact, provider="cpu", graph=provider)
        expected, actual = judged.scores(few), other.scores(few)
        if not np.isfinite(actual).all():
            raise ArtifactError(
                "NAN_SCORES", f"{graph.path} gives {int((~np.isfinite(actual)).sum())} of {len(few)} prompts no score"
            )
        off = float(np.abs(actual - expected).max() / max(float(np.std(expected)), 1e-12))
        tau = tau_b(expected, actual)
        out.append(GraphFigures(graph.path.name, graph.precision, other.provider, len(few), tau, off))
    return tuple(out)


def in_words(graph: GraphFigures) -> str:
    """A line on one graph."""
    kind = f"{graph.file}, {graph.precision or 'precision not stated'}"
    if graph.judged:
        return f"{kind}, on {graph.provider}: the one that is judged"
    same = "" if graph.agreement is None else f"tau {graph.agreement:.3f} to the judged one's scores, "
    line = f"{kind}, on {graph.provider}: {same}at most {graph.largest_difference:.2f} deviations off"
    if graph.agreement is not None and graph.agreement < SAME_RANKER:
        return f"{line}. THESE ARE NOT TWO GRAPHS OF ONE RANKER: export it again"
    return line
