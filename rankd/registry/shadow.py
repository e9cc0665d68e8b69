"""Shadows: rankers that score in the background what the ranker in service has scored, and order nothing.

A shadow reads one prompt at a time (64 on CUDA), and only while the ranker in service has nothing to read or, where
that never is, ten times a second: a caller waits for no more than that. What it found is in the predictions of later
answers, and remembered by a keyed hash of the request until its completion is reported, since most engines ask only
once per request. All of it is bounded, and there is nothing where no shadow runs.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, deque
from dataclasses import dataclass

from rankd.clock import CLOCK
from rankd.errors import ArtifactError, NotFoundError
from rankd.registry.loaded import LoadedRanker, Registry
from rankd.settings import PromotionSection
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion, FloatArray, RankQueue, Reason, Scored, ShadowScores

PROMPTS_AT_ONCE = {"cpu": 1, "cuda": 64}
"""Prompts read in one go: what a live prompt may have to wait for."""
READ_TIMEOUT = 60.0
"""Seconds that one go may take, as where the model hangs."""


@dataclass(frozen=True, slots=True)
class ShadowPair:
    """One completion that both rankers scored."""

    model: str
    incumbent_version: str
    incumbent: float
    candidate: float
    tokens: int
    complete: bool
    group: int
    """Equal for equal prompts."""
    ended_at: float
    """By the machine's clock, seconds since the epoch."""


@dataclass(slots=True)
class _Waiting:
    """A prompt on its way to a shadow score."""

    text: str
    group: int
    outcome: tuple[Completion, float] | None = None
    """Its completion and when that was reported, where that came first."""


class ShadowRanker:
    """One candidate. Create and use it on the event loop's thread."""

    def __init__(
        self, ranker: LoadedRanker, registry: Registry, settings: PromotionSection, telemetry: Telemetry
    ) -> None:
        """Start scoring."""
        self.ranker = ranker
        self.since = CLOCK.now()
        """By the daemon's clock."""
        self.scored = 0
        self.dropped = 0
        self.pairs: deque[ShadowPair] = deque(maxlen=settings.max_completions)
        self._registry = registry
        self._settings = settings
        self._telemetry = telemetry
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._reading: dict[int, _Waiting] = {}
        self._scores: OrderedDict[int, tuple[float, int]] = OrderedDict()
        self._more = asyncio.Event()
        registry.set_background(ranker, background=True)
        self._task = asyncio.create_task(self._run(), name="rankd-shadow")

    def offer(self, key: int, prompt: str) -> None:
        """Let a prompt be scored when there is time; one too many is left out."""
        group = hash(prompt)
        known = self._scores.get(key)
        waiting = self._waiting.get(key) or self._reading.get(key)
        if group in (known and known[1], waiting and waiting.group):
            return
        if len(self._waiting) >= self._settings.shadow_queue:
            self.dropped += 1
            self._telemetry.shadow("dropped")
            return
        self._waiting[key] = _Waiting(self.ranker.scorer.cut(prompt), group)
        self._more.set()

    def score_of(self, key: int) -> float | None:
        """The score of a request, where it is known by now."""
        known = self._scores.get(key)
        return None if known is None else known[0]

    def completed(self, key: int, completion: Completion, now: float) -> None:
        """Take a final report: with both scores it is evidence."""
        waiting = self._waiting.get(key) or self._reading.get(key)
        if (known := self._scores.pop(key, None)) is not None:
            self._pair(completion, known[0], known[1], now)
        elif waiting is not None:
            waiting.outcome = completion, now
        else:
            # Scored by another replica, perhaps: then the report brings the score.
            score = dict(completion.shadow_scores).get(self.ranker.version)
            if score is not None and math.isfinite(score):
                self._pair(completion, score, key, now)

    def _pair(self, completion: Completion, score: float, group: int, now: float) -> None:
        self.pairs.append(
            ShadowPair(
                completion.model,
                completion.ranker_version,
                completion.score,
                score,
                completion.tokens,
                completion.complete,
                group,
                now,
            )
        )

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        at_once = PROMPTS_AT_ONCE[self.ranker.scorer.provider]
        while True:
            self._more.clear()
            if not self._waiting:
                await self._more.wait()
            await self._registry.idle(self._settings.shadow_patience)
            self._reading = dict(self._waiting.popitem(last=False) for _ in range(min(at_once, len(self._waiting))))
            texts = [w.text for w in self._reading.values()]
            results = await self.ranker.scorer.score(texts, loop.time() + READ_TIMEOUT)
            for (key, waiting), result in zip(self._reading.items(), results, strict=True):
                self._take(key, waiting, result)
            self._reading = {}

    def _take(self, key: int, waiting: _Waiting, result: Scored | Reason) -> None:
        if isinstance(result, Reason):
            self._telemetry.shadow("failed")
            return
        self.scored += 1
        self._telemetry.shadow("scored")
        if waiting.outcome is not None:
            self._pair(waiting.outcome[0], result.score, waiting.group, waiting.outcome[1])
            return
        self._scores[key] = (result.score, waiting.group)
        if len(self._scores) > self._settings.shadow_pending:
            self._scores.popitem(last=False)

    def stop(self) -> None:
        """End scoring, and give the ranker its usual priority."""
        self._task.cancel()
        self._registry.set_background(self.ranker, background=False)


