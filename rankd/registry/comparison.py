"""Comparing a candidate with the ranker in service, on the same recent completions.

Two kinds of evidence. Prompts of the completion log, which both rankers read (the one in service only where the log has
no score of it); or, where no prompts were logged, completions that carried a shadow score. Scoring goes the live way,
a prompt at a time and while the ranker in service has nothing else to read; statistics run in a thread of their own.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from rankd_client.calibration import Calibration, fit_monotone

from rankd.completion_log import CompletionLog
from rankd.completion_log.records import LoggedCompletion
from rankd.errors import ArtifactError
from rankd.quality.statistics.paired_comparison import PairedComparison, PairedSample, compare
from rankd.registry.artifact_files import MANIFEST
from rankd.registry.comparison_result import (
    ComparisonOptions,
    ComparisonResult,
    ComparisonVerdict,
    EvidenceKind,
    ExcludedCompletions,
)
from rankd.registry.judgement_levels import JudgementLevels, Level
from rankd.registry.loaded import LoadedRanker, Registry
from rankd.registry.seen import Bools, CompletionColumns, learned_traffic, listed_prompts, says_all
from rankd.registry.shadow import PROMPTS_AT_ONCE, READ_TIMEOUT, ShadowRankers
from rankd.settings import Settings
from rankd.telemetry.telemetry import Telemetry
from rankd.types import FloatArray, Reason

__all__ = ["ComparisonOptions", "ComparisonResult", "ComparisonVerdict", "EvidenceKind", "RankerComparison"]

T = TypeVar("T")

ComparisonProgress = Callable[[int, int], None]
"""Called with how many prompts both have scored, and of how many."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is to be compared, by column."""

    models: list[str]
    tokens: list[int]
    complete: list[bool]
    candidate: FloatArray
    incumbent: FloatArray
    groups: list[int]
    ended_at: list[float]

    def scored(self) -> Bools:
        """Which both rankers scored, [n]."""
        both: Bools = np.isfinite(self.candidate) & np.isfinite(self.incumbent)
        return both

    def sample(self) -> tuple[PairedSample, list[str]]:
        """The rows that both rankers scored, and the models that their strata stand for."""
        good = np.flatnonzero(self.scored())
        names, stratum = np.unique(np.array([self.models[i] for i in good], dtype=object), return_inverse=True)
        return PairedSample(
            candidate=self.candidate[good],
            incumbent=self.incumbent[good],
            tokens=np.array(self.tokens, dtype=np.int64)[good],
            complete=np.array(self.complete, dtype=np.bool_)[good],
            stratum=stratum.astype(np.int64),
            group=np.array(self.groups, dtype=np.int64)[good],
        ), [str(n) for n in names]


