"""Connections of clients: how long each may be silent or slow, how much its head may be, and which go to make place.

A connection without a request under way never keeps another one out: the oldest of them goes. Nothing here ends an
answer that its client takes, however long it lasts.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rankd.proxy.headers import tokens
from rankd.proxy.refusal import RefusalError

_GONE = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR
_TICK = 1.0
"""Seconds between two looks at all connections."""
_LINGER = 1.0
"""Seconds for which a client that was refused may go on sending."""
_LONG_HEAD = "rankd proxy: the request's head is too long"
EXTENSION = "rankd.connection"
"""Of a request's scope: the connection that it came over."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Of one listener. Times in seconds; ``rate`` in bytes of a body a second."""

    places: int
    """Requests under way; a few connections more are taken, to tell them so."""
    head_bytes: int
    head: float
    body: float
    rate: float
    answer: float
    """For a client to take what waits for it."""
    always_yields: bool = False
    """Whether even connections with requests under way go to make place: none of them takes long."""

    @property
    def most(self) -> int:
        """Connections at a time."""
        return self.places + max(4, self.places // 16)


class ClientConnections:
    """All of one listener."""

    def __init__(self, limits: ConnectionLimits) -> None:
        """None yet."""
        self.limits = limits
        self.fresh: dict[ClientConnection, None] = {}
        """Without a request so far; the oldest first, as in the others."""
        self.idle: dict[ClientConnection, None] = {}
        """Between two requests."""
        self.busy: dict[ClientConnection, None] = {}

    def __call__(self, **options: Any) -> ClientConnection:
        """One more, as uvicorn makes them."""
        return ClientConnection(self, **options)

    def __len__(self) -> int:
        """All of them."""
        return len(self.fresh) + len(self.idle) + len(self.busy)

    def make_place(self) -> None:
        """One more came: the one that has waited longest for a request goes, where there are too many."""
        if len(self) > self.limits.most:
            groups = (self.fresh, self.idle, self.busy) if self.limits.always_yields else (self.fresh, self.idle)
            min((next(iter(group)) for group in groups if group), key=_since).cut()

    def move(self, connection: ClientConnection, group: dict[ClientConnection, None]) -> None:
        """It is of another group now, and the youngest there."""
        connection.group.pop(connection, None)
        connection.since = connection.loop.time()
        connection.group = group
        group[connection] = None

    def forget(self, connection: ClientConnection) -> None:
        """It is gone."""
        connection.group.pop(connection, None)

    async def watch(self) -> None:
        """End those that are too slow, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_TICK)
            now = loop.time()
            for connection in [*self.fresh, *self.idle, *self.busy]:
                connection.look(now)


class _Written(list[bytes]):
    """In a transport's place, for what is to be written at once."""

    write = list.append


def _since(connection: ClientConnection) -> float:
    return connection.since


class ClientConnection(HttpToolsProtocol):
    """uvicorn's, which has no limits of its own but one for idle connections."""

    def __init__(self, all_of_them: ClientConnections, **options: Any) -> None:
        """``options`` are uvicorn's."""
        super().__init__(**options)
        self._all, self._limits = all_of_them, all_of_them.limits
        self.group: dict[ClientConnection, None] = all_of_them.fresh
        self.since = 0.0
        """When it came to that."""
        self._head_from: float | None = None
        """When what is to become a request's head began; None within a request, and where nothing came since."""
        self._head_bytes = self._last_bytes = 0
        self._in_body = self._ended_one = self._lost = self._deaf = False
        self._body_bytes, self._body_waited = 0, 0.0
        self._full_from: float | None = None
        """Since when the client does not take what waits for it."""
        self._without_upgrade: bytes | None = None
        """A head to read again, as if it offered no other protocol."""
        self._when_lost: Callable[[], None] | None = None
        self._extensions: dict[str, dict[object, object]] = {EXTENSION: {"connection": self}}

    # -- what comes ----------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place."""
        super().connection_made(transport)
        self._head_from = self.loop.time()
        self._all.move(self, self._all.fresh)
        self._all.make_place()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give it back, and say so."""
        self._all.forget(self)
        super().connection_lost(exc)
        self._lost = True
        if (when_lost := self._when_lost) is not None:
            self._when_lost = None
            when_lost()

    def tell_loss(self, callback: Callable[[], None] | None) -> None:
        """Call this once, as soon as the client hangs up; None: no more. A body that is unread does not hide it."""
        self._when_lost = callback
        if self._lost and callback is not None:
            self._when_lost = None
            self.loop.call_soon(callback)

    def data_received(self, data: bytes) -> None:
        """Parse, and count."""
        if self._deaf:
            return
        size = self._last_bytes = len(data)
        self._ended_one = False
        if self._in_body:
            self._body_bytes += size
        self._parse(data)
        if self._in_body or self._ended_one:
            return
        if self._head_from is None:
            self._head_from = self.loop.time()
        self._head_bytes += size
        if self._head_bytes > self._limits.head_bytes:
            self._refuse(RefusalError(431, "refused", _LONG_HEAD))

    def _parse(self, data: bytes) -> None:
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        except httptools.HttpParserUpgrade as upgrade:
            if (head := self._without_upgrade) is not None:
                self._without_upgrade = None
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
                self._parse(head + data[upgrade.args[0] :])

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._head_from = self.loop.time()
        self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        """A request is under way; one whose head is too long is answered, and is none."""
        if (
            self._head_bytes + self._last_bytes > self._limits.head_bytes
            and self._head_size() > self._limits.head_bytes
        ):
            self._refuse(RefusalError(431, "refused", _LONG_HEAD))
            raise ValueError  # ends the parsing of what came with it
        upgrade = self.parser.should_upgrade()
        if upgrade and self._goes_on_without():
            return
        self._head_from, self._head_bytes, self._ended_one = None, 0, True
        self._in_body, self._body_bytes, self._body_waited = True, 0, 0.0
        if self.group is not self._all.busy:
            self._all.move(self, self._all.busy)
        super().on_headers_complete()
        if upgrade:
            self.cycle.keep_alive = False  # what comes behind it is not HTTP

    def _goes_on_without(self) -> bool:
        """Whether a request may be served as if it offered no other protocol (RFC 9110, 7.8), and is to be read anew.

        The parser takes the body of one that offers some for that protocol's. WebSockets and tunnels are refused.
        """
        method = self.parser.get_method()
        if method == b"CONNECT" or b"websocket" in tokens(self.headers, b"upgrade"):
            return False
        lines = [b"%s %s HTTP/1.1" % (method, self.url)]
        lines += [b"%s: %s" % (n, v) for n, v in self.headers if n not in {b"connection", b"upgrade"}]
        kept = tokens(self.headers, b"connection") - {b"upgrade", b"http2-settings"}
        self._without_upgrade = b"\r\n".join([*lines, b"connection: " + b", ".join(sorted(kept)), b"", b""])
        return True

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def on_message_complete(self) -> None:
        """A body is whole: its client is listened to, so that it is noticed if it hangs up."""
        if self._without_upgrade is not None:
            return
        self._in_body = False
        self._head_from, self._ended_one = None, True
        super().on_message_complete()
        if not self.pipeline:
            self.flow.resume_reading()
        if self.cycle.response_complete:
            self._rest_if_done()

    async def send_together(self, send: Callable[[Any], Awaitable[None]], head: Any, body: Any) -> None:
        """Send an answer's head and the first of its body by one write, where none waits: each costs a system call."""
        cycle, transport = self.cycle, self.transport
        if self.pipeline or self.flow.write_paused:
            await send(head)
            await send(body)
            return
        written = _Written()
        cycle.transport = written  # type: ignore[assignment] # of which an answer that begins only writes to it
        try:  # neither of them waits
            await send(head)
            await send(body)
        finally:
            cycle.transport = transport
            if written:
                transport.write(b"".join(written))

    def on_response_complete(self) -> None:
        """An answer is whole."""
        super().on_response_complete()
        self._rest_if_done()

    def _rest_if_done(self) -> None:
        if not self._in_body and not self.pipeline and (self.cycle is None or self.cycle.response_complete):
            self._all.move(self, self._all.idle)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP; within another answer it would be taken for a part of that."""
        if self.transport.is_closing():
            return
        if self._answers():
            self.cut()
        else:
            super().send_400_response(msg)

    # -- what waits ----------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The client does not take what there is."""
        super().pause_writing()
        self._full_from = self.loop.time()

    def resume_writing(self) -> None:
        """It took it."""
        super().resume_writing()
        self._full_from = None

    def look(self, now: float) -> None:
        """End it if it is too slow, by the loop's time; called now and then."""
        if self.transport.is_closing() and self._full_from is None:
            self._full_from = now  # what it was sent last may wait as well
        if self._full_from is not None and now - self._full_from > self._limits.answer:
            self.cut()
        if self.transport.is_closing() or self._deaf:
            return
        if self.flow.read_paused and self._hung_up():
            self.cut()  # while nobody reads what it sent, nobody reads that it left
        elif self._in_body:
            if not self.flow.read_paused:
                self._body_waited += _TICK
            if self._body_waited > self._limits.body + self._body_bytes / self._limits.rate:
                self._refuse(RefusalError(408, "refused", "rankd proxy: the request's body did not come in time"))
        elif self._head_from is not None and now - self._head_from > self._limits.head and not self._answers():
            if self._head_bytes:
                self._refuse(RefusalError(408, "refused", "rankd proxy: the request's head did not come in time"))
            else:
                self.cut()  # it never said a word

    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _hung_up(self) -> bool:
        probe = select.poll()
        probe.register(self.transport.get_extra_info("socket").fileno(), _GONE)
        return bool(probe.poll(0))

    def _refuse(self, refusal: RefusalError) -> None:
        """Answer by ourselves, unless an answer began, and hang up."""
        if self.transport.is_closing() or self._deaf:
            return
        within_its_body = self._in_body and self.cycle is not None and not self.cycle.response_started
        if not self.pipeline and (within_its_body or not (self._in_body or self._answers())):
            fields = [*refusal.fields, (b"connection", b"close")]
            lines = [b"HTTP/1.1 %d %s" % (refusal.status, refusal.phrase), *(n + b": " + v for n, v in fields)]
            self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + refusal.body)
            if self.transport.can_write_eof():
                # What still comes is not read: to hang up at once would take the answer away from who sends it.
                self._deaf = True
                self.flow.resume_reading()
                self.transport.write_eof()
                self.loop.call_later(_LINGER, self.transport.close)
                self._all.move(self, self._all.fresh)
                return
        self.transport.close()

    def cut(self) -> None:
        """End it at once."""
        self._all.forget(self)
        self.transport.abort()
