"""The new ranker against the one in service on the rows kept back: both score them here, no daemon takes part."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.errors import ArtifactError, ConfigError, NotFoundError
from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.paired_comparison import PairedComparison, PairedSample, compare
from rankd.registry.artifact import Artifact, load_artifact
from rankd.registry.artifact_files import MANIFEST
from rankd.registry.seen import CompletionColumns, learned_traffic, listed_prompts
from rankd.registry.shelf import Shelf
from rankd.training.data.dataset import Row
from rankd.training.evaluation.offline_ranker import OfflineRanker

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class HeldBackJudgement:
    """Candidate and incumbent on the same completions; intervals as (value, low, high), None where undefined."""

    verdict: str
    """better, not_better, too_few_completions, too_few_decided_pairs, or no_incumbent: its files are not here."""
    incumbent: str
    """``name@version``; empty where it is not known."""
    completions: int
    """Judged by."""
    excluded: int
    """Kept back and not judged by, since one of both was trained on their prompts."""
    unscored: int
    censored: int
    decided_pair_share: float | None
    tau: tuple[float, float, float] | None
    incumbent_tau: tuple[float, float, float] | None
    tau_difference: tuple[float, float, float] | None
    margin: float
    min_completions: int
    least_tau: float | None = None
    """What ``--min-tau`` is asked of: ``tau``, or that on rows given for it."""

    def as_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def in_words(self) -> str:
        """For people."""
        if self.tau is None:
            return f"{self.completions:,} completions to judge by, {self.excluded:,} left out: too few to tell"
        text = f"tau {_bounded(self.tau)} on {self.completions:,} completions kept back"
        if self.excluded:
            text += f" ({self.excluded:,} more left out: their prompts were trained on)"
        if self.tau_difference is not None:
            text += f"; less that of {self.incumbent}: {_bounded(self.tau_difference, '+')}"
        return text


def judge(
    candidate: Artifact,
    incumbent: Artifact | None,
    rows: Sequence[Row],
    excluded: int,
    *,
    margin: float,
    min_completions: int,
    min_decided_share: float,
    threads: int,
    on_progress: Progress,
) -> HeldBackJudgement:
    """Judge a ranker.

    Args:
        candidate: the new one.
        incumbent: the one in service; None: it is not here.
        rows: kept back, neither ranker was trained on them, in the order in which they ended.
        excluded: how many were left out of them.
        margin: what the lower bound of the difference must be above.
        min_completions: without which nothing is said.
        min_decided_share: share of pairs of known order without which nothing is said.
        threads: of the models.
        on_progress: called with prompts scored, of how many.

    Raises:
        ArtifactError: the candidate cannot be served.
    """
    scores = _scores([r for r in (candidate, incumbent) if r is not None], rows, threads, on_progress)
    finite: NDArray[np.bool_] = np.all(np.isfinite(scores), axis=0)
    statistics = _compare(scores[:, finite], [row for row, good in zip(rows, finite, strict=True) if good])
    both = incumbent is not None and statistics is not None
    return HeldBackJudgement(
        verdict="no_incumbent"
        if incumbent is None
        else _verdict(statistics, margin, min_completions, min_decided_share),
        incumbent="" if incumbent is None else incumbent.ranker_version,
        completions=int(finite.sum()),
        excluded=excluded,
        unscored=int(len(rows) - finite.sum()),
        censored=sum(not row.complete for row in rows),
        decided_pair_share=None if statistics is None else statistics.decided_pair_share,
        tau=None if statistics is None else _triple(statistics.candidate.tau),
        incumbent_tau=_triple(statistics.incumbent.tau) if both and statistics is not None else None,
        tau_difference=_triple(statistics.tau_difference) if both and statistics is not None else None,
        margin=margin,
        min_completions=min_completions,
        least_tau=None if statistics is None or statistics.candidate.tau is None else statistics.candidate.tau.value,
    )


def least_tau(
    judgement: HeldBackJudgement, candidate: Artifact, rows: Sequence[Row], threads: int
) -> HeldBackJudgement:
    """The same judgement, with ``least_tau`` on further rows."""
    scores = _scores([candidate], rows, threads, lambda _done, _total: None)
    finite = np.isfinite(scores[0])
    statistics = _compare(scores[:, finite], [row for row, good in zip(rows, finite, strict=True) if good])
    tau = None if statistics is None else statistics.candidate.tau
    return replace(judgement, least_tau=None if tau is None else tau.value)


def unseen(rows: Sequence[Row], trained: Sequence[Row], rankers: Sequence[Artifact]) -> list[Row]:
    """Rows whose prompts are not among those trained on.

    Args:
        rows: kept back.
        trained: what the candidate was trained on.
        rankers: candidate and incumbent, whose manifests may say what they were trained on.
    """
    keys = {prompt_key(row.prompt) for row in trained}
    seen = np.array([prompt_key(row.prompt) in keys for row in rows], dtype=np.bool_)
    asked = CompletionColumns(
        [row.prompt for row in rows],
        [row.model for row in rows],
        np.array([np.nan if row.at is None else row.at for row in rows], dtype=np.float64),
    )
    for ranker in rankers:
        seen |= listed_prompts(ranker.prompts, asked) | learned_traffic(ranker.manifest, asked)
    return [row for row, was_seen in zip(rows, seen.tolist(), strict=True) if not was_seen]


def prompt_key(prompt: str) -> str:
    """Equal for prompts that are equal but for case and outer white space, as training parts them."""
    return prompt.strip().casefold()


def find_ranker(version: str, path: str, registry: Path, bundled: Sequence[Path]) -> Artifact | None:
    """The files of the ranker that a daemon has in service, on this machine; None where they are not here.

    Args:
        version: ``name@version``.
        path: its directory as the daemon names it, which may be on another machine.
        registry: looked through next.
        bundled: directories that come with rankd.
    """
    places = [Path(path)] if path else []
    with suppress(NotFoundError, ConfigError):
        places.append(Shelf(registry).named(version))
    for place in (*places, *bundled):
        if _version_in(place) == version:
            with suppress(ArtifactError):
                return load_artifact(place)
    return None


def _version_in(place: Path) -> str:
    """What a directory's manifest says; reading and hashing whole rankers would take long in a full registry."""
    try:
        found = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        return f"{found['name']}@{found['version']}"
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _scores(rankers: Sequence[Artifact], rows: Sequence[Row], threads: int, on_progress: Progress) -> Floats:
    """Of each ranker, [rankers, rows]; equal prompts are scored once."""
    prompts = list(dict.fromkeys(row.prompt for row in rows))
    place = {prompt: i for i, prompt in enumerate(prompts)}
    places = np.array([place[row.prompt] for row in rows], dtype=np.int64)
    out = np.empty((len(rankers), len(rows)))
    total = len(prompts) * len(rankers)
    for i, artifact in enumerate(rankers):
        offline = OfflineRanker(artifact, threads=threads)
        offline.warm_up()
        before = i * len(prompts)
        found = offline.scores(prompts, lambda done, before=before: on_progress(before + done, total))  # type: ignore[misc]
        out[i] = found[places]
    return out


