"""The use case: a queue in, its order out.

Read it beside the paper (arXiv 2408.15792, algorithm 1): a request is scored once, the queue is ordered by what the
scores say. What the paper leaves out is here too: what happens without a score, without trust and without time.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection, Generator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from rankd_client.ordering import OrderColumns, Policy, order_queue

from rankd.completion_log import CompletionLog
from rankd.monitor.monitor import Monitor
from rankd.monitor.trust import Trust
from rankd.pilot.live import LivePilots
from rankd.ranking.expectations import Expectations, FreshScores, expectation_steps, scored_by
from rankd.ranking.policy import EffectivePolicy, InForce, backlog_of
from rankd.ranking.reasons import is_timeless, reason_of
from rankd.ranking.single import SingleAnswer, SingleRequest, answer_single, is_single, single_of
from rankd.ranking.tenant_counts import TenantCounts
from rankd.registry.loaded import LoadedRanker, Registry
from rankd.registry.shadow import ShadowRankers
from rankd.settings import OrderSection
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Answer, PromptReach, RankQueue, Reason, Scored

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work that says by ``yield`` where others may come between, and returns its result."""
_AT_ONCE = 32
"""Items between two such places."""


class Run(Protocol):
    """Does work, as far as others let it."""

    async def __call__(self, steps: Steps[T], /) -> T:
        """Give what the work returns."""


@dataclass(slots=True)
class RankCounts:
    """Traffic since the start."""

    calls: int = 0
    items: int = 0
    unscored: int = 0


@dataclass(frozen=True, slots=True)
class Basis:
    """What an order rests on beside the queue.

    While it is the same, the last answer still is one to a queue without changes; patience may have moved on a little.
    """

    ranker_version: str
    trust: Trust
    policy: Policy | None
    """The pilot's, where one is under way."""


