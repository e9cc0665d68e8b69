"""An engine that answers as its requests tell it to, at once: what is measured is what stands before it."""

from __future__ import annotations

import asyncio
import json
import sys

_EVENT = b'data: {"id":"c","object":"text_completion","choices":[{"index":0,"text":"a word","finish_reason":null}]}\n\n'
_LAST = b'data: {"id":"c","choices":[{"index":0,"text":"","finish_reason":"stop"}],"usage":{"completion_tokens":8}}\n\n'
_HEAD = b"HTTP/1.1 200 OK\r\nserver: e\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
_HEAD += b"transfer-encoding: chunked\r\n\r\n"
_WHOLE = b'{"choices":[{"index":0,"text":"a word","finish_reason":"stop"}],"usage":{"completion_tokens":2}}'
_COUNTS = b"GET /connections "


class Engine:
    """Counts its connections, and tells them where it is asked."""

    def __init__(self) -> None:
        """None yet."""
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(_COUNTS):
                    _write_whole(writer, b"%d" % self.connections)
                    continue
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                body = json.loads(await reader.readexactly(length) or b"{}")
                if body.get("events"):
                    await _stream(writer, body["events"], body["pause"])
                else:
                    _write_whole(writer, _WHOLE)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


def _write_whole(writer: asyncio.StreamWriter, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    writer.write(head % len(body) + body)


async def _stream(writer: asyncio.StreamWriter, events: int, pause: float) -> None:
    writer.write(_HEAD)
    for at in range(events):
        event = _LAST if at == events - 1 else _EVENT
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        if pause:
            await asyncio.sleep(pause)
    event = b"data: [DONE]\n\n"
    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(event), event))


async def connections_of(engine: str) -> int:
    """How many were ever made to an engine, this one included."""
    host, _, port = engine.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(_COUNTS + b"HTTP/1.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    count = int(await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])))
    writer.close()
    return count


async def main() -> None:
    """Serve until killed."""
    server = await asyncio.start_server(Engine().serve, "127.0.0.1", 0, backlog=2048)
    host, port = server.sockets[0].getsockname()
    print(json.dumps({"listen": f"{host}:{port}"}), file=sys.stderr, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
