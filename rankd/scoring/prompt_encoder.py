"""From admitted prompts to token ids, in threads of their own: what is due first is encoded first, in chunks."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from rankd.scoring.batch_queue import QueuedPrompt, spans_of
from rankd.scoring.onnx_model import Ids
from rankd.scoring.tokeniser import PromptLimits
from rankd.telemetry.telemetry import Telemetry

ENCODE_AT_ONCE = 32
"""Prompts encoded in one go: small enough that a long queue does not hold up a short one."""


class PromptEncoder:
    """Feeds the tokeniser's threads. On the event loop's thread, but for the tokeniser itself."""

    def __init__(
        self,
        tokeniser: PromptLimits,
        threads: int,
        telemetry: Telemetry,
        take: Callable[[list[QueuedPrompt], list[Ids]], None],
        fail: Callable[[list[QueuedPrompt]], None],
    ) -> None:
        """Prepare the threads.

        Args:
            tokeniser: encodes.
            threads: how many chunks are encoded at the same time.
            telemetry: counts time and failures.
            take: gets a chunk with its token ids, [tokens] each; it calls ``pump``.
            fail: gets a chunk that cannot be encoded; it does not call ``pump``.
        """
        self._tokeniser = tokeniser
        self._telemetry = telemetry
        self._take = take
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(threads, "rankd-tokenise")
        self._free = threads
        self._waiting: list[tuple[float, int, QueuedPrompt]] = []
        self._sequence = count()

    def add(self, entry: QueuedPrompt, due: float) -> None:
        """Line an entry up by when it is due, on the event loop's clock. One that is here already may come earlier."""
        heapq.heappush(self._waiting, (due, next(self._sequence), entry))

    def pump(self) -> None:
        """Hand chunks to the threads that are free."""
        while self._free and self._waiting:
            chunk = self._next_chunk()
            if not chunk:
                return
            texts = [e.text or "" for e in chunk]
            try:
                future = self._loop.run_in_executor(self._threads, self._encode, texts, spans_of(chunk))
            except RuntimeError as error:  # no thread to be had, or closed
                self._telemetry.batch_failed(error)
                self._fail(chunk)
                continue
            self._free -= 1
            future.add_done_callback(lambda f, chunk=chunk: self._encoded(chunk, f))  # type: ignore[misc]

    def _next_chunk(self) -> list[QueuedPrompt]:
        chunk: list[QueuedPrompt] = []
        while self._waiting and len(chunk) < ENCODE_AT_ONCE:
            entry = heapq.heappop(self._waiting)[2]
            if entry.begin_encoding():
                chunk.append(entry)
        return chunk

    def _encode(self, texts: list[str], spans: list[object]) -> tuple[list[Ids], float]:
        with self._telemetry.linked("tokenise", spans, prompts=len(texts)):
            began = time.perf_counter()
            return self._tokeniser.encode(texts), time.perf_counter() - began

    def _encoded(self, chunk: list[QueuedPrompt], future: asyncio.Future[tuple[list[Ids], float]]) -> None:
        self._free += 1
        if future.cancelled() or future.exception() is not None:
            if not future.cancelled():  # as when the daemon stops
                self._telemetry.batch_failed(future.exception())
            self._fail(chunk)
            self.pump()
        else:
            encoded, seconds = future.result()
            self._telemetry.stage_seconds("tokenise", seconds)
            self._take(chunk, encoded)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
