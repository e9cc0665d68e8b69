"""Reports of completions, by a thread of its own: whoever hands them over never waits."""

from __future__ import annotations

import atexit
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rankd_client import Completed, Finish, RankClient, ReportResult
from rankd_client._backoff import Backoff
from rankd_client._forks import follow_forks
from rankd_client._placed import Placed
from rankd_client.integration.in_time import TOO_LATE
from rankd_client.integration.prediction_store import PredictionStore
from rankd_client.integration.settings import IntegrationSettings, logger
from rankd_client.integration.tally import MemoryTally, Tally

_CAPACITY, _BATCH = 16_384, 1024
_INTERVAL = 0.2
"""Seconds between reports."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.4, 5.0
"""Seconds between tries while the daemon is gone."""
_LATE_IDS = 5.0
"""Seconds for which a completion waits for its prediction: an id that comes with the answer comes after it."""


_KINDS = {"ranked": "ranked", "unavailable": "unreachable", "circuit_open": "unreachable"} | dict.fromkeys(
    TOO_LATE, "too_late"
)
"""Of outcomes of a question, how a request was placed."""


@dataclass(frozen=True, slots=True)
class FinishedRequest:
    """A completion as the engine reports it. Times in seconds, None where not known."""

    engine_id: str
    output_tokens: int
    finish_reason: Finish
    max_tokens: int | None
    queue_seconds: float | None
    total_seconds: float | None
    prompt_tokens: int = 0
    """All of the prompt; 0: not known."""
    cached_prompt_tokens: int = 0
    """What of it the engine did not read."""


class ReportSender(Protocol):
    """What reports: a client of the daemon."""

    def report(self, completions: Sequence[Completed], *, timeout: float, placed: Placed | None = None) -> ReportResult:
        """Report what requests produced, and how they were placed."""


class Reporter:
    """Takes completions at any time from any thread, drops them rather than wait, and reports what was ranked."""

    def __init__(
        self,
        predictions: PredictionStore,
        connect: Callable[[], ReportSender],
        tally: Tally | None = None,
        capacity: int = _CAPACITY,
    ) -> None:
        """Nothing runs before the first completion. ``tally`` counts what became of reports."""
        self._predictions, self._connect, self._capacity = predictions, connect, capacity
        self._tally: Tally = MemoryTally() if tally is None else tally
        self._inbox: queue.SimpleQueue[FinishedRequest | Completed | None] = queue.SimpleQueue()
        self._unmatched: deque[tuple[float, FinishedRequest]] = deque(maxlen=4096)
        self._ready: deque[Completed] = deque()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closing = False
        self._placed = Placed()
        """Since the last report."""
        follow_forks(self)

    def forked(self) -> None:
        """The parent reports what it was given, and has the thread; what comes from here on is this process's."""
        self._inbox = queue.SimpleQueue()
        self._unmatched.clear()
        self._ready.clear()
        self._thread = None
        self._lock = threading.Lock()
        self._placed = Placed()

    def placed(self, outcome: str) -> None:
        """Count a request that goes to the engine, by the outcome of ``order_of``; never waits."""
        kind = _KINDS.get(outcome, "unreachable" if outcome.startswith("error:") else "other")
        with self._lock:
            self._placed += Placed(**{kind: 1})
        if self._thread is None:
            self._start()

    def put(self, finished: FinishedRequest | Completed) -> None:
        """Hand a completion over; never waits, never raises."""
        if self._inbox.qsize() >= self._capacity:
            self._tally.inc("dropped_full")
            return
        self._inbox.put(finished)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="rankd-reports", daemon=True)
                self._thread.start()
                atexit.register(self.close)

    def close(self, timeout: float = 1.0) -> None:
        """Report what is there, within some seconds, and stop."""
        self._closing = True
        self._inbox.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        sender: ReportSender | None = None
        pause, backoff = _INTERVAL, Backoff(_FIRST_PAUSE, _LONGEST_PAUSE)
        while True:
            closing = self._collect(pause)
            try:
                sender = sender or self._connect()
                if self._send(sender):
                    backoff.reset()
                    pause = _INTERVAL
                else:
                    pause = backoff.pause()
            except Exception as error:  # noqa: BLE001 - a lost report costs nothing, a lost thread all of them
                logger.warning("rankd: completions could not be reported (%s)", type(error).__name__)
                self._tally.inc("dropped_error", len(self._ready))
                self._ready.clear()
            if closing:
                return

    def _collect(self, wait: float) -> bool:
        """Take what comes within some seconds, matched with its predictions; whether to stop."""
        end = time.monotonic() + wait
        while (left := end - time.monotonic()) > 0:
            try:
                finished = self._inbox.get(timeout=left)
            except queue.Empty:
                break
            if finished is None:
                return True
            self._match(finished)
        now = time.monotonic()
        waiting, self._unmatched = self._unmatched, deque(maxlen=self._unmatched.maxlen)
        for since, late in waiting:
            if now - since < _LATE_IDS:
                self._match(late, since)
        return False

    def _match(self, finished: FinishedRequest | Completed, since: float | None = None) -> None:
        if isinstance(finished, Completed):
            self._ready.append(finished)
        elif (stored := self._predictions.take(finished.engine_id)) is not None:
            cut = finished.finish_reason == "length"
            whole = cut and stored.ignore_eos and finished.output_tokens >= (finished.max_tokens or 0) > 0
            self._ready.append(
                Completed(
                    stored.ranked_id,
                    stored.prediction,
                    finished.output_tokens,
                    finish_reason=finished.finish_reason,
                    length_is_complete=whole,
                    arrival=stored.arrival,
                    queue_seconds=finished.queue_seconds,
                    total_seconds=finished.total_seconds,
                    prompt_tokens=finished.prompt_tokens,
                    cached_prompt_tokens=finished.cached_prompt_tokens,
                )
            )
            self._predictions.learn(
                stored, finished.prompt_tokens, finished.cached_prompt_tokens, finished.queue_seconds
            )
        elif finished.engine_id.startswith("resp_"):
            self._unmatched.append((time.monotonic() if since is None else since, finished))
        while len(self._ready) > self._capacity:
            self._ready.popleft()
            self._tally.inc("dropped_full")

    def _send(self, sender: ReportSender) -> bool:
        """Report what is ready; False where the daemon does not answer, and it stays ready."""
        while self._ready or self._placed.total:
            batch = [self._ready.popleft() for _ in range(min(_BATCH, len(self._ready)))]
            with self._lock:
                placed, self._placed = self._placed, Placed()
            told = {"placed": placed} if placed.total else {}
            result = sender.report(batch, timeout=1.0, **told)
            if result.error:
                with self._lock:
                    self._placed += placed
                # The daemon takes no final report twice, so that what did arrive does no harm. Progress is old by then,
                # and there is so much of it that it would push completions out.
                kept = [done for done in (*batch, *self._ready) if done.finish_reason != "in_progress"]
                self._ready = deque(kept)
                return False
            self._tally.inc("accepted", result.accepted)
            self._tally.inc("duplicate", result.duplicate)
            self._tally.inc("rejected", len(result.rejected))
        return True


def connect(settings: IntegrationSettings) -> RankClient:
    """Make a client as the settings say."""
    return RankClient(**settings.connection)
