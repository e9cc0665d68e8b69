"""The loaded rankers: which one is in service, which one was before, and how one takes the other's place.

A call resolves its ranker once, at its beginning, and finishes with it: a swap mixes no answers and drops no call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog
from rankd_client.calibration import Calibration

from rankd.adaptation import FeatureHasher
from rankd.clock import CLOCK
from rankd.errors import ArtifactError, NotFoundError
from rankd.monitor.monitor import Monitor
from rankd.registry.artifact import Artifact
from rankd.registry.feature_hashing import NO_FEATURES, FeatureHashing
from rankd.registry.loader import RankerLoader
from rankd.registry.manifest import Manifest
from rankd.registry.trained_rows import PromptList
from rankd.scoring.placement import Placement
from rankd.scoring.scorer import Scorer
from rankd.scoring.tokeniser import CHARS_PER_TOKEN, Truncation
from rankd.scoring.workers import ModelWorkers, worker_counts
from rankd.settings import Provider, ScoringSection
from rankd.telemetry.telemetry import Telemetry
from rankd.types import PromptReach

_log = structlog.get_logger("rankd")

_LOWEST = 19
"""Priority of a ranker that nobody waits for; Linux' lowest."""
_LOOK_AGAIN = 0.1
"""Seconds between two polls of what has no event."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadedRanker:
    """A ranker that is ready to score."""

    version: str
    """``name@version``"""
    path: Path
    scorer: Scorer
    calibration: Calibration | None
    manifest: Manifest
    placement: Placement | None = None
    """Where its nodes ran on CUDA; if it runs on the CPU, why. None where CUDA was not tried, or that is not known."""
    hasher: FeatureHasher | None = None
    """Packs what predictions carry to be learned from; None where nothing is learned."""
    prompts: PromptList | None = None
    """What it was made of, as far as that is listed."""

    @property
    def measured_tau(self) -> float | None:
        """tau-b measured before it was shipped; None where its manifest has none."""
        return self.manifest.measured_tau

    @property
    def precision(self) -> str | None:
        """What the graph that runs calculates in; None where its manifest does not say."""
        cuda = self.manifest.cuda if self.scorer.provider == "cuda" else None
        return self.manifest.precision if cuda is None else cuda.precision

    @property
    def device_share(self) -> float | None:
        """Of the model's time, what did not pass on the CPU, 0 to 1; None where it runs there, or that is not known."""
        if self.placement is None or self.scorer.provider == "cpu":
            return None
        return self.placement.device_share

    @property
    def cpu_products(self) -> Mapping[str, int]:
        """Matrix products by operator that CUDA left to the CPU, which is why it was loaded for the CPU."""
        return {} if self.placement is None else self.placement.cpu_products


