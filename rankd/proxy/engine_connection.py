"""Connections to the engine that are used again only while both sides are in step: no byte waits that nobody asked for.

HTTP/1.1 does not say which answer is for which request but by their order. One answer too many, or one byte, and each
client gets the answer of the one before it. So a connection is used again only if, since its answer ended, nothing
came at all. It rests for a moment first, in which what an engine sends too much has time to come.

What comes after the next request has been sent cannot be told from that request's answer: no client of HTTP/1.1 can.
"""

from __future__ import annotations

import functools
import select
from asyncio import AbstractEventLoop, TimerHandle
from time import monotonic
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey

_HEAD_END = b"\r\n\r\n"
_FINAL = 200
"""Statuses below are of answers before the answer."""


class EngineConnection(ResponseHandler):
    """One connection. Between two requests it rests, and whatever comes then ends it."""

    def __init__(self, loop: AbstractEventLoop, patience: float) -> None:
        """Not connected yet. ``patience``: seconds for the engine to take what waits for it."""
        super().__init__(loop)
        self._patience = patience
        self._stall: TimerHandle | None = None
        self._resting = self._awaits_head = self._feeding = False
        self._probe: select.poll | None = None

    def set_response_params(self, **options: Any) -> None:
        """A request is about to be sent: from now on an answer may come."""
        early = bool(self._tail)
        self._resting, self._awaits_head = False, True
        super().set_response_params(**options)
        if early:  # it spoke before it was asked
            self.force_close()

    def pause_writing(self) -> None:
        """The engine does not take what there is."""
        super().pause_writing()
        self._stall = self._loop.call_later(self._patience, self._give_up)

    def resume_writing(self) -> None:
        """It took it."""
        super().resume_writing()
        self._stalls_no_more()

    def connection_lost(self, exc: BaseException | None) -> None:
        """It ended; see the base class."""
        self._stalls_no_more()
        super().connection_lost(exc)

    def _stalls_no_more(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _give_up(self) -> None:
        self.set_exception(aiohttp.SocketTimeoutError("the engine does not take the request"))
        if self.transport is not None:
            self.transport.abort()

    def rest(self) -> None:
        """The answer has ended, and nothing may come until the next request."""
        self._resting = True
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.force_close()  # it answered before it had the whole request
        elif not self._feeding and self._has_surplus():
            self._out_of_step()

    def data_received(self, data: bytes) -> None:
        """Take what came; see the base class."""
        if self._resting:
            if data:  # none of it comes when what was read before is taken out of its buffer
                self._out_of_step()
            return
        self._feeding = True
        try:
            rest = self._after_heads(data) if self._awaits_head else data
            if rest is not None:
                super().data_received(rest)
        finally:
            self._feeding = False
        if self._resting and self._has_surplus():  # the answer ended in these bytes, and was not all of them
            self._out_of_step()

    def _after_heads(self, data: bytes) -> bytes | None:
        """Take heads by themselves: what is wrong with bytes behind an answer must not cost the answer.

        Returns:
            What is behind them; None where nothing is.
        """
        while (end := data.find(_HEAD_END) + len(_HEAD_END)) >= len(_HEAD_END):
            super().data_received(data[:end])
            data = data[end:]
            interim = bool(self._buffer) and self._buffer[-1][0][0].code < _FINAL
            self._awaits_head = interim
            if not data or self.transport is None or self.transport.is_closing():
                return None
            if not interim:
                break
        return data

    def _has_surplus(self) -> bool:
        """Whether more came than one answer. The parser knows of a head that has begun: asked for its end, it tells."""
        if self._buffer or self._tail:
            return True
        parser = self._parser
        self._parser = None  # the next request has one of its own
        try:
            return parser is not None and parser.feed_eof() is not None
        except Exception:  # noqa: BLE001 - a head that is none
            return True

    def _out_of_step(self) -> None:
        self.force_close()
        if self.transport is not None:
            self.transport.abort()

    def is_in_step(self) -> bool:
        """Whether the next request may go over it: nothing came since, neither to us nor into the socket."""
        transport = self.transport
        if self._should_close or transport is None or transport.is_closing():  # all else the pool saw at its release
            return False
        if self._probe is None:
            self._probe = select.poll()
            self._probe.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not self._probe.poll(0)


class EngineConnector(aiohttp.TCPConnector):
    """The pool of them. It stands on inner parts of aiohttp's; where those are not there, nothing is used again."""

    def __init__(self, most: int, *, idle: float, rest: float, patience: float, **options: Any) -> None:
        """The pool is empty. Times are in seconds.

        Args:
            most: connections, over which none rests.
            idle: that an unused one is kept, 0 for none.
            rest: before one is used again.
            patience: for the engine to take what waits for it.
            options: aiohttp's.
        """
        if idle > 0 and all(hasattr(aiohttp.TCPConnector, name) for name in ("_get", "_release")):
            super().__init__(limit=0, keepalive_timeout=idle, **options)
        else:
            super().__init__(limit=0, force_close=True, **options)
        self._most, self._rest, self._idle = most, rest, 0.99 * idle
        self._factory = functools.partial(EngineConnection, loop=self._loop, patience=patience)  # type: ignore[assignment]

    async def _get(self, key: ConnectionKey, traces: Any) -> Connection | None:
        """The one that has rested longest, if it has rested enough and is in step; else None, and a new one is made."""
        resting = self._conns.get(key)
        while resting:
            protocol, since = resting[0]
            rested = monotonic() - since
            if rested < self._rest:
                return None  # nor have those behind it
            if rested < self._idle and isinstance(protocol, EngineConnection) and protocol.is_in_step():
                break
            resting.popleft()  # here: the base class would go on to the next, however little that has rested
            protocol.close()
        return await super()._get(key, traces)

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        if not should_close and isinstance(protocol, EngineConnection):
            protocol.rest()
            should_close = len(self._acquired) + len(self._conns[key]) > self._most
        super()._release(key, protocol, should_close=should_close)
