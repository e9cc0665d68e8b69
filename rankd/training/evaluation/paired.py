"""Two saved rankers on the same rows: is one better, and how surely?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rankd.errors import ArtifactError, ConfigError
from rankd.quality.statistics.paired_comparison import PairedComparison, PairedSample, compare
from rankd.registry.artifact import Artifact, load_artifact
from rankd.registry.seen import CompletionColumns, listed_prompts, says_all
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
    trained: int = 0
    """Rows left out because one of them was made of their prompts."""
    undeclared: tuple[str, ...] = ()
    """Rankers that do not say of all rows what they were made of: the rows may flatter them."""

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
    with_trained: bool = False,
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
        with_trained: count rows too whose prompts one of the two was made of.
        on_progress: called with prompts scored by both together, and of how many.

    Raises:
        ArtifactError: a ranker cannot be served, or scores nothing.
        ProviderError: CUDA was asked for and is not to be had.
        ConfigError: the rows have no order to judge.
    """
    artifacts = [load_artifact(first), load_artifact(second)]
    given = len(rows)
    rows = rows if with_trained else _unseen(rows, artifacts)
    check_rows(rows)
    prompts, places = list(dict.fromkeys(r.prompt for r in rows)), figures.numbered([r.prompt for r in rows])
    scores: list[Floats] = []
    for number, artifact in enumerate(artifacts):
        ranker = OfflineRanker(artifact, provider=provider, threads=threads)
        ranker.warm_up()
        report = None if on_progress is None else _counted(on_progress, number * len(prompts), 2 * len(prompts))
        scores.append(ranker.scores(prompts, report)[places])
    good = np.flatnonzero(np.isfinite(scores[0]) & np.isfinite(scores[1]))
    if len(good) < FEWEST:
        raise ArtifactError("NAN_SCORES", f"both rankers give {len(good)} of {len(rows)} rows a finite score")
    sample = _sample([rows[i] for i in good.tolist()], scores[0][good], scores[1][good])
    return PairedRankers(
        artifacts[0].ranker_version,
        artifacts[1].ranker_version,
        compare(sample),
        len(rows) - len(good),
        given - len(rows),
        tuple(a.ranker_version for a in artifacts if not says_all(a.manifest)),
    )


def _unseen(rows: Sequence[Row], artifacts: Sequence[Artifact]) -> Sequence[Row]:
    """Rows of which neither ranker was made.

    Raises:
        ConfigError: hardly any is left.
    """
    columns = CompletionColumns([r.prompt for r in rows], [r.model for r in rows], np.full(len(rows), np.nan))
    seen = np.zeros(len(rows), np.bool_)
    for artifact in artifacts:
        seen |= listed_prompts(artifact.prompts, columns)
    left = [row for row, was_seen in zip(rows, seen.tolist(), strict=True) if not was_seen]
    if len(left) < FEWEST <= len(rows):
        raise ConfigError(
            f"--data: of {len(rows):,} rows {len(rows) - len(left):,} have prompts that one of the rankers was made "
            "of, and flatter it: give others, or count them all the same with --with-trained"
        )
    return left


def _sample(rows: Sequence[Row], first: Floats, second: Floats) -> PairedSample:
    """Rows that both scored, as the statistics take them."""
    return PairedSample(
        candidate=first,
        incumbent=second,
        tokens=np.array([r.tokens for r in rows], dtype=np.int64),
        complete=np.array([r.complete for r in rows], dtype=np.bool_),
        stratum=figures.scored(rows, np.zeros(len(rows)), None).stratum,
        group=figures.numbered([r.prompt for r in rows]),
    )


def _counted(on_progress: Callable[[int, int], None], base: int, total: int) -> Callable[[int], None]:
    return lambda done: on_progress(base + done, total)
