"""One queue over one stream, as deltas, for an engine that orders at every iteration. It fails open, as calls do.

The stream keeps the queue on this side too: whatever happens, it has an order, and a new daemon can be told everything.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Self

from rankd_client._async_io import AsyncConnections, AsyncDuplex, AsyncTurns
from rankd_client._stream_core import StreamCore
from rankd_client._token import Token
from rankd_client._types import Item, Progress
from rankd_client._validation import seconds
from rankd_client.ordering.fair_shares import NO_TENANTS
from rankd_client.v1.prediction_pb2 import Prediction


class AsyncRankStream:
    """One queue over one stream; made by a client's ``stream()``. Steps go one after the other, whoever takes them."""

    def __init__(self, connections: AsyncConnections, core: StreamCore, timeout: float, token: Token) -> None:
        """Nothing is opened before the first step."""
        self._connections, self._core, self._timeout, self._token = connections, core, timeout, token
        self._turns = AsyncTurns()
        self._duplex: AsyncDuplex | None = None
        self._last: AsyncDuplex | None = None

    @property
    def reason(self) -> str:
        """Why the last order is not ranked; empty where it is. As in :class:`rankd_client.RankedQueue`."""
        return self._core.reason

    def prediction(self, request_id: str) -> Prediction | None:
        """The prediction of a request that has not gone, for its report; None where there is none."""
        return self._core.prediction(request_id)

    async def step(
        self,
        arrived: Iterable[Item] = (),
        progressed: Mapping[str, int | Progress] | None = None,
        gone: Iterable[str] = (),
        max_wait: float = 0.0,
        timeout: float | None = None,
        served: Mapping[str, float] = NO_TENANTS,
        weights: Mapping[str, float] = NO_TENANTS,
    ) -> list[str]:
        """Change the queue and order it. Never raises for the daemon's sake: else the order is that of arrival.

        Args:
            arrived: requests that joined; an id that is in the queue already is replaced.
            progressed: tokens produced so far, by id, or a ``Progress``, which also says whether it runs.
            gone: ids that left. Unknown ids are ignored.
            max_wait: seconds that the daemon may wait for scores of what arrived.
            timeout: seconds to wait for the answer; default: the client's, and ``max_wait``.
            served: what tenants were served so far, in output tokens; replaces what was said before of those named.
            weights: of tenants; default 1.

        Returns:
            The ids of the whole queue, the first to serve first.

        Raises:
            ValueError: a field is impossible, or a time is NaN; nothing was changed.
            TypeError: an item is none, or one of its fields is of another type; nothing was changed.
        """
        async with self._turns.turn():
            wait = seconds(max_wait, "max_wait")
            end = time.monotonic() + (self._timeout + wait if timeout is None else seconds(timeout))
            delta = self._core.change(arrived, progressed or {}, gone, served, weights)
            duplex = self._usable()
            opening = duplex is None
            if opening and not self._core.may_open():
                return self._core.local()
            try:
                messages = self._core.messages(delta, wait, opening=opening)
                duplex = self._open() if duplex is None else duplex
                for message in messages:
                    duplex.send(message)
                while (order := self._core.take(await duplex.next(end))) is None:
                    pass
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not cost a request
                order, give_up = self._core.failed(error)
                if give_up:
                    self._drop()
            return order

    def _usable(self) -> AsyncDuplex | None:
        """The stream that is open, where steps may go on over it."""
        if self._duplex is not None:
            # An old token is on its way out, and the stream would be ended with it.
            if self._duplex.is_here() and self._token.metadata() == self._duplex.metadata:
                return self._duplex
            self._drop()
        return None

    def _open(self) -> AsyncDuplex:
        self._duplex = self._last = AsyncDuplex(self._connections.here().stream, self._token.metadata())
        return self._duplex

    def _drop(self) -> None:
        if self._duplex is not None:
            self._duplex.cancel()
            self._duplex = None

    async def close(self) -> None:
        """End the stream. A later step opens a new one."""
        async with self._turns.turn():
            self._drop()
            if self._last is not None:
                await self._last.ended()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
