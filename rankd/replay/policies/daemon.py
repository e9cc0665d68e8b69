"""The daemon's orders in the simulation: the same queue, rules, calibration and guard, fed by what the engine does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import (
    OrderColumns,
    Policy,
    Rules,
    ServedRequest,
    TenantCounters,
    WaitingQueue,
    order_queue,
)

from rankd.monitor.load import ModelLoad
from rankd.monitor.supported import ServedHistory
from rankd.monitor.trust import Trust
from rankd.ranking.policy import in_force
from rankd.replay.engine.engine import RunningBatch
from rankd.replay.policies.baselines import NEVER
from rankd.replay.policies.learner import learn_load, read_prompts
from rankd.replay.trace.trace import Floats, Trace
from rankd.settings import OrderSection

_RULES_EVERY = 8
"""Starts between two renewals of the rules; a daemon makes them at every call, an engine's plug-in less often."""
_FIRST_MEAN = 32
"""Completions before a mean length is known where nothing else is."""


class ReplayQueue(WaitingQueue):
    """A waiting queue whose expected lengths can all be learned anew."""

    def relearn(self, expected: Callable[[Sequence[int]], Floats]) -> None:
        """Replace the expected lengths by what is known of the requests now."""
        requests = [int(request_id) for request_id in self._table.ids]
        self._table.floats["expected"][: len(self)] = expected(requests)
        self._stale = True


class KnownLengths(Protocol):
    """What is known of lengths, and how far it is to be trusted."""

    version: int
    """Changes when lengths or trust do."""

    @property
    def trust(self) -> Trust:
        """How far, now."""

    def arrived(self, request: int, now: float) -> None:
        """Take word of a new request."""

    def started(self, request: int, now: float) -> None:
        """Take word of a request's first start."""

    def finished(self, request: int, now: float, batch: RunningBatch) -> None:
        """Take word of a completion."""

    def expected_of(self, requests: Sequence[int]) -> Floats:
        """Expected lengths in tokens; NaN where nothing is known."""


class OracleScores:
    """True lengths, trusted, as scores."""

    def __init__(self, trace: Trace, order: OrderSection) -> None:
        """Take the true lengths; how fast requests are served, and what patience is best, is learned as ever."""
        self.version = 0
        self._order = order
        self._start: dict[int, float] = {}
        self._output: list[int] = trace.output.tolist()
        self._prompt = read_prompts(trace)
        self._arrival: list[float] = trace.arrival.tolist()
        longest = max(self._output, default=1)
        same = Calibration((Knot(0.0, 0.0), Knot(longest, longest)), sum(self._output) / max(len(self._output), 1))
        load = ModelLoad(history=ServedHistory(order.tune_window))
        self._trust = Trust(ranks=True, worth_waiting=True, calibration=same, level=1.0, load=load)

    @property
    def trust(self) -> Trust:
        """Full."""
        return self._trust

    def arrived(self, request: int, now: float) -> None:
        """Nothing is learned of it."""

    def started(self, request: int, now: float) -> None:
        """Learn how long it waited."""
        self._start[request] = now
        self._trust.load.wait.add(now - self._arrival[request])

    def finished(self, request: int, now: float, batch: RunningBatch) -> None:
        """Learn how fast requests are served."""
        del batch
        load, tokens = self._trust.load, self._output[request]
        load.rate.add(tokens, now)
        arrival, start = self._arrival[request], self._start.pop(request)
        expected = self._expected_of(request)
        served = ServedRequest(arrival, start - arrival, now - start, expected, tokens, self._prompt[request])
        if learn_load(load, self._order, served):
            self.version += 1

    def expected_of(self, requests: Sequence[int]) -> Floats:
        """The true lengths themselves."""
        return np.array([self._output[request] for request in requests], dtype=np.float64)

    def _expected_of(self, request: int) -> float:
        return float(self._output[request])


class PromptsAlone(OracleScores):
    """Nothing is known of lengths but their mean: what the daemon does of a ranker that is of no use."""

    def __init__(self, trace: Trace, order: OrderSection) -> None:
        """Start as a daemon does that never saw a completion."""
        super().__init__(trace, order)
        self._trust = replace(self._trust, calibration=None, ignores_lengths=True)
        self._completions = self._sum = self._fit_at = 0

    def finished(self, request: int, now: float, batch: RunningBatch) -> None:
        """Learn how fast requests are served, and how long they are on average."""
        self._completions += 1
        self._sum += self._output[request]
        if self._completions - self._fit_at >= min(max(self._fit_at, _FIRST_MEAN), self._order.recalibrate_every):
            self._fit_at, mean = self._completions, self._sum / self._completions
            self._trust = replace(self._trust, calibration=Calibration((Knot(0.0, mean),), mean))
            self.version += 1
        super().finished(request, now, batch)

    def expected_of(self, requests: Sequence[int]) -> Floats:
        """Of all the same, which the rules know."""
        return np.full(len(requests), np.nan)

    def _expected_of(self, request: int) -> float:
        del request
        return self._sum / self._completions


