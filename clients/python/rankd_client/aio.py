"""The asyncio client: the surface of :class:`rankd_client.RankClient`, awaited."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Self

import grpc

from rankd_client._channels import opened
from rankd_client._core import NOBODY, ClientQueue, count, seconds
from rankd_client._failures import NO_ANSWER, explain, readable
from rankd_client._quality import report_of
from rankd_client._reports import report_result, reports
from rankd_client._stream_core import StreamCore
from rankd_client._token import Token
from rankd_client._trace import client_span
from rankd_client.client import DEFAULT_TARGET, DEFAULT_TIMEOUT
from rankd_client.ordering import Policy
from rankd_client.stream import AsyncRankStream
from rankd_client.types import (
    ClientStats,
    Completed,
    Item,
    QualityReport,
    RankdUnavailableError,
    RankedQueue,
    ReportResult,
    TlsConfig,
)
from rankd_client.v1 import completion_pb2_grpc, quality_pb2, quality_pb2_grpc, rank_pb2_grpc


class AsyncRankClient:
    """Asks a rank daemon for orders; belongs to the event loop it is first used on. Arguments as for ``RankClient``."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        model: str = "",
        timeout: float = DEFAULT_TIMEOUT,
        policy: Policy | None = None,
        tls: TlsConfig | None = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        plaintext_token: bool = False,
        balance: bool = False,
    ) -> None:
        """Open a channel; nothing is sent before the first call.

        Raises:
            ValueError: the token cannot be read, or would go over a network in the clear.
        """
        self._token = Token(token, token_file, target=target, tls=tls, plaintext=plaintext_token)
        self.stats = ClientStats()
        self._model, self._timeout, self._policy = model, seconds(timeout), policy
        asking, self._channel = opened(grpc.aio, target, tls, balance=balance)
        self._channels = {asking, self._channel}
        self._rank = rank_pb2_grpc.RankServiceStub(asking).Rank
        # A queue that is told in changes, and all reports of a request, belong to one replica.
        self._stream = rank_pb2_grpc.RankServiceStub(self._channel).RankStream
        self._report = completion_pb2_grpc.CompletionServiceStub(self._channel).ReportCompletions
        self._quality = quality_pb2_grpc.QualityServiceStub(self._channel)

    async def rank(
        self,
        items: Iterable[str | Item],
        *,
        timeout: float | None = None,
        served: Mapping[str, float] = NOBODY,
        weights: Mapping[str, float] = NOBODY,
        backlog: int = 0,
    ) -> RankedQueue:
        """Order a queue; fails open as :meth:`rankd_client.RankClient.rank` does.

        Raises:
            ValueError: two items have the same id, a field is impossible or the timeout is NaN; nothing was sent.
            TypeError: an item is none, or one of its fields is of another type.
        """
        end = time.monotonic() + (self._timeout if timeout is None else seconds(timeout))
        queue = ClientQueue(items, served=served, weights=weights, backlog=backlog)
        try:
            requests = queue.requests(self._model, self._policy)
            with client_span("rankd.v1.RankService/Rank", self._token) as metadata:
                left = queue.wait(end - time.monotonic())
                calls = [self._rank(r, timeout=left, metadata=metadata) for r in requests]
                try:
                    return count(self.stats, queue.answer([readable(a) for a in await asyncio.gather(*calls)]))
                finally:
                    for call in calls:
                        call.cancel()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, it must not cost a request
            raise_if_cancelled(error)
            reason, text = explain(error)
            return count(self.stats, queue.fallback(reason), text)

    def stream(self) -> AsyncRankStream:
        """One queue that is ordered again and again, told in changes; for an engine that orders at every iteration."""
        core = StreamCore(self.stats, self._model, self._policy)
        return AsyncRankStream(self._stream, core, self._timeout, self._token)

    async def report(self, completions: Iterable[Completed], *, timeout: float = 1.0) -> ReportResult:
        """Report what requests produced. Never raises for the daemon's sake; see ``error`` of the result.

        Raises:
            ValueError: a finish reason or a count that there is none of, or the timeout is NaN; nothing was sent.
        """
        requests, skipped = reports(self._model, completions)
        end = time.monotonic() + seconds(timeout)
        parts: list[tuple[list[int], Any]] = []
        try:
            with client_span("rankd.v1.CompletionService/ReportCompletions", self._token) as metadata:
                for indices, request in requests:
                    left = max(0.001, end - time.monotonic())
                    answer = await self._report(request, timeout=left, metadata=metadata)
                    parts.append((indices, readable(answer)))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a lost report must cost nothing
            raise_if_cancelled(error)
            return report_result(parts, skipped, ": ".join(explain(error)))
        return report_result(parts, skipped, "")

    async def quality(self, *, timeout: float = 5.0) -> QualityReport:
        """Read live quality, the guard and the policies in force.

        Raises:
            RankdUnavailableError: the daemon did not answer.
            ValueError: the timeout is NaN.
        """
        wait = seconds(timeout)
        try:
            with client_span("rankd.v1.QualityService/GetQuality", self._token) as metadata:
                request = quality_pb2.GetQualityRequest()
                answer = await self._quality.GetQuality(request, timeout=wait, metadata=metadata)
                return report_of(readable(answer))
        except (*NO_ANSWER, asyncio.CancelledError) as error:
            raise_if_cancelled(error)
            raise RankdUnavailableError(": ".join(explain(error))) from None

    async def watch_quality(self, interval: float = 1.0, *, model: str | None = None) -> AsyncIterator[QualityReport]:
        """Follow :meth:`quality`: now, every ``interval`` seconds, and whenever a guard changes.

        With a ``model`` of that one alone, also while nothing was reported of it: its policy is what orders it.

        Raises:
            RankdUnavailableError: the daemon went away.
            ValueError: the interval is NaN.
        """
        request = quality_pb2.WatchQualityRequest(model=model)
        request.interval.FromNanoseconds(round(seconds(interval, "interval") * 1e9))
        call = None
        try:
            call = self._quality.WatchQuality(request, metadata=self._token.metadata())
            async for answer in call:
                yield report_of(readable(answer))
        except (*NO_ANSWER, asyncio.CancelledError) as error:
            raise_if_cancelled(error)
            raise RankdUnavailableError(": ".join(explain(error))) from None
        finally:
            if call is not None:
                call.cancel()

    async def close(self) -> None:
        """Close the channel."""
        for channel in self._channels:
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def raise_if_cancelled(error: BaseException) -> None:
    """Raise a cancellation of the running task on; a closed channel ends its calls by an error of the same type."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling()):
        raise error