class QueueRanker:
    """Orders queues with the ranker in service, as far as it is trusted."""

    def __init__(
        self,
        registry: Registry,
        monitor: Monitor,
        shadows: ShadowRankers,
        pilots: LivePilots,
        order: OrderSection,
        telemetry: Telemetry,
        tenants: TenantCounts,
        log: CompletionLog | None = None,
    ) -> None:
        """Take what an order needs, what counts it, and the completion log where there is one."""
        self._log = log
        self._tenants = tenants
        self._pilots = pilots
        self._registry = registry
        self._shadows = shadows
        self._monitor = monitor
        self._in_force = InForce(order)
        self._telemetry = telemetry
        self._loop = asyncio.get_running_loop()
        self.counts = RankCounts()

    @property
    def reach(self) -> PromptReach:
        """How much of a prompt may be read at all: by any loaded ranker, shadows included, and by the log."""
        reach = self._registry.reach
        if self._log is None:
            return reach
        half = -(-self._log.characters // 2)
        return PromptReach(max(reach.head, half), max(reach.tail, half))

    def basis(self, model: str, ranker_version: str) -> Basis:
        """What an order of a model's queue would rest on now.

        Raises:
            NotFoundError: the ranker is not loaded.
        """
        ranker = self._registry.resolve(ranker_version)
        return Basis(ranker.version, self._monitor.trust(model, ranker.version), self._pilots.policy(model))

    async def rank(self, queue: RankQueue, deadline: float, run: Run | None = None) -> Answer:
        """Order a queue. The answer holds every item exactly once, whatever happens.

        Args:
            queue: the queue; validated.
            deadline: on the event loop's clock; what has no score by then is placed without one.
            run: does work that says by ``yield`` where others may come between; None does it without a pause.

        Raises:
            NotFoundError: the queue asks for a ranker that is not loaded.
        """
        ranker = self._registry.resolve(queue.ranker_version)
        trust = self._monitor.trust(queue.model, ranker.version)
        if is_single(queue):
            return await self._rank_single(queue, ranker, trust, deadline)
        usable = _usable_predictions(queue, ranker.version)
        run = run or run_at_once
        scores = await self._score(queue, ranker, trust, usable, deadline, run)
        scored_at = self._loop.time()
        with self._telemetry.stage("order"):
            answer = await run(self._order(queue, ranker, trust, scores))
        answer.scored_at = scored_at
        fresh = int(np.count_nonzero(answer.fresh))
        self._count(answer.policy, answer.reason, len(answer.score), answer.missing.values(), fresh)
        self._tenants.count(queue.constraints.tenant, len(answer.score), answer.fresh, answer.missing)
        await run(self._tell(queue, ranker, answer))
        return answer

    def rank_known(self, request: SingleRequest) -> SingleAnswer | None:
        """Order a queue of one whose score is known already, at once: the same answer as ``rank``'s, at half its cost.

        None where it is not known, or somebody else wants to know of the queue; nothing was counted then.

        Raises:
            NotFoundError: the queue asks for a ranker that is not loaded.
        """
        if self._log is not None or self._telemetry.recording or self._shadows.any or self._pilots.any:
            return None
        if request.prompt is None:
            return None
        ranker = self._registry.resolve(request.ranker_version)
        trust = self._monitor.trust(request.model, ranker.version)
        effective = self._in_force(trust, request.policy, 0.0, request.objective)
        if effective.rules.policy is Policy.AGED:
            return None
        scored = ranker.scorer.known_now(ranker.scorer.cut(request.prompt))
        if scored is None or math.isnan(scored.score):
            return None
        scored_at, began = self._loop.time(), time.perf_counter()
        answer = answer_single(request, ranker, trust, effective, scored)
        assert answer is not None  # it is not AGED
        self._telemetry.stage_seconds("order", time.perf_counter() - began)
        answer.scored_at = scored_at
        fresh = int(answer.known.fresh)
        self._count(answer.policy, answer.reason, 1, (), fresh)
        self._tenants.count_one(request.tenant, fresh, 0)
        return answer

    async def _rank_single(self, queue: RankQueue, ranker: LoadedRanker, trust: Trust, deadline: float) -> Answer:
        """Order a queue of one: as all others, without what numpy and pauses cost."""
        scored, missing = await self._score_single(queue, ranker, trust, deadline)
        scored_at = self._loop.time()
        with self._telemetry.stage("order"):
            effective = self._effective(queue, 0.0, trust)
            single = answer_single(single_of(queue), ranker, trust, effective, scored, missing)
            if single is None:
                answer = finish(self._order(queue, ranker, trust, FreshScores.of_one(scored, missing)))
            else:
                answer = single.columns
        answer.scored_at = scored_at
        fresh = int(answer.fresh[0])
        self._count(answer.policy, answer.reason, 1, answer.missing.values(), fresh)
        self._tenants.count(queue.constraints.tenant, 1, answer.fresh, answer.missing)
        finish(self._tell(queue, ranker, answer))
        return answer

    async def _score_single(
        self, queue: RankQueue, ranker: LoadedRanker, trust: Trust, deadline: float
    ) -> tuple[Scored | None, Reason | None]:
        """Score the only item, where it brings no usable prediction: what was said of it, or why nothing was."""
        if queue.echoes and _usable_predictions(queue, ranker.version)[0]:
            return None, None
        text = queue.prompts[0]
        if text is None:
            return None, Reason.NEEDS_PROMPT
        until = deadline if trust.worth_waiting else self._loop.time()
        (result,) = await ranker.scorer.score((ranker.scorer.cut(text),), until)
        return (None, result) if isinstance(result, Reason) else (result, None)

    def _tell(self, queue: RankQueue, ranker: LoadedRanker, answer: Answer) -> Steps[None]:
        """Tell who else wants to know, some items at a time: pilots, shadows, the completion log."""
        self._pilots.ordered(queue, answer.policy)
        for start in range(0, len(queue.request_ids), _AT_ONCE):
            part = range(start, min(start + _AT_ONCE, len(queue.request_ids)))
            answer.shadow_scores |= self._shadows.offer(queue, ranker, answer.score, part)
            answer.pilot_slots |= self._pilots.arrived(queue, answer.fresh, part)
            if self._log is not None:
                self._log.scored(queue, answer.fresh, part)
            yield

    def repeated(self, policy: Policy, reason: Reason, items: int, missing: Collection[Reason]) -> None:
        """Count an answer that was given once more."""
        self._count(policy, reason, items, missing, 0)

    async def _score(
        self,
        queue: RankQueue,
        ranker: LoadedRanker,
        trust: Trust,
        usable: NDArray[np.bool_],
        deadline: float,
        run: Run,
    ) -> FreshScores:
        """Score what brings no usable prediction."""
        found = FreshScores(np.full(len(queue.request_ids), np.nan))
        wanted: list[int] = []
        texts: list[str] = []

        def cut() -> Steps[None]:
            for count, i in enumerate(np.flatnonzero(~usable).tolist()):
                text = queue.prompts[i]
                if text is None:
                    found.missing[i] = Reason.NEEDS_PROMPT
                else:
                    wanted.append(i)
                    texts.append(ranker.scorer.cut(text))  # the cache is asked for what the ranker reads
                if count % _AT_ONCE == _AT_ONCE - 1:
                    yield

        await run(cut())
        if not wanted:
            return found
        # A ranker that is too slow or failing is not waited for; its prompts are still read, which is how it recovers.
        results = await ranker.scorer.score(texts, deadline if trust.worth_waiting else self._loop.time())
        for i, result in zip(wanted, results, strict=True):
            if isinstance(result, Reason):
                found.missing[i] = result
            else:
                found.score[i], found.texts[i] = result
        return found

    def _order(self, queue: RankQueue, ranker: LoadedRanker, trust: Trust, fresh_scores: FreshScores) -> Steps[Answer]:
        known = yield from expectation_steps(queue, ranker, trust, fresh_scores)
        fresh, missing = ~np.isnan(fresh_scores.score), fresh_scores.missing
        yield
        empty = not queue.request_ids
        columns = _columns(queue, known, fresh)
        effective = self._effective(queue, backlog_of(columns, trust, queue.backlog), trust)
        reason = Reason.REQUESTED if effective.wanted is Policy.FCFS else effective.reason
        ordering = order_queue(
            columns,
            effective.rules,
            now=queue.now,
            served=queue.tenant_service.served,
            weights=queue.tenant_service.weights,
            scores_comparable=not queue.echoes or all(v in (None, ranker.version) for v in queue.score_versions),
        )
        yield
        return Answer(
            order=ordering.order,
            serving_key=ordering.serving_key,
            policy=effective.policy if empty else ordering.policy,
            reason=reason if empty else reason_of(effective.policy, reason, ordering.policy, missing),
            ranker_version=ranker.version,
            score=known.score,
            expected=known.expected,
            p50=known.p50,
            p90=known.p90,
            fresh=fresh,
            missing=missing,
            shadow_scores={},
            pilot_slots={},
            patience=effective.rules.patience,
            objective=effective.objective,
            prompt_cost=effective.rules.prompt_cost,
            timeless=is_timeless(ordering.policy, effective.rules, has_deadline=columns.deadline is not None),
            scored_at=0.0,
            features=known.features,
            learned=known.learned,
        )

    def _effective(self, queue: RankQueue, backlog: float, trust: Trust) -> EffectivePolicy:
        """The policy in force for a queue."""
        wanted = queue.policy or self._pilots.policy(queue.model)
        return self._in_force(trust, wanted, backlog, queue.objective)

    def _count(self, policy: Policy, reason: Reason, items: int, missing: Collection[Reason], fresh: int) -> None:
        self.counts.calls += 1
        self.counts.items += items
        self.counts.unscored += len(missing)
        self._telemetry.answer(policy.value, reason.value)
        self._telemetry.items(scored=fresh, echoed=items - fresh - len(missing), unscored=missing)


async def run_at_once(steps: Steps[T]) -> T:
    """As ``finish``, for who takes a ``Run``."""
    return finish(steps)


def finish(steps: Steps[T]) -> T:
    """Do work that says by ``yield`` where others may come between, without a pause; give what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def _columns(queue: RankQueue, known: Expectations, fresh: NDArray[np.bool_]) -> OrderColumns:
    constraints = queue.constraints
    return OrderColumns(
        queue.request_ids,
        queue.arrival,
        known.score,
        known.expected,
        p90=queue.p90 if known.p90 is None else np.where(fresh, known.p90, queue.p90),
        generated=queue.generated,
        max_tokens=queue.max_tokens,
        running=constraints.running,
        deadline=constraints.deadline,
        overtaken=constraints.overtaken,
        priority_class=constraints.priority_class,
        tenant=constraints.tenant,
        prompt_tokens=constraints.prompt_tokens,
        cached_prompt_tokens=constraints.cached_prompt_tokens,
        learned=known.learned,
    )


def _usable_predictions(queue: RankQueue, version: str) -> NDArray[np.bool_]:
    """Which items need no scoring: scored by this ranker, or by another that said how many tokens to expect."""
    if not queue.echoes:
        return np.zeros(len(queue.request_ids), dtype=np.bool_)
    usable: NDArray[np.bool_] = ~np.isnan(queue.score) & (scored_by(queue, version) | ~np.isnan(queue.expected))
    return usable