class RankdOrder:
    """A policy of the daemon, with everything that it is set by."""

    preemptive = False

    def __init__(
        self, trace: Trace, scores: Floats, lengths: KnownLengths, order: OrderSection, policy: Policy | None = None
    ) -> None:
        """Start with an empty queue.

        Args:
            trace: the trace.
            scores: of the ranker, [n]; the true lengths for the oracle.
            lengths: what is known of lengths.
            order: the settings.
            policy: what a caller asks for; None leaves it to the settings: the policy that follows their objective.
        """
        n = len(trace)
        self._ids = [f"{i:09d}" for i in range(n)]
        self._arrival: list[float] = trace.arrival.tolist()
        self._prompt: list[int] = trace.prompt.tolist()
        self._cached: list[int] = (trace.prompt - trace.uncached).tolist()
        self._scores: list[float] = scores.tolist()
        self._classes = [0] * n if trace.priority_class is None else trace.priority_class.tolist()
        self._tenants = [""] * n if trace.tenant is None else [str(t) for t in trace.tenant.tolist()]
        self._lengths, self._order, self._policy = lengths, order, policy
        # As a caller of the daemon keeps them: who was away has saved up nothing.
        self._counters = TenantCounters(prompt_weight=order.prompt_weight)
        self._queue = ReplayQueue(self._rules(0.0), served=self._counters.served)
        self._here: set[int] = set()
        self._started: set[int] = set()
        self._version = lengths.version
        self._starts = 0
        self._batch: RunningBatch | None = None

    def attach(self, batch: RunningBatch) -> None:
        """Learn about the engine."""
        self._batch = batch

    @property
    def batch(self) -> RunningBatch:
        """The engine."""
        assert self._batch is not None
        return self._batch

    @property
    def rules(self) -> Rules:
        """The rules in force."""
        return self._queue.rules

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, request: int, now: float, generated: int) -> None:
        """Let a request wait."""
        score = self._scores[request]
        new = request not in self._here
        if new:
            self._here.add(request)
        self._counters.arrived(self._tenants[request])
        if new:
            self._lengths.arrived(request, now)
        self._queue.add(
            self._ids[request],
            self._arrival[request],
            score=score,
            expected=float(self._lengths.expected_of([request])[0]),
            generated=float(generated),
            priority_class=self._classes[request],
            tenant=self._tenants[request],
            prompt_tokens=float(self._prompt[request]),
            cached_prompt_tokens=float(self._cached[request]),
        )

    def peek(self, now: float) -> int:
        """Who goes next."""
        self._renew_rules()
        return int(self._queue.peek(now))

    def pop(self, now: float) -> int:
        """Start who goes next."""
        self._renew_rules()
        request = int(self._queue.pop(now))
        self._counters.left(self._tenants[request])
        self._starts += 1
        if request not in self._started:
            self._started.add(request)
            self._lengths.started(request, now)
        return request

    def victim(self, now: float) -> int:
        """The last of the running ones, if they were a queue."""
        running = self.batch.running()
        scores = np.array([self._scores[r] for r in running])
        queue = OrderColumns(
            request_ids=[self._ids[r] for r in running],
            arrival=np.array([self._arrival[r] for r in running]),
            score=scores,
            expected=self._lengths.expected_of(running),
            generated=np.array([self.batch.generated(r) for r in running], dtype=np.float64),
            priority_class=np.array([self._classes[r] for r in running], dtype=np.int64),
            prompt_tokens=np.array([self._prompt[r] for r in running], dtype=np.float64),
            cached_prompt_tokens=np.array([self._cached[r] for r in running], dtype=np.float64),
        )
        return running[int(order_queue(queue, self._queue.rules, now=now).order[-1])]

    def beats(self, waiting: int, running: int, now: float) -> bool:
        """Never: a slot is kept."""
        del waiting, running, now
        return False

    def wake(self) -> int:
        """Never by itself."""
        return NEVER

    def finished(self, request: int, now: float) -> None:
        """Learn from it."""
        tenant = self._tenants[request]
        self._here.discard(request)
        self._started.discard(request)
        self._counters.produced(tenant, self.batch.generated(request), self._prompt[request])
        self._lengths.finished(request, now, self.batch)

    def _renew_rules(self) -> None:
        """Make the rules anew from what is known now."""
        if self._lengths.version != self._version:
            self._version = self._lengths.version
            self._queue.relearn(self._lengths.expected_of)
        elif self._starts < _RULES_EVERY:
            return
        self._starts = 0
        self._queue.rules = self._rules(float(self._queue.lengths().sum()))

    def _rules(self, backlog: float) -> Rules:
        return in_force(self._order, self._lengths.trust, self._policy, backlog).rules
