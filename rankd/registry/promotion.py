"""The way of a ranker into service and out of it: load, shadow, compare, promote, roll back, unload.

Memory is bounded: beside the ranker in service and the one before it, at most ``promotion.max_shadows`` are loaded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rankd.errors import ArtifactError
from rankd.monitor.monitor import Monitor
from rankd.registry.comparison import (
    ComparisonOptions,
    ComparisonProgress,
    ComparisonResult,
    ComparisonVerdict,
    RankerComparison,
)
from rankd.registry.loaded import LoadedRanker, Registry
from rankd.registry.shadow import ShadowRanker, ShadowRankers
from rankd.settings import Settings


class Promotion:
    """What an administrator does with rankers."""

    def __init__(
        self,
        registry: Registry,
        monitor: Monitor,
        shadows: ShadowRankers,
        comparison: RankerComparison,
        settings: Settings,
    ) -> None:
        """Take what a promotion passes through."""
        self._registry = registry
        self._monitor = monitor
        self._shadows = shadows
        self._comparison = comparison
        self._settings = settings
        self._in_use: Counter[str] = Counter()

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
        return self._shadows.get(ranker.version) is not None or bool(self._in_use[ranker.version])

    def unload(self, ranker_version: str) -> None:
        """Free a ranker's memory, and end its shadow.

        Raises:
            NotFoundError: it is not loaded.
            ArtifactError: IN_SERVICE.
        """
        self._registry.unload(ranker_version)
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
            return await self._comparison.compare(ranker, options, progress)

    async def promote(
        self, ranker_version: str, only_if: ComparisonOptions | None
    ) -> tuple[LoadedRanker, bool, ComparisonResult | None]:
        """Put a loaded ranker into service, with ``only_if`` where a comparison finds it better.

        Returns:
            The ranker in service now, whether it was promoted, and the result.

        Raises:
            NotFoundError: it is not loaded.
            ArtifactError: CHANGED_MEANWHILE, another one came into service meanwhile.
        """
        if only_if is None:
            self._registry.named(ranker_version)
            return self._swap(ranker_version), True, None
        with self._kept_loaded(ranker_version) as ranker:
            result = await self._comparison.compare(ranker, only_if, lambda _done, _total: None)
            if result.verdict is not ComparisonVerdict.BETTER:
                return self._registry.in_service, False, result
            # From here on nothing is awaited: nobody can come between.
            if self._registry.in_service.version != result.incumbent:
                raise ArtifactError(
                    "CHANGED_MEANWHILE", f"{ranker_version} was judged against {result.incumbent}, which is no "
                    "longer in service: judge it again",
                )  # fmt: skip
            self._registry.named(ranker_version)
            self._monitor.begin_anew(ranker_version, trusted=self._trusted(result), calibrations=result.calibrations)
            return self._swap(ranker_version), True, result

    def roll_back(self) -> LoadedRanker:
        """Put the previous ranker back into service.

        Raises:
            NotFoundError: there was none before.
        """
        return self._registry.roll_back()

    def _swap(self, ranker_version: str) -> LoadedRanker:
        before = self._registry.previous
        if self._shadows.get(ranker_version) is not None:
            self._shadows.stop(ranker_version)
        ranker = self._registry.promote(ranker_version)
        if before is not None and before in self._candidates() and not self._busy(before):
            self._registry.unload(before.version)
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