class RankerComparison:
    """Compares loaded rankers with the one in service, one at a time."""

    def __init__(
        self,
        registry: Registry,
        shadows: ShadowRankers,
        log: CompletionLog | None,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        """Take what evidence comes from; ``log`` is None where the daemon keeps none."""
        self._registry = registry
        self._shadows = shadows
        self._log = log
        self._settings = settings
        self._telemetry = telemetry
        self._levels = JudgementLevels()
        self._lock = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "rankd-compare")

    async def compare(
        self, candidate: LoadedRanker, options: ComparisonOptions, progress: ComparisonProgress
    ) -> ComparisonResult:
        """Compare a loaded ranker with the one in service.

        Raises:
            ArtifactError: IN_SERVICE, where it is that one.
        """
        async with self._lock:
            incumbent = self._registry.in_service
            if candidate is incumbent:
                raise ArtifactError("IN_SERVICE", f"{candidate.version} is in service already")
            offered = await self._logged(options)
            logged, excluded = await self._in_thread(partial(_unseen, offered, candidate, incumbent, options))
            shadowed = self._shadowed(candidate, incumbent, options)
            kind = _chosen(options, len(logged), len(shadowed.models))
            rows = shadowed
            if kind is EvidenceKind.COMPLETION_LOG:
                with self._in_background(candidate):
                    rows = await self._score(logged, candidate, incumbent, progress)
            level = self._level(rows, candidate, incumbent, options)
            statistics, calibrations = await self._in_thread(partial(self._compare, rows, candidate.calibration, level))
            older = 0
            if options.trust_older and not says_all(candidate.manifest):
                written = await self._in_thread(partial(_written_at, candidate))
                older = sum(at < written for at in rows.ended_at)
            result = ComparisonResult(
                candidate=candidate.version,
                incumbent=incumbent.version,
                verdict=self._verdict(statistics, options, excluded),
                evidence=kind,
                options=options,
                statistics=statistics,
                log_completions=len(offered),
                shadow_completions=len(shadowed.models),
                older_completions=older,
                excluded=excluded,
                level=level,
                calibrations=calibrations,
            )
        self._record(result)
        return result

    def _record(self, result: ComparisonResult) -> None:
        statistics = result.statistics
        difference = None if statistics is None else statistics.tau_difference
        self._telemetry.compared(
            ranker_version=result.candidate,
            previous=result.incumbent,
            verdict=result.verdict.value,
            evidence=result.evidence.value if result.evidence else "none",
            completions=statistics.size if statistics else 0,
            bounds=None if difference is None else (difference.value, difference.low, difference.high),
        )

    @contextmanager
    def _in_background(self, candidate: LoadedRanker) -> Iterator[None]:
        """Let a candidate read at the lowest priority; in the shadow it does so anyway."""
        if self._shadows.get(candidate.version) is not None:
            yield
            return
        self._registry.set_background(candidate, background=True)
        try:
            yield
        finally:
            if self._shadows.get(candidate.version) is None:  # none was begun meanwhile
                self._registry.set_background(candidate, background=False)

    async def _logged(self, options: ComparisonOptions) -> Sequence[LoggedCompletion]:
        if self._log is None or options.evidence is EvidenceKind.SHADOW_SCORES:
            return []
        most = self._settings.promotion.max_completions
        return await self._in_thread(partial(self._log.recent, most, options.model))

    def _shadowed(self, candidate: LoadedRanker, incumbent: LoadedRanker, options: ComparisonOptions) -> _Rows:
        shadow = self._shadows.get(candidate.version)
        pairs = [
            p
            for p in (shadow.pairs if shadow is not None else ())
            if p.incumbent_version == incumbent.version and options.model in (None, p.model)
        ]
        if options.evidence is EvidenceKind.COMPLETION_LOG:
            pairs = []
        return _Rows(
            [p.model for p in pairs],
            [p.tokens for p in pairs],
            [p.complete for p in pairs],
            np.array([p.candidate for p in pairs], dtype=np.float64),
            np.array([p.incumbent for p in pairs], dtype=np.float64),
            [p.group for p in pairs],
            [p.ended_at for p in pairs],
        )

    async def _score(
        self,
        logged: Sequence[LoggedCompletion],
        candidate: LoadedRanker,
        incumbent: LoadedRanker,
        progress: ComparisonProgress,
    ) -> _Rows:
        """Let both rankers score logged prompts."""
        scores = np.full((2, len(logged)), np.nan)
        at_once = PROMPTS_AT_ONCE[candidate.scorer.provider]
        progress(0, len(logged))
        for start in range(0, len(logged), at_once):
            part = logged[start : start + at_once]
            scores[0, start : start + at_once] = await self._read(candidate, [c.prompt for c in part])
            known = [c.ranker_version == incumbent.version for c in part]
            fresh = iter(await self._read(incumbent, [c.prompt for c, k in zip(part, known, strict=True) if not k]))
            scores[1, start : start + at_once] = [
                c.score if k else next(fresh) for c, k in zip(part, known, strict=True)
            ]
            progress(min(start + at_once, len(logged)), len(logged))
        return _Rows(
            [c.model for c in logged],
            [c.tokens for c in logged],
            [c.complete for c in logged],
            scores[0],
            scores[1],
            [hash(c.prompt) for c in logged],
            [c.ended_at for c in logged],
        )

    async def _read(self, ranker: LoadedRanker, prompts: list[str]) -> list[float]:
        if not prompts:
            return []
        prompts = [ranker.scorer.cut(p) for p in prompts]
        known = ranker.scorer.known(prompts)
        if all(k is not None for k in known):
            return [k.score for k in known if k is not None]
        await self._registry.idle(self._settings.promotion.shadow_patience)
        results = await ranker.scorer.score(prompts, asyncio.get_running_loop().time() + READ_TIMEOUT)
        return [np.nan if isinstance(r, Reason) else r.score for r in results]

    def _level(
        self, rows: _Rows, candidate: LoadedRanker, incumbent: LoadedRanker, options: ComparisonOptions
    ) -> Level | None:
        """What these rows must show; too few to say anything are no try."""
        times = [at for at, scored in zip(rows.ended_at, rows.scored().tolist(), strict=True) if scored]
        if len(times) < options.min_completions:
            return None
        return self._levels.next(incumbent.version, candidate.version, times)

    def _compare(
        self, rows: _Rows, prior: Calibration | None, level: Level | None
    ) -> tuple[PairedComparison | None, dict[str, Calibration]]:
        """The statistics; in the thread."""
        sample, models = rows.sample()
        if not len(sample.tokens):
            return None, {}
        calibrations = {}
        for place, model in enumerate(models):
            own = sample.stratum == place
            calibrations[model] = fit_monotone(
                sample.candidate[own],
                sample.tokens[own],
                sample.complete[own],
                prior=prior,
                prior_weight=self._settings.order.calibration_prior_weight,
            )
        horizon, quantile = self._settings.quality.horizon_tokens, None if level is None else level.quantile
        return compare(sample, horizon=horizon, strict_z=quantile), calibrations

    def _verdict(
        self, statistics: PairedComparison | None, options: ComparisonOptions, excluded: ExcludedCompletions
    ) -> ComparisonVerdict:
        size = 0 if statistics is None else statistics.size
        if statistics is None or size < options.min_completions or statistics.strict_difference is None:
            enough = size + excluded.total >= options.min_completions > size
            return ComparisonVerdict.TOO_FEW_UNSEEN_COMPLETIONS if enough else ComparisonVerdict.TOO_FEW_COMPLETIONS
        if (statistics.decided_pair_share or 0.0) < self._settings.promotion.min_decided_share:
            return ComparisonVerdict.TOO_FEW_DECIDED_PAIRS
        better = statistics.strict_difference.low > options.margin
        return ComparisonVerdict.BETTER if better else ComparisonVerdict.NOT_BETTER

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _written_at(ranker: LoadedRanker) -> float:
    """When a ranker's files were written, seconds; never known to be over where they are gone."""
    try:
        return (ranker.path / MANIFEST).stat().st_mtime
    except OSError:
        return math.inf


