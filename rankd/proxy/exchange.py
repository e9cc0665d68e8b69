"""One request: prioritised, passed on, and its answer passed back as it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from rankd.proxy import headers
from rankd.proxy.answer_head import BrokenAnswerError, to_client
from rankd.proxy.body_budget import HELD, REQUEST, STREAM
from rankd.proxy.client_connection import EXTENSION, ClientConnection
from rankd.proxy.content_coding import readable_only
from rankd.proxy.headers import Fields
from rankd.proxy.priority_body import with_priority
from rankd.proxy.ranking import RankedRequest
from rankd.proxy.refusal import RefusalError
from rankd.proxy.reporting import TrackedRequest
from rankd.proxy.shared import Shared
from rankd.proxy.turn import Turn
from rankd.proxy.upload import ClientGoneError, Message, Receive, Upload

_NO_MEMORY = "rankd proxy: requests, or those of this client, take the memory that RANKD_PROXY_MEMORY_BYTES allows"
Scope = Any
Send = Callable[[Any], Awaitable[None]]
_SMALL = 16_384
"""Bytes that a client takes at once."""


class Exchange:
    """Lives as long as its request."""

    def __init__(self, shared: Shared, scope: Scope, receive: Receive, send: Send) -> None:
        """The arguments are ASGI's."""
        self._shared, self._scope, self._send = shared, scope, send
        self.arrival, self._began = time.time(), time.perf_counter()
        fields = scope["headers"]
        self._connection: ClientConnection = scope["extensions"][EXTENSION]["connection"]
        client = scope.get("client")
        self._hold = shared.budget.hold(client[0] if client else "", headers.credential(fields))
        self._upload = Upload(receive, shared.limit, empty=not headers.has_body(fields), room=self._has_room)
        self._turn: Turn | None = None
        """Of a request that gets a priority."""
        self.started = False
        """The answer's head went out."""
        self._complete = self._client_gone = False

    async def run(self) -> str:
        """Serve it.

        Returns:
            What became of it, to count.

        Raises:
            RefusalError: nothing was answered yet, and this is to be.
            ClientGoneError: the client hung up; the engine has been told.
        """
        self._take_memory(REQUEST)
        try:
            return await self._run()
        finally:
            self._hold.release()
            if self._turn is not None:
                self._turn.end()

    async def _run(self) -> str:
        fields, content = await self._prioritised(self._fields())
        main = asyncio.current_task()
        assert main is not None
        self._main = main
        self._connection.tell_loss(self._hung_up)
        try:
            if (turn := self._turn) is None:
                return await self._passed_on(fields, self._body())
            await turn.let_in()
            return await self._passed_on(*await self._written(fields, content, turn.ranked))
        except asyncio.CancelledError:
            self._lost("cancelled" if self._client_gone else "aborted")
            if not self._client_gone:
                raise
            main.uncancel()
            raise ClientGoneError from None
        except BaseException:
            self._lost("cancelled" if self._upload.gone else "aborted")
            if self._upload.gone:
                raise ClientGoneError from None
            raise
        finally:
            self._connection.tell_loss(None)

    def _take_memory(self, size: int) -> None:
        if not self._hold.cover(size):
            raise RefusalError(503, "overloaded", _NO_MEMORY, retry_after=1)

    def _has_room(self, size: int) -> bool:
        return HELD * size <= REQUEST // 2 or self._hold.cover(REQUEST + HELD * size)  # a little is counted already

    def _hung_up(self) -> None:
        """Take the request back from the engine when its client hangs up."""
        if not self._complete:
            self._client_gone = True
            self._main.cancel()

    def _lost(self, finish: Any) -> None:
        if self._turn is not None:
            self._turn.lost(finish)

    def _fields(self) -> Fields:
        client = self._scope.get("client")
        fields = headers.to_engine(self._scope["headers"], client[0] if client else None, self._scope["scheme"])
        for name, value in fields:
            if not value.isascii() and not _is_utf8(value):
                raise RefusalError(400, "refused", f"the header {name.decode('latin-1')!r} is not UTF-8")
        return fields

    # -- on the way there ----------------------------------------------------------------------------------------------

    async def _prioritised(self, fields: Fields) -> tuple[Fields, bytes | None]:
        """Header fields as the engine gets them but for a priority in them, and the body where it was read.

        What gets a priority has a ``_turn``.
        """
        scope, engine = self._scope, self._shared.upstream.engine
        paths, name = self._shared.paths, engine.name if engine is not None else ""
        route = paths.route(scope["method"], scope["path"])
        if route is None and not paths.takes_priority(name, scope["method"], scope["path"]):
            return fields, None
        if not self._shared.ranking.keeps_client_priority:
            fields = [(key, value) for key, value in fields if key != headers.PRIORITY]
        if engine is None or not headers.is_json(fields):
            self._shared.metrics.requests.inc("direction_unknown" if engine is None else "encoded")
            return fields, None
        self._turn = turn = Turn(self._shared, engine, self.arrival)
        claimed = headers.length_of(fields)
        content = None if claimed is not None and claimed > self._shared.limit else await self._upload.whole()
        began = time.perf_counter()
        await turn.ask(route, fields, content, "no_memory" if self._upload.crowded else "too_large")
        self._shared.metrics.held_seconds.observe(time.perf_counter() - began)
        return readable_only(fields) if turn.is_followed else fields, content

    async def _written(
        self, fields: Fields, content: bytes | None, ranked: RankedRequest
    ) -> tuple[Fields, bytes | AsyncIterator[bytes] | None]:
        if ranked.priority is not None and ranked.in_header:
            value = str(ranked.priority).encode()
            fields = [*((key, old) for key, old in fields if key != headers.PRIORITY), (headers.PRIORITY, value)]
        elif ranked.priority is not None and content is not None:
            content = with_priority(content, ranked.priority)
        elif ranked.priority is not None:
            grown = await self._upload.insert(ranked.priority)
            if (claimed := headers.length_of(fields)) is not None:
                fields = headers.with_length(fields, claimed + grown)
        if content is None:
            return fields, self._upload.chunks()
        return headers.with_length(fields, len(content)), content

    def _body(self) -> AsyncIterator[bytes] | None:
        return self._upload.chunks() if headers.has_body(self._scope["headers"]) else None

    # -- and back ------------------------------------------------------------------------------------------------------

    async def _passed_on(self, fields: Fields, data: bytes | AsyncIterator[bytes] | None) -> str:
        url = URL(self._shared.paths.url(self._scope["raw_path"], self._scope["query_string"]), encoded=True)
        named = CIMultiDict([(key.decode("ascii"), value.decode()) for key, value in fields])
        try:
            if not isinstance(data, bytes) and data is not None:
                claimed = headers.length_of(self._scope["headers"])
                self._take_memory(REQUEST + max(self._upload.size, min(STREAM if claimed is None else claimed, STREAM)))
                await self._upload.begin()
            async with self._shared.session.request(
                self._scope["method"], url, headers=named, data=data, allow_redirects=False
            ) as answer:
                return await self._passed_back(answer)
        except aiohttp.ServerTimeoutError:
            raise self._refused(504, "upstream_timeout", "the engine did not answer in time") from None
        except aiohttp.ClientConnectorError:
            self._shared.upstream.identify_again()
            raise self._refused(502, "upstream_unreachable", "the engine cannot be reached") from None
        except BrokenAnswerError:
            raise self._refused(502, "upstream_broken", "the engine's answer is none that HTTP knows") from None
        except (aiohttp.ClientError, OSError):
            self._shared.upstream.identify_again()
            raise self._refused(502, "upstream_broken", "the engine hung up before its answer was complete") from None

    @staticmethod
    def _refused(status: int, outcome: str, message: str) -> RefusalError:
        return RefusalError(status, outcome, f"rankd proxy: {message}")

    async def _passed_back(self, answer: aiohttp.ClientResponse) -> str:
        fields = to_client(answer.status, answer.raw_headers, self._shared.base)
        if self._upload.streaming and answer.connection is not None and answer.connection.protocol is not None:
            # It answers before it has the request: what of it the engine will have read is not known.
            answer.connection.protocol.force_close()
        if self._turn is not None:
            self._turn.answered(answer, self._hold.take)
        tracked = self._turn.tracked if self._turn is not None else None
        self.started = True
        head = {"type": "http.response.start", "status": answer.status, "headers": fields}
        rest = await self._body_passed_back(head, answer.content, tracked)
        self._complete = True
        if self._turn is not None:
            self._turn.complete()
        await self._send({"type": "http.response.body", "body": rest, "more_body": False})
        return f"{answer.status // 100}xx"

    async def _body_passed_back(
        self, head: Message, content: aiohttp.StreamReader, tracked: TrackedRequest | None
    ) -> bytes:
        """Pass a head and its body back as it comes, but for a small end, which goes out with the mark of its end."""
        send, connection = self._send, self._connection
        reader = tracked.answer if tracked is not None else None
        chunk = content.read_nowait(-1) if content.exception() is None else b""
        if not chunk:
            await send(head)
            chunk = await content.readany()
            head = None
        if chunk:
            if self._turn is not None:
                self._turn.first_byte()
            if tracked is not None:
                self._shared.metrics.first_byte_seconds.observe(time.perf_counter() - self._began)
        while chunk:
            if reader is not None:
                reader.feed(chunk)
            message = {"type": "http.response.body", "body": chunk, "more_body": True}
            if head is not None:
                await connection.send_together(send, head, message)
                head = None
            elif len(chunk) <= _SMALL and content.at_eof() and content.exception() is None:
                return chunk
            else:
                await send(message)
            if connection.flow.write_paused and not self._hold.cover(REQUEST + STREAM):
                connection.cut()  # there is no memory for what its client does not take
            chunk = await content.readany()
        return b""


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
