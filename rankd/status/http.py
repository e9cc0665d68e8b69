"""Metrics, probes and a page to look at, over plain HTTP, on an event loop and a thread of their own.

Of their own, so that a probe is answered, and metrics are told, whatever the daemon's loop is busy with. Whoever
connects holds a place for a bounded time; and where all places are held, who asked nothing, or does not read its
answer, makes way.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from contextlib import suppress

from rankd.errors import ConfigError
from rankd.settings import HttpSection, split_address
from rankd.status.http_pages import Pages, Views
from rankd.status.http_request import HttpAnswer, HttpRequest, RequestReader

_BACKLOG = 1024
"""Connections that wait to be taken, as far as the system allows: beyond it, a probe's first packet would be lost."""
_CHUNK = 2**14
_SEND_BUFFER = 2**17
"""Bytes of an answer that the system holds for a connection; by itself it would go up to megabytes."""
_STALLED = 0.25
"""Seconds without a byte taken, after which who reads an answer makes way for others."""
_LINGER = 1.0
"""Seconds for the client's end after an answer: closing on bytes that were not read would take the answer back."""
_RESERVED = 4
_OUT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
"""Of descriptors, or memory for sockets."""
_OUT_PAUSE = 0.1


class HttpServer:
    """Serves the page at ``/`` with what it needs, ``/status.json``, ``/metrics``, ``/livez`` and ``/readyz``."""

    def __init__(self, address: str, views: Views, limits: HttpSection, connections: int) -> None:
        """Bind and serve, at most so many connections at once.

        Raises:
            ConfigError: the address cannot be bound.
        """
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            # A second daemon must not share the port: no SO_REUSEPORT.
            listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise ConfigError(f"metrics (RANKD_METRICS): cannot listen on {address}: {error.strerror}") from None
        listener.setblocking(False)
        self.port: int = listener.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self.connections = HttpConnections(listener, Pages(views), limits, connections)
        self._thread = threading.Thread(target=self._serve, name="rankd-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving; whoever is connected is cut."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _serve(self) -> None:
        try:
            serving = self._loop.create_task(self.connections.serve())
            self._loop.run_forever()
            tasks = asyncio.all_tasks(self._loop)
            for task in tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(serving, *tasks, return_exceptions=True))
        finally:
            self.connections.close()
            self._loop.close()


class HttpConnection:
    """One connection: a request, its answer, the end."""

    def __init__(self, sock: socket.socket) -> None:
        """It has not asked anything."""
        self.sock = sock
        self.task: asyncio.Task[None] | None = None
        self.building = False
        """Whether what it asked for takes one of the places for answers that are made."""
        self.idle_since: float | None = time.monotonic()
        """Since when nothing came or went, by the monotonic clock; None while its answer is being made."""
        self.asked = False
        self.answered = False

    def expendable(self, now: float) -> tuple[int, float] | None:
        """How soon it makes way for another, the smaller the sooner; None: not at all."""
        if self.idle_since is None:
            return None
        if self.answered:
            return 0, self.idle_since
        if not self.asked:
            return 1, self.idle_since
        return (2, self.idle_since) if now - self.idle_since >= _STALLED else None


