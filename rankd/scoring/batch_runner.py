"""From the queue to the model's workers and back: batches, the model's pace, and the work that it was handed.

On the event loop's thread, but for the model itself. Every worker runs one batch. As many are lined up, in one line:
whichever worker ends first takes the next, so that a batch that hangs keeps no other one waiting.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from rankd.adaptation import FeatureHasher
from rankd.scoring.batch_queue import BatchQueue, QueuedPrompt, UrgentDemand, spans_of
from rankd.scoring.batch_sizes import WIDTH_MULTIPLE
from rankd.scoring.onnx_model import Ids, OnnxModel, pad
from rankd.scoring.workers import ModelWorkers
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Scored

_BATCHES_AHEAD = 2
"""For each worker: one that runs, one for when it ends."""
_HANGS = 1.0
"""Seconds after which a worker whose batch should have ended long ago is counted on no more."""
_OVERDUE = 4.0
"""How many times longer than expected it has run by then, at least."""

_PACE_MEMORY = 0.1
"""Weight of the latest batch in the moving average of the model's pace."""
_PACE_JUMP = 3.0
"""How many times slower than the average a batch may count as."""


@dataclass(slots=True)
class BatchCounts:
    """What happened since the start."""

    scored: int = 0
    batches: int = 0
    failed_batches: int = 0


@dataclass(slots=True, eq=False)
class _Batch:
    """One batch, from when it is handed over until the event loop has what became of it."""

    entries: list[QueuedPrompt]
    rows: list[Ids]
    ids: Ids
    mask: Ids
    since: float
    """When its oldest prompt was admitted, on the event loop's clock, seconds."""
    spans: list[object]
    workers: ModelWorkers
    began: float = 0.0
    """When a worker took it, on the same clock; 0 while it is lined up."""
    thread: int = 0
    """The worker's that reads it, by ``threading.get_ident()``; 0 before and after."""


