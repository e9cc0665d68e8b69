"""The engine of the day: steps of the simulated one, whose every next request a real daemon names."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from rankd_client import Completed, Item, RankClient
from support.scripted_clock import ScriptedClock

from rankd.replay.engine.engine import SimulationResult, run
from rankd.replay.policies.baselines import NEVER, FixedKey
from soak.scripted_day.traffic import ENGINE, Hour

_RULES_EVERY = 8
"""Starts after which the queue is ranked anew, whoever came."""
_REPORT_EVERY = 1.0
"""Seconds between two reports, as a reporter has it."""
_PROGRESS_EVERY = 20.0
_PROGRESS_FROM = 64
"""Tokens after which progress is reported."""


@dataclass
class Sent:
    """What was sent to a daemon since it began."""

    calls: int = 0
    items: int = 0
    final: int = 0
    progress: int = 0
    unranked: int = 0
    refused: list = field(default_factory=list)
    policy: str = ""
    """Of the last answer."""
    versions: Counter = field(default_factory=Counter)


class AskedOrder:
    """The order that a daemon gives, asked at each start; it is told what the requests produced."""

    preemptive = False

    def __init__(
        self, hour: Hour, client: RankClient, clock: ScriptedClock, sent: Sent, name: str, unreported, half_way
    ):
        self._hour, self._client, self._clock, self._sent, self._name = hour, client, clock, sent, name
        self._began = clock.now
        self._unreported = unreported
        self._half_way, self._half = half_way, float(hour.trace.arrival[-1]) / 2
        self._waiting: dict[int, None] = {}
        self._order: list[int] = []
        self._starts = 0
        self._start: dict[int, float] = {}
        self._predictions: dict[int, object] = {}
        self._ended: list[tuple[int, float]] = []
        self._reported_at = self._progress_at = 0.0
        self._batch = None

    def attach(self, batch) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, request: int, now: float, generated: int) -> None:
        assert not generated, "nothing is taken off"
        self._at(now)
        self._waiting[request] = None
        self._order = []

    def peek(self, now: float) -> int:
        if not self._order or self._starts >= _RULES_EVERY:
            self._rank(now)
        return self._order[0]

    def pop(self, now: float) -> int:
        request = self.peek(now)
        del self._order[0], self._waiting[request]
        self._starts += 1
        self._start[request] = now
        return request

    def victim(self, now: float) -> int:
        del now
        raise AssertionError("there is memory for all")

    def beats(self, waiting: int, running: int, now: float) -> bool:
        del waiting, running, now
        raise AssertionError("nothing is taken off")

    def wake(self) -> int:
        return NEVER

    def finished(self, request: int, now: float) -> None:
        self._at(now)
        self._ended.append((request, now))

    def flush(self, now: float) -> None:
        """Report all that ended."""
        arrival, output, prompt = (getattr(self._hour.trace, name) for name in ("arrival", "output", "prompt"))
        told = [
            Completed(
                self._id(request),
                self._predictions.pop(request),
                int(output[request]),
                arrival=self._began + float(arrival[request]),
                queue_seconds=self._start[request] - float(arrival[request]),
                total_seconds=end - float(arrival[request]),
                prompt_tokens=int(prompt[request]),
            )
            for request, end in self._ended
            if request not in self._unreported
        ]
        self._ended, self._reported_at = [], now
        if told:
            self._report(told)
            self._sent.final += len(told)

    def _at(self, now: float) -> None:
        """Let the clock be so late, and report what is due."""
        self._clock.to(self._began + now)
        if self._ended and now - self._reported_at >= _REPORT_EVERY:
            self.flush(now)
        if now - self._progress_at >= _PROGRESS_EVERY:
            self._progress_at = now
            self._report_progress()
        if self._half_way is not None and now >= self._half:
            look, self._half_way = self._half_way, None
            look()

    def _report_progress(self) -> None:
        running = [(r, self._batch.generated(r)) for r in self._batch.running() if r not in self._unreported]
        told = [
            Completed(
                self._id(request),
                self._predictions[request],
                generated,
                finish_reason="in_progress",
                arrival=self._began + float(self._hour.trace.arrival[request]),
            )
            for request, generated in running
            if generated >= _PROGRESS_FROM
        ]
        if told:
            self._report(told)
            self._sent.progress += len(told)

    def _report(self, told: list[Completed]) -> None:
        result = self._client.report(told, timeout=60)
        if result.error or result.rejected or result.accepted != len(told):
            self._sent.refused.append(result)

    def _rank(self, now: float) -> None:
        self._at(now)
        waiting = list(self._waiting)
        items = [
            Item(
                self._hour.prompts[request],
                request_id=self._id(request),
                prediction=self._predictions.get(request),
                arrival=self._began + float(self._hour.trace.arrival[request]),
                prompt_tokens=int(self._hour.trace.prompt[request]),
            )
            for request in waiting
        ]
        queue = self._client.rank(items, timeout=60)
        assert not queue.failed, queue.reason
        self._sent.calls += 1
        self._sent.items += len(items)
        self._sent.policy = queue.policy.value
        self._sent.versions[queue.ranker_version] += 1
        self._order = [waiting[ranked.index] for ranked in queue]
        for ranked in queue:
            if ranked.prediction is not None:
                self._predictions[waiting[ranked.index]] = ranked.prediction
        self._sent.unranked += sum(ranked.prediction is None for ranked in queue)
        self._starts = 0

    def _id(self, request: int) -> str:
        return f"{self._name}-{request}"


@dataclass(frozen=True)
class ServedHour:
    """What became of an hour's requests, and what would have in arrival order, by the script's clock, [n]."""

    arrival: np.ndarray
    start: np.ndarray
    first_token: np.ndarray
    end: np.ndarray
    other_first_token: np.ndarray
    other_end: np.ndarray
    output: np.ndarray
    prompt: np.ndarray
    reported: np.ndarray


def serve(
    hour: Hour,
    client: RankClient,
    clock: ScriptedClock,
    sent: Sent,
    name: str,
    unreported: frozenset = frozenset(),
    half_way=None,
) -> ServedHour:
    """Serve an hour as the daemon says, beginning now, until all has ended and was reported.

    Args:
        hour: its requests.
        client: of the daemon; its served model is what requests are for.
        clock: the script's.
        sent: what is sent is counted here.
        name: what ids begin with.
        unreported: requests of which nobody tells.
        half_way: is called in the middle of it.
    """
    began = clock.now
    order = AskedOrder(hour, client, clock, sent, name, unreported, half_way)
    seen = run(hour.trace, order, ENGINE)
    order.flush(float(seen.finish.max()))
    other = run(hour.trace, FixedKey(hour.trace, hour.trace.arrival), ENGINE)
    return _served(hour, began, seen, other, unreported)


def _served(hour: Hour, began: float, seen: SimulationResult, other: SimulationResult, unreported) -> ServedHour:
    return ServedHour(
        arrival=began + hour.trace.arrival,
        start=began + seen.start,
        first_token=began + seen.first_token,
        end=began + seen.finish,
        other_first_token=began + other.first_token,
        other_end=began + other.finish,
        output=hour.trace.output,
        prompt=hour.trace.prompt,
        reported=np.array([i not in unreported for i in range(len(hour))]),
    )
