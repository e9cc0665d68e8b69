"""What is measured: something that takes prompts and answers each with a score or a vector."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import grpc
import numpy as np
from numpy.typing import NDArray
from rankd_client.v1 import rank_pb2, rank_pb2_grpc

from benchmarks.peers.child import Child
from rankd.bench.scenarios import rank_request
from rankd.errors import RankdError

Ask = Callable[[Sequence[str]], Awaitable[None]]
"""Sends one request with these prompts, and raises ``RankdError`` unless each was answered properly."""
Vectors = NDArray[np.float32]
ANSWER = 600.0
"""Seconds that one request may take."""


class Peer(ABC):
    """One of those that take turns. ``start`` once, ``stop`` once."""

    settings: str = ""
    """How it was set, for the reader."""
    several: bool = True
    """Whether it takes several requests at once."""
    encoder: bool = True
    """Whether it answers with the vectors of the encoder."""

    def __init__(self, name: str) -> None:
        """Name it; nothing runs yet."""
        self.name = name
        self._children: list[Child] = []

    @abstractmethod
    async def start(self, prompts: Iterable[Sequence[str]]) -> None:
        """Start what is needed and wait until it answers; ``prompts`` are batches of 256 to choose settings with.

        Raises:
            RankdError: it does not come up; with its last words.
        """

    @abstractmethod
    def connect(self, clients: int) -> AsyncIterator[Ask]:
        """Open what so many clients need, for an ``async with``."""

    async def vectors(self, prompts: Sequence[str]) -> Vectors:
        """What it makes of prompts, [b, hidden], each of length 1; of those with ``encoder``."""
        raise NotImplementedError

    @property
    def processor_seconds(self) -> float:
        """Processor time of all its processes so far."""
        return sum(child.processor_seconds for child in self._children)

    def pause(self) -> None:
        """Take it off the cores while another is measured."""
        for child in self._children:
            child.pause()

    def resume(self) -> None:
        """Its turn."""
        for child in self._children:
            child.resume()

    async def stop(self) -> None:
        """End its processes."""
        for child in self._children:
            await child.stop()


class Rankd(Peer):
    """The daemon as ``make run`` starts it, but on free ports; gRPC."""

    encoder = False
    _OPTIONS = (
        ("grpc.max_receive_message_length", -1),
        # What is measured is on this machine, whatever http_proxy says.
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )

    def __init__(self, python: str, ranker: str | None = None) -> None:
        """Serve with this Python, the bundled ranker or that of a folder."""
        super().__init__("rankd")
        self._command = [python, "-m", "rankd", "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
        self._command += ["--metrics", "127.0.0.1:0", *(["--ranker", ranker] if ranker else [])]
        self._target = ""

    async def start(self, prompts: Iterable[Sequence[str]]) -> None:  # noqa: ARG002 - nothing to choose
        """Start the daemon; it says itself where it listens and how many workers it has."""
        child = await Child.start(self._command, {"RANKD_LOG_FORMAT": "json"})
        self._children.append(child)
        began = await child.said("listen")
        self._target = began["listen"]
        workers = began.get("workers", 1)
        self.settings = f"{began['ranker_version']}, {began['provider']}, defaults: {workers} model worker(s)"

    @asynccontextmanager
    async def connect(self, clients: int) -> AsyncIterator[Ask]:  # type: ignore[override]  # noqa: ARG002
        """One channel, as an engine has one."""
        async with grpc.aio.insecure_channel(self._target, options=self._OPTIONS) as channel:
            rank = rank_pb2_grpc.RankServiceStub(channel).Rank

            async def ask(prompts: Sequence[str]) -> None:
                try:
                    answer = await rank(rank_request(prompts), timeout=ANSWER)
                except grpc.aio.AioRpcError as error:
                    raise RankdError(f"{error.code().name}: {error.details()}") from None
                check_scores(answer, len(prompts))

            yield ask


def check_scores(answer: rank_pb2.RankResponse, count: int) -> None:
    """Whether each prompt has a finite score.

    Raises:
        RankdError: it has not.
    """
    found = sum(math.isfinite(item.prediction.score) for item in answer.items if item.HasField("prediction"))
    if answer.unscored_count or found != count:
        raise RankdError(f"{found - answer.unscored_count} scores for {count} prompts")


def check_vectors(vectors: Vectors, count: int, hidden: int) -> None:
    """Whether there is a finite vector for each prompt.

    Raises:
        RankdError: there is not.
    """
    if vectors.shape != (count, hidden):
        raise RankdError(f"vectors of shape {vectors.shape} for {count} prompts")
    if not np.isfinite(vectors).all():
        raise RankdError("a vector that is not finite")