class HttpConnections:
    """All connections of a server. It belongs to the server's loop."""

    def __init__(self, listener: socket.socket, pages: Pages, limits: HttpSection, most: int) -> None:
        """Take the listening socket, whose owner this is; at most so many connections."""
        self._listener = listener
        self._pages = pages
        self._limits = limits
        self._most, self._most_built = most, most * 3 // 4
        self.open: dict[HttpConnection, None] = {}
        """The oldest first."""
        self._reserve = _DescriptorReserve(_RESERVED)

    def close(self) -> None:
        """Let go of all descriptors, once nothing runs on the loop any more."""
        for connection in self.open:
            connection.sock.close()  # its task may have been cancelled before its first step, and so never closed it
        self.open.clear()
        self._reserve.close()
        self._listener.close()

    async def serve(self) -> None:
        """Take connections, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock = await self._accept()
            except OSError as error:
                # What a client did between connecting and now is no concern.
                if error.errno in _OUT and not self._reserve.give_up_one():
                    room = self._make_room()
                    await (asyncio.wait([room]) if room else asyncio.sleep(_OUT_PAUSE))
                continue
            if len(self.open) >= self._most and not self._make_room():
                sock.close()
                continue
            connection = HttpConnection(sock)
            self.open[connection] = None
            connection.task = loop.create_task(self._handle(connection))
            # One at a time: who connects often keeps nobody who is there from being read.
            await asyncio.sleep(0)

    async def _accept(self) -> socket.socket:
        """The next connection, taken in the step in which it is given: a cancellation between two would lose it."""
        loop = asyncio.get_running_loop()
        while True:
            with suppress(BlockingIOError):
                return self._listener.accept()[0]
            readable = loop.create_future()
            loop.add_reader(self._listener, _tell, readable)
            try:
                await readable
            finally:
                loop.remove_reader(self._listener)

    def _make_room(self, *, building: bool = False) -> asyncio.Task[None] | None:
        """End the connection that others lose least by; gives its task, which ends soon, or None where there is none.

        Args:
            building: only among those that take a place for answers that are made.
        """
        now = time.monotonic()
        ranks = {c: c.expendable(now) for c in self.open if c.building or not building}
        found = min((c for c, rank in ranks.items() if rank is not None), key=lambda c: ranks[c] or (), default=None)
        if found is None or found.task is None:
            return None
        found.task.cancel()
        del self.open[found]
        return found.task

    async def _handle(self, connection: HttpConnection) -> None:
        sock = connection.sock
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            reader = RequestReader()
            async with asyncio.timeout(self._limits.request_timeout):
                asked = await self._request(sock, reader)
            if asked is None:
                return
            connection.asked = True
            async with asyncio.timeout(self._limits.answer_timeout):
                answer = asked if isinstance(asked, HttpAnswer) else await self._answer(connection, asked)
                for part in reader.encode(answer):
                    await self._send(connection, part)
                connection.answered = True
                await self._linger(connection)
        except (OSError, TimeoutError):
            pass  # a client that went away, or is too slow, is no event
        finally:
            self.open.pop(connection, None)
            self._reserve.close_socket(sock)

    @staticmethod
    async def _request(sock: socket.socket, reader: RequestReader) -> HttpRequest | HttpAnswer | None:
        loop = asyncio.get_running_loop()
        while data := await loop.sock_recv(sock, _CHUNK):
            if (asked := reader.feed(data)) is not None:
                return asked
        return reader.feed(b"")

    async def _answer(self, connection: HttpConnection, request: HttpRequest) -> HttpAnswer:
        quick = self._pages.quick(request)
        if quick is not None:
            return quick
        # The rest of the places are for probes, whoever reads pages.
        readers = sum(c.building for c in self.open)
        if readers >= self._most_built and not self._make_room(building=True):
            return HttpAnswer(503, b"too many pages are being read\n", headers={"Retry-After": "1"})
        connection.building, connection.idle_since = True, None
        try:
            return await self._pages.build(request, crowded=readers > self._most_built // 4)
        finally:
            connection.idle_since = time.monotonic()

    @staticmethod
    async def _send(connection: HttpConnection, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        for first in range(0, len(view), _CHUNK):
            await loop.sock_sendall(connection.sock, view[first : first + _CHUNK])
            connection.idle_since = time.monotonic()

    @staticmethod
    async def _linger(connection: HttpConnection) -> None:
        loop = asyncio.get_running_loop()
        connection.sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_LINGER):
            while await loop.sock_recv(connection.sock, _CHUNK):
                pass


def _tell(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class _DescriptorReserve:
    """Descriptors held for when there are none: a probe is answered then, too.

    One that is taken back is put in a socket's place in one step. Were it closed and opened anew, whatever else waits
    for descriptors, as gRPC with its callers' connections does, would have it first.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._held = [os.dup(self._null) for _ in range(size)]

    def give_up_one(self) -> bool:
        """Let one be used; says whether there was one."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def close_socket(self, sock: socket.socket) -> None:
        """Close a socket, and keep its descriptor where one was given up."""
        if len(self._held) < self._size:
            descriptor = sock.detach()
            os.dup2(self._null, descriptor, inheritable=False)
            self._held.append(descriptor)
        else:
            sock.close()

    def close(self) -> None:
        """Let go of all, for good."""
        self._size = 0
        for descriptor in (self._null, *self._held):
            os.close(descriptor)
        self._held.clear()
