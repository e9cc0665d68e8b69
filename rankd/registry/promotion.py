"""The way of a ranker into service and out of it: load, shadow, compare, promote, roll back, unload.

Memory is bounded: beside the ranker in service and the one before it, at most ``promotion.max_shadows`` are loaded.

A step is written to the registry's history before it is taken. Whoever kills the daemon in between finds the step taken
when it starts again; a step that cannot be written is not taken.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import structlog

from rankd.errors import ArtifactError, NotFoundError, RankdError
from rankd.monitor.monitor import Monitor
from rankd.registry.comparison import (
    ComparisonOptions,
    ComparisonProgress,
    ComparisonResult,
    ComparisonVerdict,
    RankerComparison,
)
from rankd.registry.first_ranker import load_place
from rankd.registry.history import Place, ServiceHistory, StepEvidence, StepKind, new_step
from rankd.registry.loaded import LoadedRanker, Registry
from rankd.registry.retention import Retention
from rankd.registry.shadow import ShadowRanker, ShadowRankers
from rankd.registry.shelf import Shelf, place_of
from rankd.settings import Settings

_log = structlog.get_logger("rankd")
T = TypeVar("T")


class Promotion:
    """What an administrator does with rankers."""

    def __init__(
        self,
        registry: Registry,
        monitor: Monitor,
        shadows: ShadowRankers,
        comparison: RankerComparison,
        settings: Settings,
        history: ServiceHistory,
    ) -> None:
        """Take what a promotion passes through."""
        self.history = history
        self.retention = Retention(registry, history, settings)
        self._registry = registry
        self._monitor = monitor
        self._shadows = shadows
        self._comparison = comparison
        self._settings = settings
        self._in_use: Counter[str] = Counter()
        self._judged: dict[str, ComparisonResult] = {}
        """The last result of each candidate that is loaded: what a promotion by force rests on."""
        self._stepping = asyncio.Lock()
        self._entering = ""
        """What is being put into service, and cannot be unloaded meanwhile."""
        self._steps: set[asyncio.Future[Any]] = set()

    async def load(self, path: Path) -> LoadedRanker:
        """Load a candidate; the oldest one that does nothing makes room for it.

        Raises:
            ArtifactError: the directory cannot be served, or TOO_MANY_RANKERS.
            ProviderError: the provider asked for is not there.
        """
        known = {r.version for r in self._registry.all()}
        ranker = await self._registry.load(path)
        try:
            self._make_room(ranker)
        except ArtifactError:
            if ranker.version not in known:
                self._registry.unload(ranker.version)
            raise
        return ranker

    def _make_room(self, newest: LoadedRanker) -> None:
        most = self._settings.promotion.max_shadows
        candidates = self._candidates()
        idle = [r for r in candidates if r is not newest and not self._busy(r)]
        while len(candidates) > most:
            if not idle:
                raise ArtifactError(
                    "TOO_MANY_RANKERS",
                    f"promotion.max_shadows = {most} candidates are in the shadow or being judged already: "
                    "stop or unload one",
                )
            oldest = idle.pop(0)
            candidates.remove(oldest)
            self._registry.unload(oldest.version)

    def _candidates(self) -> list[LoadedRanker]:
        """What is loaded and neither in service nor the one to roll back to, the oldest first."""
        kept = (self._registry.in_service, self._registry.previous)
        return [r for r in self._registry.all() if r not in kept]

    def _busy(self, ranker: LoadedRanker) -> bool:
        in_use = bool(self._in_use[ranker.version]) or ranker.version == self._entering
        return in_use or self._shadows.get(ranker.version) is not None

    def unload(self, ranker_version: str) -> None:
        """Free a ranker's memory, and end its shadow.

        Raises:
            NotFoundError: it is not loaded.
            ArtifactError: IN_SERVICE.
        """
        if ranker_version and ranker_version == self._entering:
            raise ArtifactError("IN_SERVICE", f"{ranker_version} is being put into service: promote another one first")
        self._registry.unload(ranker_version)
        self._judged.pop(ranker_version, None)
        if self._shadows.get(ranker_version) is not None:
            self._shadows.stop(ranker_version)

    def start_shadow(self, ranker_version: str) -> LoadedRanker:
        """Let a loaded ranker score in the shadow.

        Raises:
            NotFoundError: it is not loaded.
            ArtifactError: IN_SERVICE or TOO_MANY_SHADOWS.
        """
        return self._shadows.start(self._registry.named(ranker_version)).ranker

    def stop_shadow(self, ranker_version: str) -> LoadedRanker:
        """End a shadow; the ranker stays loaded.

        Raises:
            NotFoundError: it is none.
        """
        ranker = self._registry.named(ranker_version)
        self._shadows.stop(ranker_version)
        return ranker

    def shadow_of(self, ranker_version: str) -> ShadowRanker | None:
        """How a shadow does; None where there is none of that version."""
        return self._shadows.get(ranker_version)

    async def compare(
        self, ranker_version: str, options: ComparisonOptions, progress: ComparisonProgress
    ) -> ComparisonResult:
        """Compare a loaded ranker with the one in service.

        Raises:
            NotFoundError: it is not loaded.
            ArtifactError: IN_SERVICE.
        """
        with self._kept_loaded(ranker_version) as ranker:
            result = await self._comparison.compare(ranker, options, progress)
            self._judged[ranker_version] = result
            return result

    async def promote(
        self, ranker_version: str, only_if: ComparisonOptions | None, by: str = ""
    ) -> tuple[LoadedRanker, bool, ComparisonResult | None]:
        """Put a loaded ranker into service, with ``only_if`` where a comparison finds it better.

        Args:
            ranker_version: of a loaded one.
            only_if: how to compare it; None promotes it whatever it is.
            by: who asks, for the history.

        Returns:
            The ranker in service now, whether it was promoted, and the result.

        Raises:
            NotFoundError: it is not loaded.
            ArtifactError: CHANGED_MEANWHILE, another one came into service meanwhile; HISTORY_UNWRITABLE.
        """
        if only_if is None:
            return await self._whole(self._promote(ranker_version, by, None)), True, None
        with self._kept_loaded(ranker_version) as ranker:
            result = await self._comparison.compare(ranker, only_if, lambda _done, _total: None)
            self._judged[ranker_version] = result
            if result.verdict is not ComparisonVerdict.BETTER:
                return self._registry.in_service, False, result
            return await self._whole(self._promote(ranker_version, by, result)), True, result

    async def _whole(self, step: Coroutine[Any, Any, T]) -> T:
        """Take a step to its end also where its caller leaves: else the history has it, and the daemon does not."""
        task = asyncio.ensure_future(step)
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        return await asyncio.shield(task)

    async def _promote(self, ranker_version: str, by: str, judged: ComparisonResult | None) -> LoadedRanker:
        """Put a ranker into service, by force where it was not ``judged``."""
        async with self._stepping:
            in_service = self._registry.in_service.version
            if judged is not None and in_service != judged.incumbent:
                raise ArtifactError(
                    "CHANGED_MEANWHILE", f"{ranker_version} was judged against {judged.incumbent}, which is no longer "
                    "in service: judge it again",
                )  # fmt: skip
            if judged is not None:
                return await self._enter(ranker_version, by, judged, forced=False)
            before = self._judged.get(ranker_version)
            known = before if before is not None and before.incumbent == in_service else None
            return await self._enter(ranker_version, by, known, forced=True)

    async def _enter(
        self, ranker_version: str, by: str, judged: ComparisonResult | None, *, forced: bool
    ) -> LoadedRanker:
        """Write a promotion, then do it; whoever calls lets nobody step meanwhile."""
        ranker, before = self._registry.named(ranker_version), self._registry.in_service
        last = self.history.last
        # Also one that is in service already, where the history has another one: it is to be served after a restart.
        if ranker is not before or last is None or last.ranker_version != ranker.version:
            evidence = None if judged is None else _evidence(judged)
            await self._write(StepKind.PROMOTED, ranker, before, by=by, forced=forced, evidence=evidence)
        # From here on nothing is awaited: nobody can come between.
        if judged is not None and not forced:
            self._monitor.begin_anew(ranker_version, trusted=self._trusted(judged), calibrations=judged.calibrations)
        ranker = self._swap(ranker_version)
        self.retention.soon()
        return ranker

    async def _write(self, kind: StepKind, ranker: LoadedRanker, before: LoadedRanker, **further: Any) -> None:
        """Put a step into the history; a rollback, and what restarts do not follow, is done also where that fails."""
        root = self._settings.registry
        place, place_before = place_of(ranker.version, ranker.path, root), place_of(before.version, before.path, root)
        step = new_step(kind, place, None if before is ranker else place_before, **further)
        self._entering = ranker.version
        try:
            await asyncio.to_thread(self.history.append, step)
        except ArtifactError as error:
            if kind is StepKind.PROMOTED and self._settings.promotion.follow:
                raise
            self.history.remember(step, str(error))
            _log.error("history_unusable", reason=error.reason)
        finally:
            self._entering = ""

    async def roll_back(self, ranker_version: str = "", by: str = "") -> LoadedRanker:
        """Put the ranker that was in service before back, by the history; or the one named.

        Done twice it goes further back. What is not loaded any more is loaded again.

        Args:
            ranker_version: one that is loaded, of the history, or in the registry; empty: the one before.
            by: who asks, for the history.

        Raises:
            NotFoundError: there was none before, or there is none of that version.
            ArtifactError: IN_SERVICE, or it cannot be loaded any more.
            ProviderError: the provider asked for is not there.
        """
        return await self._whole(self._roll_back(ranker_version, by))

    async def _roll_back(self, ranker_version: str, by: str) -> LoadedRanker:
        async with self._stepping:
            before = self._registry.in_service
            target = await asyncio.to_thread(self._target, ranker_version, before.version)
            if target.ranker_version == before.version:
                raise ArtifactError("IN_SERVICE", f"{before.version} is in service already")
            try:
                ranker = await load_place(self._registry, target, self._settings.registry)
            except RankdError as error:
                stack = [p.ranker_version for p in self.history.stack() if p.ranker_version != before.version]
                others = ", ".join(v for v in reversed(stack) if v != target.ranker_version) or "none"
                raise ArtifactError(
                    getattr(error, "reason", "UNUSABLE"),
                    f"{target.ranker_version} cannot be loaded any more ({error}); in service before it: {others}: "
                    "name one with `rankd rollback --to`",
                ) from None
            await self._write(StepKind.ROLLED_BACK, ranker, before, by=by)
            return self._swap(ranker.version)

    def _target(self, ranker_version: str, in_service: str) -> Place:
        """Where a rollback leads; reads the registry."""
        try:
            self.history.refresh()
        except ArtifactError:  # what is remembered is better than nothing
            _log.error("history_unusable", reason=self.history.trouble)
        if not ranker_version:
            place = self.history.below(in_service)
            if place is None:
                raise NotFoundError("there is no ranker to roll back to: none was in service before this one")
            return place
        place = self.history.place_of(ranker_version)
        if place is None and (loaded := {r.version: r for r in self._registry.all()}.get(ranker_version)) is not None:
            place = place_of(ranker_version, loaded.path, self._settings.registry)
        if place is None and self._settings.registry is not None:
            directory = Shelf(self._settings.registry).named(ranker_version)
            place = place_of(ranker_version, directory, self._settings.registry)
        if place is None:
            raise NotFoundError(f"ranker_version: {ranker_version} is not loaded, and was not in service before")
        return place

    def _swap(self, ranker_version: str) -> LoadedRanker:
        """Serve a loaded ranker, and let go of what nobody would return to."""
        kept_until_now = self._registry.previous
        if self._shadows.get(ranker_version) is not None:
            self._shadows.stop(ranker_version)
        ranker = self._registry.promote(ranker_version)
        below = self.history.below(ranker_version)
        self._registry.keep_to_return_to(None if below is None else below.ranker_version)
        candidates = self._candidates()
        if kept_until_now in candidates and not self._busy(kept_until_now):
            candidates.remove(kept_until_now)
            self._registry.unload(kept_until_now.version)
        idle = [r for r in candidates if not self._busy(r)]
        for oldest in idle[: max(0, len(candidates) - self._settings.promotion.max_shadows)]:
            self._registry.unload(oldest.version)
        return ranker

    def _trusted(self, result: ComparisonResult) -> bool | None:
        """By the guard's own thresholds; None where the measured tau is neither surely good nor surely bad."""
        statistics, guard = result.statistics, self._settings.guard
        tau = None if statistics is None else statistics.candidate.tau
        if tau is None or (guard.floor <= tau.high and tau.low <= guard.floor + guard.margin):
            return None
        return tau.low > guard.floor + guard.margin

    @contextmanager
    def _kept_loaded(self, ranker_version: str) -> Iterator[LoadedRanker]:
        """Keep a ranker loaded while it is compared."""
        ranker = self._registry.named(ranker_version)
        self._in_use[ranker_version] += 1
        try:
            yield ranker
        finally:
            self._in_use[ranker_version] -= 1
            if not self._in_use[ranker_version]:
                del self._in_use[ranker_version]


def _evidence(result: ComparisonResult) -> StepEvidence:
    """A comparison as the history has it."""
    statistics = result.statistics
    difference = None if statistics is None else statistics.tau_difference
    return StepEvidence(
        verdict=result.verdict.value,
        kind="" if result.evidence is None else result.evidence.value,
        completions=0 if statistics is None else statistics.size,
        tau_difference=None if difference is None else difference.value,
        low=None if difference is None else difference.low,
        high=None if difference is None else difference.high,
    )