class ShadowRankers:
    """All shadows of one daemon."""

    def __init__(self, registry: Registry, settings: PromotionSection, telemetry: Telemetry) -> None:
        """Start without any."""
        self._registry = registry
        self._settings = settings
        self._telemetry = telemetry
        self._shadows: dict[str, ShadowRanker] = {}

    @property
    def any(self) -> bool:
        """Whether there are shadows."""
        return bool(self._shadows)

    def get(self, ranker_version: str) -> ShadowRanker | None:
        """The shadow of that version; None where it is none."""
        return self._shadows.get(ranker_version)

    def start(self, ranker: LoadedRanker) -> ShadowRanker:
        """Let a loaded ranker score in the shadow; one that does so already goes on.

        Raises:
            ArtifactError: IN_SERVICE or TOO_MANY_SHADOWS.
        """
        if ranker is self._registry.in_service:
            raise ArtifactError("IN_SERVICE", f"{ranker.version} is in service: it is no shadow of itself")
        shadow = self._shadows.get(ranker.version)
        if shadow is None:
            if len(self._shadows) >= self._settings.max_shadows:
                raise ArtifactError(
                    "TOO_MANY_SHADOWS",
                    f"promotion.max_shadows = {self._settings.max_shadows} rankers score in the shadow already "
                    f"({', '.join(self._shadows)}): stop one",
                )
            shadow = ShadowRanker(ranker, self._registry, self._settings, self._telemetry)
            self._shadows[ranker.version] = shadow
            self._telemetry.shadow_started(ranker.version)
        return shadow

    def stop(self, ranker_version: str) -> None:
        """End a shadow.

        Raises:
            NotFoundError: it is none.
        """
        shadow = self._shadows.pop(ranker_version, None)
        if shadow is None:
            raise NotFoundError("ranker_version: does not score in the shadow; `ListRankers` says which do")
        shadow.stop()
        self._telemetry.shadow_stopped(ranker_version, shadow.scored, len(shadow.pairs))

    def offer(self, queue: RankQueue, ranker: LoadedRanker, scores: FloatArray, part: range) -> ShadowScores:
        """Offer all shadows what was just scored, and give the shadow scores that are known, by item.

        Args:
            queue: the queue.
            ranker: who answers it; shadows follow the ranker in service only.
            scores: its fresh scores, NaN elsewhere, [items].
            part: the items to offer.
        """
        if not self._shadows or ranker is not self._registry.in_service:
            return {}
        found: ShadowScores = {}
        here = scores[part.start : part.stop]
        for index, fresh in zip(part, (here == here).tolist(), strict=True):  # noqa: PLR0124 - not NaN
            key = _key(queue.model, queue.tenant_of(index), queue.request_ids[index])
            for version, shadow in self._shadows.items():
                prompt = queue.prompts[index]
                if fresh and prompt is not None:
                    shadow.offer(key, prompt)
                if (score := shadow.score_of(key)) is not None:
                    found.setdefault(index, []).append((version, score))
        return found

    def completed(self, completion: Completion, now: float) -> None:
        """Take an accepted report; ``now`` by the machine's clock, as files' times are."""
        if not self._shadows or not completion.final:
            return
        key = _key(completion.model, completion.tenant, completion.request_id)
        for shadow in self._shadows.values():
            shadow.completed(key, completion, now)

    def close(self) -> None:
        """End all shadows."""
        for shadow in self._shadows.values():
            shadow.stop()
        self._shadows.clear()


def _key(model: str, tenant: str, request_id: str) -> int:
    """The same as ``RequestHasher.digest`` hashes, by Python's own hash, which is keyed anew in every process.

    A seventh of the time; nothing else of a request is kept.
    """
    return hash((model, tenant, request_id))