def _compare(scores: Floats, rows: Sequence[Row]) -> PairedComparison | None:
    if not rows:
        return None
    strata = {group: i for i, group in enumerate(sorted({row.group for row in rows}))}
    keys: dict[str, int] = {}
    return compare(
        PairedSample(
            candidate=scores[0],
            incumbent=scores[-1],
            tokens=np.array([row.tokens for row in rows], dtype=np.int64),
            complete=np.array([row.complete for row in rows], dtype=np.bool_),
            stratum=np.array([strata[row.group] for row in rows], dtype=np.int64),
            group=np.array([keys.setdefault(prompt_key(row.prompt), len(keys)) for row in rows], dtype=np.int64),
        )
    )


def _verdict(statistics: PairedComparison | None, margin: float, least: int, decided: float) -> str:
    if statistics is None or statistics.size < least or statistics.tau_difference is None:
        return "too_few_completions"
    if (statistics.decided_pair_share or 0.0) < decided:
        return "too_few_decided_pairs"
    return "better" if statistics.tau_difference.low > margin else "not_better"


def _triple(interval: Interval | None) -> tuple[float, float, float] | None:
    return None if interval is None else (interval.value, interval.low, interval.high)


def _bounded(interval: tuple[float, float, float], sign: str = "") -> str:
    value, low, high = interval
    return f"{value:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"