class BatchRunner:
    """Runs one loaded model, batch by batch, as long as its queue holds anything."""

    def __init__(
        self,
        queue: BatchQueue,
        model: OnnxModel,
        workers: ModelWorkers,
        telemetry: Telemetry,
        take: Callable[[list[QueuedPrompt], list[Scored] | None], None],
        hasher: FeatureHasher | None = None,
    ) -> None:
        """Take a warmed-up model and the threads that run it.

        Args:
            queue: what to read.
            model: the model.
            workers: its threads.
            telemetry: what counts it.
            take: gets a batch and what was found, [prompts], or None.
            hasher: makes the text's part of features; None makes none.
        """
        self.model = model
        self.hasher = hasher
        self.counts = BatchCounts()
        self.on_batch: Callable[[bool, float], None] = lambda _ok, _seconds: None
        """Called after every batch: whether it succeeded, and how long the model ran, seconds."""
        self._loop = asyncio.get_running_loop()
        self.demand = UrgentDemand()
        self._queue = queue
        self._workers = workers
        self._telemetry = telemetry
        self._take = take
        self._multiple = WIDTH_MULTIPLE[model.provider]
        self._batches: dict[_Batch, None] = {}
        """Those that the workers were handed, in this order."""
        self._seconds_per_token = 0.0
        """Of one worker, while the others run as they do."""

    @property
    def workers(self) -> int:
        """Batches that are read at the same time."""
        return self._workers.count

    @property
    def stalled_for(self) -> float:
        """Seconds for which every worker has been busy with the batch that it runs; 0 while one is free."""
        began = [b.began for b in self._batches if b.began and b.workers is self._workers]
        return self._loop.time() - max(began) if len(began) >= self._workers.count else 0.0

    def run_in(self, workers: ModelWorkers) -> None:
        """Let other threads run the model from the next batch on; those before end with what they were handed."""
        before, self._workers = self._workers, workers
        before.shutdown(wait=False)

    def tokens_until(self, deadline: float) -> tuple[float, float]:
        """What the workers can read by then, after what they were handed; any number before the pace is known.

        Returns:
            Tokens of all workers together, and of the one that can read most: no prompt may be longer.
        """
        pace = self._seconds_per_token
        if pace <= 0:
            return math.inf, math.inf
        free = self._free_at(self._loop.time())
        return sum(deadline - at for at in free if at < deadline) / pace, (deadline - free[0]) / pace

    def pump(self) -> None:
        """Hand batches to the workers, as many as may be ahead."""
        while True:
            handed = sum(b.workers is self._workers for b in self._batches)
            if handed >= _BATCHES_AHEAD * self._workers.count:
                return
            now = self._loop.time()
            free = self._free_at(now)
            if math.isinf(free[0]):
                return  # all of them hang
            sharing = max(self._workers.count - handed, 0) or self._workers.count  # those that are idle, or else all
            entries = self._queue.form(free[0], self._seconds_per_token, free[0] - now, sharing)
            if not entries:
                return
            self._hand_over(entries)

    def _hand_over(self, entries: list[QueuedPrompt]) -> None:
        for entry in entries:
            self.demand.drop(entry)
        try:
            rows = [e.ids for e in entries if e.ids is not None]
            since = min(e.since for e in entries)
            batch = _Batch(entries, rows, *pad(rows, self._multiple), since, spans_of(entries), self._workers)
            future = self._loop.run_in_executor(self._workers, self._infer, batch)
        except (MemoryError, RuntimeError) as error:  # no memory, no thread to be had, or closed
            self._fail(entries, error)
            return
        self._batches[batch] = None
        future.add_done_callback(lambda f: self._inferred(batch, f))

    def _free_at(self, now: float) -> list[float]:
        """When each worker will have done what they were handed, the earliest first; never for one that hangs."""
        pace, free, lined_up = self._seconds_per_token, [], []
        for batch in self._batches:
            if batch.workers is not self._workers:
                continue
            if not batch.began:
                lined_up.append(batch)
                continue
            ran, expected = now - batch.began, pace * batch.ids.size
            hangs = ran > max(_HANGS, _OVERDUE * expected)
            free.append(math.inf if hangs else max(now, batch.began + expected))
        free += [now] * (self._workers.count - len(free))
        heapq.heapify(free)
        for batch in lined_up:
            heapq.heapreplace(free, free[0] + pace * batch.ids.size)
        return free

    def _infer(self, batch: _Batch) -> tuple[list[Scored], float]:
        # Here, and not where the batch is handed over: it may have waited for the ones before.
        batch.began = self._loop.time()
        batch.thread = threading.get_ident()  # last: who finds it looks at when it began
        try:
            found = self._scores_of(batch)
        finally:
            batch.thread = 0  # which may read the next one before the event loop knows of this one's end
        return found, self._loop.time() - batch.began

    def _scores_of(self, batch: _Batch) -> list[Scored]:
        ids, mask = batch.ids, batch.mask
        self._telemetry.queued(batch.began - batch.since, batch.spans)
        with self._telemetry.linked("infer", batch.spans, prompts=len(ids), padded_tokens=ids.size):
            if (hasher := self.hasher) is None:
                return [Scored(score) for score in self.model.run(ids, mask).tolist()]
            scores, pooled = self.model.run_with_features(ids, mask)
            return [Scored(*both) for both in zip(scores.tolist(), hasher.text(batch.rows, pooled), strict=True)]

    def _inferred(self, batch: _Batch, future: asyncio.Future[tuple[list[Scored], float]]) -> None:
        del self._batches[batch]
        seconds = self._loop.time() - batch.began if batch.began else 0.0
        failed = future.cancelled() or future.exception() is not None
        if failed:
            self._fail(batch.entries, None if future.cancelled() else future.exception())
        else:
            found, ran = future.result()
            self.counts.batches += 1
            self.counts.scored += len(batch.entries)
            size = batch.ids.size
            self._telemetry.batch_done(len(batch.entries), sum(map(len, batch.rows)), size, ran)
            self._learn_pace(ran / size)
            self._take(batch.entries, found)
        self.on_batch(not failed, seconds)
        self.pump()

    def _learn_pace(self, seconds_per_token: float) -> None:
        """Follow the model's pace; a single batch, as one during which the machine stood still, says little."""
        known = self._seconds_per_token
        likely = min(seconds_per_token, _PACE_JUMP * known) if known else seconds_per_token
        self._seconds_per_token += (likely - known) * (_PACE_MEMORY if known else 1.0)

    def _fail(self, entries: list[QueuedPrompt], error: BaseException | None) -> None:
        """Give a batch up; without an error it was cancelled, as when the daemon stops."""
        self.counts.failed_batches += 1
        if error is not None:
            self._telemetry.batch_failed(error)
        self._take(entries, None)

    def give_up_after(self, seconds: float) -> None:
        """End every batch that has run for so long; its prompts fail, as of a model that is broken. Others go on."""
        now = self._loop.time()
        for batch in self._batches:
            if (thread := batch.thread) and now - batch.began > seconds:
                self.model.give_up(thread)

    def close(self) -> None:
        """Let the threads end, and what they run."""
        self.model.end()
        self._workers.shutdown(wait=False, cancel_futures=True)