def _unseen(
    offered: Sequence[LoggedCompletion], candidate: LoadedRanker, incumbent: LoadedRanker, options: ComparisonOptions
) -> tuple[Sequence[LoggedCompletion], ExcludedCompletions]:
    """What neither ranker was made of; in the thread."""
    times = np.array([c.ended_at for c in offered], np.float64)
    columns = CompletionColumns([c.prompt for c in offered], [c.model for c in offered], times)
    trained = listed_prompts(candidate.prompts, columns) | listed_prompts(incumbent.prompts, columns)
    learned = learned_traffic(candidate.manifest, columns) | learned_traffic(incumbent.manifest, columns)
    older = np.zeros(len(offered), np.bool_)
    if not options.trust_older and not says_all(candidate.manifest):
        older = times < _written_at(candidate)
    excluded = ExcludedCompletions(
        int(trained.sum()), int((learned & ~trained).sum()), int((older & ~trained & ~learned).sum())
    )
    return [c for c, out in zip(offered, (trained | learned | older).tolist(), strict=True) if not out], excluded


def _chosen(options: ComparisonOptions, logged: int, shadowed: int) -> EvidenceKind | None:
    """Which evidence to use: the one asked for, else the log where it has enough, else what there is more of."""
    if options.evidence is not None:
        return options.evidence
    if logged >= options.min_completions or logged > shadowed:
        return EvidenceKind.COMPLETION_LOG
    return EvidenceKind.SHADOW_SCORES if shadowed else None