class Registry:
    """Holds the loaded rankers of one daemon."""

    def __init__(
        self,
        provider: Provider,
        scoring: ScoringSection,
        monitor: Monitor,
        telemetry: Telemetry,
        hashing: FeatureHashing = NO_FEATURES,
    ) -> None:
        """Start empty; ``hashing`` says which features predictions are to carry."""
        self._hashing = hashing
        self._provider = provider
        self._scoring = scoring
        self._monitor = monitor
        self._telemetry = telemetry
        self._loader = RankerLoader(provider, scoring)
        self._rankers: dict[str, LoadedRanker] = {}
        self._in_service: str | None = None
        self._previous: str | None = None
        self._lock = asyncio.Lock()
        self._leaving: dict[LoadedRanker, asyncio.Task[None]] = {}
        self._idle: list[asyncio.Future[None]] = []

    @property
    def in_service(self) -> LoadedRanker:
        """The ranker that answers calls that name none."""
        if self._in_service is None:
            raise NotFoundError("no ranker is in service")
        return self._rankers[self._in_service]

    @property
    def previous(self) -> LoadedRanker | None:
        """The ranker a rollback would return to."""
        return self._rankers.get(self._previous) if self._previous else None

    def resolve(self, ranker_version: str) -> LoadedRanker:
        """The ranker of that version; the one in service for "".

        Raises:
            NotFoundError: it is not loaded.
        """
        if not ranker_version:
            return self.in_service
        ranker = self._rankers.get(ranker_version)
        if ranker is None:
            raise NotFoundError("ranker_version: not loaded here; leave it empty for the one in service")
        return ranker

    def all(self) -> list[LoadedRanker]:
        """Every loaded ranker, the one in service first."""
        return sorted(self._rankers.values(), key=lambda r: r.version != self._in_service)

    @property
    def reach(self) -> PromptReach:
        """How much of a prompt the loaded rankers read, all of them."""
        reaches = [reach_of(_truncation(r.manifest)) for r in self._rankers.values()]
        return PromptReach(max((r.head for r in reaches), default=0), max((r.tail for r in reaches), default=0))

    async def load(self, path: Path) -> LoadedRanker:
        """Read, check and warm up a ranker, without putting it into service; one already loaded is left as it is.

        Raises:
            ArtifactError: the directory cannot be served.
            ProviderError: the provider asked for is not there.
        """
        artifact, apart = await self._loader.read(path, lambda artifact: self._loaded(artifact) is None)
        async with self._lock:
            # Another call may have loaded it meanwhile.
            if (loaded := self._loaded(artifact)) is not None:
                return loaded
            parts = await self._loader.prepare(artifact, apart=apart, nice=self._nice)
            version = artifact.ranker_version
            hasher = self._hashing.hasher(version)
            scorer = Scorer(
                version,
                parts.tokeniser,
                parts.model,
                parts.workers,
                self._scoring,
                self._telemetry,
                hasher if self._hashing.text else None,
            )
            calibration = artifact.calibration()
            self._monitor.register(
                version, measured=artifact.manifest.measured_tau is not None, calibration=calibration
            )
            scorer.runner.on_batch = lambda ok, seconds: self._batch_done(version, ok=ok, seconds=seconds)
            ranker = LoadedRanker(
                version,
                artifact.path,
                scorer,
                calibration,
                artifact.manifest,
                parts.placement,
                hasher,
                artifact.prompts,
            )
            self._rankers[version] = ranker
            _log_loaded(ranker)
            return ranker

    def _loaded(self, artifact: Artifact) -> LoadedRanker | None:
        """The same ranker, loaded already.

        Raises:
            ArtifactError: VERSION_TAKEN, by another one.
        """
        loaded = self._rankers.get(artifact.ranker_version)
        if loaded is not None and loaded.manifest != artifact.manifest:  # its hashes vouch for the rest
            raise ArtifactError(
                "VERSION_TAKEN", f"another {artifact.ranker_version} is loaded already, from {loaded.path}"
            )
        return loaded

    def stop_loading(self) -> None:
        """End what is being loaded, since the daemon ends."""
        self._loader.stop()

    @property
    def _nice(self) -> int:
        return 0 if self._provider == "cuda" else self._scoring.nice

    def set_background(self, ranker: LoadedRanker, *, background: bool) -> None:
        """Let a ranker run in one worker at the lowest priority and make no features of texts, or as usual again.

        A thread cannot raise its own priority, so workers are new ones. With ``scoring.threads`` above 1 the further
        threads keep theirs.
        """
        count = dict(worker_counts(self._scoring))[ranker.scorer.provider]
        workers = ModelWorkers(1, _LOWEST) if background else ModelWorkers(count, self._nice)
        ranker.scorer.run_in(workers, background=background)

    def _batch_done(self, version: str, *, ok: bool, seconds: float) -> None:
        self._monitor.batch_done(version, ok=ok, seconds=seconds, now=CLOCK.now())
        waiting, self._idle = self._idle, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def idle(self, most: float) -> None:
        """Wait until the ranker in service has nothing to read, or for ``most`` seconds."""
        loop = asyncio.get_running_loop()
        end = loop.time() + most
        while self.in_service.scorer.queued_prompts and (left := end - loop.time()) > 0:
            ended = loop.create_future()
            self._idle.append(ended)
            # What waited may also go away without a batch: look again after a while.
            await asyncio.wait([ended], timeout=min(left, _LOOK_AGAIN))

    def named(self, ranker_version: str) -> LoadedRanker:
        """The ranker of that version, which must be given.

        Raises:
            NotFoundError: it is not loaded.
        """
        if not ranker_version:
            raise NotFoundError("ranker_version: say which; `ListRankers` has them")
        return self.resolve(ranker_version)

    def promote(self, ranker_version: str) -> LoadedRanker:
        """Put a loaded ranker into service.

        Raises:
            NotFoundError: it is not loaded.
        """
        ranker = self.named(ranker_version)
        if ranker.version != self._in_service:
            self._previous, self._in_service = self._in_service, ranker.version
            if self._previous is not None:
                _log.info("ranker_promoted", ranker_version=ranker.version, previous=self._previous)
        return ranker

    def keep_to_return_to(self, ranker_version: str | None) -> None:
        """Say which ranker a rollback would return to; it is kept loaded where it is."""
        self._previous = ranker_version

    def unload(self, ranker_version: str) -> None:
        """Free a ranker's memory once the calls that began with it have ended.

        Raises:
            NotFoundError: it is not loaded.
            ArtifactError: IN_SERVICE.
        """
        ranker = self.named(ranker_version)
        if ranker_version == self._in_service:
            raise ArtifactError("IN_SERVICE", f"{ranker_version} is in service: promote another one first")
        if ranker_version == self._previous:
            self._previous = None
        del self._rankers[ranker_version]
        self._monitor.unloaded(ranker_version)
        self._leaving[ranker] = asyncio.create_task(self._let_go(ranker), name="rankd-unload")

    async def _let_go(self, ranker: LoadedRanker) -> None:
        while ranker.scorer.callers:  # noqa: ASYNC110 - rare, and soon over
            await asyncio.sleep(_LOOK_AGAIN)
        ranker.scorer.close()
        del self._leaving[ranker]
        _log.info("ranker_unloaded", ranker_version=ranker.version)

    def close(self) -> None:
        """Stop all rankers; calls under way have ended."""
        for leaving in self._leaving.values():
            leaving.cancel()
        for ranker in (*self._rankers.values(), *self._leaving):
            ranker.scorer.close()


def _log_loaded(ranker: LoadedRanker) -> None:
    provider, placement, version = ranker.scorer.provider, ranker.placement, ranker.version
    if placement is not None and placement.cpu_products:
        _log.warning("ranker_not_on_gpu", ranker_version=version, operators=placement.named_products())
    if placement is None and provider == "cuda":
        _log.warning("ranker_placement_unknown", ranker_version=version)
    share = {"share": round(placement.device_share, 4)} if placement is not None and provider == "cuda" else {}
    _log.info("ranker_loaded", ranker_version=version, provider=provider, **share)


def reach_of(truncation: Truncation) -> PromptReach:
    """What a tokeniser can read at most of a prompt, whatever its special tokens."""
    return PromptReach(CHARS_PER_TOKEN * truncation.max_tokens, CHARS_PER_TOKEN * truncation.tail_tokens)


def _truncation(manifest: Manifest) -> Truncation:
    cut = manifest.truncation
    return Truncation(cut.max_tokens, cut.head_tokens, cut.tail_tokens)
