"""Two saved rankers on the same rows: is one better, and how surely?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rankd.errors import ArtifactError
from rankd.quality.statistics.paired_comparison import PairedComparison, PairedSample, compare
from rankd.registry.artifact import load_artifact
from rankd.settings import Provider
from rankd.training.data.row import Row
from rankd.training.evaluation import figures
from rankd.training.evaluation.evaluate import FEWEST, check_rows
from rankd.training.evaluation.offline_ranker import Floats, OfflineRanker


@dataclass(frozen=True, slots=True)
class PairedRankers:
    """What two rankers are worth on the same rows; differences are first less second."""

    first: str
    """``name@version``"""
    second: str
    comparison: PairedComparison
    """``candidate`` is the first."""
    unscored: int
    """Rows left out because one of them gave no finite score."""

    @property
    def better(self) -> str | None:
        """Which one's tau is surely the higher; None where the interval holds 0, or nothing is known."""
        difference = self.comparison.tau_difference
        if difference is None or difference.low <= 0 <= difference.high:
            return None
        return self.first if difference.low > 0 else self.second


def compare_rankers(
    first: Path,
    second: Path,
    rows: Sequence[Row],
    *,
    provider: Provider = "cpu",
    threads: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> PairedRankers:
    """Score rows by both, and compare.

    Args:
        first: a ranker's directory.
        second: the other's.
        rows: any number; lengths that are lower bounds count where the order is known all the same. Pairs are compared
            within a source and model.
        provider: where the models run.
        threads: of the models.
        on_progress: called with prompts scored by both together, and of how many.

    Raises:
        ArtifactError: a ranker cannot be served, or scores nothing.
        ProviderError: CUDA was asked for and is not to be had.
        ConfigError: the rows have no order to judge.
    """
    check_rows(rows)
    prompts = list(dict.fromkeys(r.prompt for r in rows))
    places = figures.numbered([r.prompt for r in rows])
    versions: list[str] = []
    scores: list[Floats] = []
    for number, path in enumerate((first, second)):
        artifact = load_artifact(path)
        ranker = OfflineRanker(artifact, provider=provider, threads=threads)
        ranker.warm_up()
        versions.append(artifact.ranker_version)
        base = number * len(prompts)
        report = None if on_progress is None else _counted(on_progress, base, 2 * len(prompts))
        scores.append(ranker.scores(prompts, report)[places])
    good = np.flatnonzero(np.isfinite(scores[0]) & np.isfinite(scores[1]))
    if len(good) < FEWEST:
        raise ArtifactError("NAN_SCORES", f"both rankers give {len(good)} of {len(rows)} rows a finite score")
    kept = [rows[i] for i in good.tolist()]
    sample = PairedSample(
        candidate=scores[0][good],
        incumbent=scores[1][good],
        tokens=np.array([r.tokens for r in kept], dtype=np.int64),
        complete=np.array([r.complete for r in kept], dtype=np.bool_),
        stratum=figures.scored(kept, np.zeros(len(kept)), None).stratum,
        group=places[good],
    )
    return PairedRankers(versions[0], versions[1], compare(sample), len(rows) - len(good))


def _counted(on_progress: Callable[[int, int], None], base: int, total: int) -> Callable[[int], None]:
    return lambda done: on_progress(base + done, total)
