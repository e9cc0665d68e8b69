"""From the queue to the model's thread and back: batches, the model's pace, and the work that it was handed.

On the event loop's thread, but for the model itself. One batch runs, one is prepared for when it ends.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from rankd.adaptation import FeatureHasher
from rankd.scoring.batch_queue import BatchQueue, QueuedPrompt, UrgentDemand, spans_of
from rankd.scoring.onnx_model import Ids, OnnxModel, pad
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Scored

WIDTH_MULTIPLE = {"cpu": 1, "cuda": 16}
"""Widths on CUDA are bucketed: onnxruntime's memory arena there grows with every new shape."""

_BATCHES_AHEAD = 2
"""One runs, one is ready for when it ends."""

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


class BatchRunner:
    """Runs one loaded model, batch by batch, as long as its queue holds anything."""

    def __init__(
        self,
        queue: BatchQueue,
        model: OnnxModel,
        thread: ThreadPoolExecutor,
        telemetry: Telemetry,
        take: Callable[[list[QueuedPrompt], list[Scored] | None], None],
        hasher: FeatureHasher | None = None,
    ) -> None:
        """Take a warmed-up model and the one thread that runs it.

        Args:
            queue: what to read.
            model: the model.
            thread: its thread.
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
        self._thread = thread
        self._telemetry = telemetry
        self._take = take
        self._multiple = WIDTH_MULTIPLE[model.provider]
        self._ahead: deque[int] = deque()
        """Padded tokens of the batches handed to the model; the first one runs."""
        self._seconds_per_token = 0.0
        self._batch_began = 0.0

    @property
    def running_for(self) -> float:
        """Seconds since the batch that runs now began; 0 where none runs."""
        return self._loop.time() - self._batch_began if self._ahead else 0.0

    def run_in(self, thread: ThreadPoolExecutor) -> None:
        """Let another thread run the model from the next batch on; the one before ends with what it was handed."""
        before, self._thread = self._thread, thread
        before.shutdown(wait=False)

    def tokens_until(self, deadline: float) -> float:
        """Tokens that the model can read by then, after what it was handed; any number before its pace is known."""
        if self._seconds_per_token <= 0:
            return math.inf
        return (deadline - self._free_at(self._loop.time())) / self._seconds_per_token

    def pump(self) -> None:
        """Hand batches to the model's thread, as many as may be ahead."""
        while len(self._ahead) < _BATCHES_AHEAD:
            now = self._loop.time()
            start = self._free_at(now)
            batch = self._queue.form(start, self._seconds_per_token, start - now if self._ahead else 0.0)
            if not batch:
                return
            for entry in batch:
                self.demand.drop(entry)
            try:
                rows = [e.ids for e in batch if e.ids is not None]
                ids, mask = pad(rows, self._multiple)
                since = min(e.since for e in batch)
                infer = partial(self._infer, rows, ids, mask, spans_of(batch), since)
                future = self._loop.run_in_executor(self._thread, infer)
            except (MemoryError, RuntimeError) as error:  # no memory, no thread to be had, or closed
                self._fail(batch, error)
                continue
            if not self._ahead:
                self._batch_began = now
            self._ahead.append(ids.size)
            future.add_done_callback(lambda f, batch=batch: self._inferred(batch, f))  # type: ignore[misc]

    def _free_at(self, now: float) -> float:
        """When the model will have done what it was handed."""
        if not self._ahead:
            return now
        running, pace = self._ahead[0], self._seconds_per_token
        return max(now, self._batch_began + pace * running) + pace * (sum(self._ahead) - running)

    def _infer(
        self, rows: list[Ids], ids: Ids, mask: Ids, spans: list[object], since: float
    ) -> tuple[list[Scored], float]:
        # Here, and not where the batch is handed over: it may have waited for the one before.
        self._telemetry.queued(self._loop.time() - since, spans)
        with self._telemetry.linked("infer", spans, prompts=len(ids), padded_tokens=ids.size):
            began = time.perf_counter()
            if (hasher := self.hasher) is None:
                found = [Scored(score) for score in self.model.run(ids, mask).tolist()]
            else:
                scores, pooled = self.model.run_with_features(ids, mask)
                found = [Scored(*both) for both in zip(scores.tolist(), hasher.text(rows, pooled), strict=True)]
            return found, time.perf_counter() - began

    def _inferred(self, batch: list[QueuedPrompt], future: asyncio.Future[tuple[list[Scored], float]]) -> None:
        size = self._ahead.popleft()
        seconds = self._loop.time() - self._batch_began
        failed = future.cancelled() or future.exception() is not None
        if failed:
            self._fail(batch, None if future.cancelled() else future.exception())
        else:
            found, ran = future.result()
            self.counts.batches += 1
            self.counts.scored += len(batch)
            self._telemetry.batch_done(len(batch), sum(e.tokens for e in batch), size, ran)
            self._learn_pace(ran / size)
            self._take(batch, found)
        self._batch_began = self._loop.time()
        self.on_batch(not failed, seconds)
        self.pump()

    def _learn_pace(self, seconds_per_token: float) -> None:
        """Follow the model's pace; a single batch, as one during which the machine stood still, says little."""
        known = self._seconds_per_token
        likely = min(seconds_per_token, _PACE_JUMP * known) if known else seconds_per_token
        self._seconds_per_token += (likely - known) * (_PACE_MEMORY if known else 1.0)

    def _fail(self, batch: list[QueuedPrompt], error: BaseException | None) -> None:
        """Give a batch up; without an error it was cancelled, as when the daemon stops."""
        self.counts.failed_batches += 1
        if error is not None:
            self._telemetry.batch_failed(error)
        self._take(batch, None)

    def give_up_after(self, seconds: float) -> None:
        """End the batch that runs now if it has for so long; its prompts fail, as of a model that is broken."""
        if self.running_for > seconds:
            self.model.give_up()

    def close(self) -> None:
        """Let the thread end, and what it runs."""
        self.model.end()
        self._thread.shutdown(wait=False, cancel_futures=True)
