"""Engines and gateways that send more than they should, too early, too late, or in odd frames; one for each way."""

import asyncio
import contextlib
import json

STOLEN = b'{"name": "stolen"}'
"""Nobody asked for it: who gets it got an answer that is not his."""
EXTRA = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(STOLEN), STOLEN)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def own(name):
    """The body that belongs to a request."""
    return json.dumps({"name": name}).encode()


def whole(body):
    """An answer as it should be."""
    return OK + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunks(body, end=b"0\r\n\r\n", fields=b""):
    """The same in two chunks."""
    parts = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:5], body[5:]))
    return OK + fields + b"Transfer-Encoding: chunked\r\n\r\n" + parts + end


def _with(fields, body, behind=b""):
    return [OK + fields + b"\r\n" + body + behind]


LATE = (0.0, 0.001, 0.02, 0.08)
"""Seconds, within those that a connection rests."""

# Each gives, for the body of an answer, pieces to send one by one; a number is a pause in seconds.
FAULTS = {
    "none": lambda b: [whole(b)],
    "second answer at once": lambda b: [whole(b) + EXTRA],
    "second answer with the body": lambda b: [whole(b)[: -len(b)], 0.02, b + EXTRA],
    "second answer with the last byte": lambda b: [whole(b)[:-1], 0.02, b[-1:] + EXTRA],
    "second answer with the last chunk": lambda b: [chunks(b, end=b""), 0.02, b"0\r\n\r\n" + EXTRA],
    "three more answers": lambda b: [whole(b)[: -len(b)], 0.02, b + EXTRA * 3],
    **{f"second answer {late} s late": lambda b, late=late: [whole(b), late, EXTRA] for late in LATE},
    "half a second answer, then the rest": lambda b: [whole(b) + EXTRA[:20], 0.02, EXTRA[20:]],
    "half a second answer with the body": lambda b: [whole(b)[: -len(b)], 0.02, b + EXTRA[:40], 0.02, EXTRA[40:]],
    "a byte of a second answer": lambda b: [whole(b)[: -len(b)], 0.02, b + b"H", 0.05, EXTRA[1:]],
    "surplus at once": lambda b: [whole(b) + STOLEN],
    "surplus with the body": lambda b: [whole(b)[: -len(b)], 0.02, b + STOLEN],
    "surplus later": lambda b: [whole(b), 0.02, STOLEN],
    "surplus without end": lambda b: [whole(b), *[b"x" * 65536] * 50],
    "empty lines behind": lambda b: [whole(b) + b"\r\n\r\n", 0.02, b"\r\n"],
    "100 late": lambda b: [whole(b), 0.02, b"HTTP/1.1 100 Continue\r\n\r\n"],
    "103 late": lambda b: [whole(b), 0.02, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"],
    "408 late and hung up": lambda b: [whole(b), 0.02, b"HTTP/1.1 408 x\r\nConnection: close\r\n\r\n", None],
    "100 and 103 before": lambda b: [b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\nLink: </a>\r\n\r\n" + whole(b)],
    "100 a thousand times": lambda b: [b"HTTP/1.1 100 Continue\r\n\r\n" * 1000 + whole(b)],
    "100 with a length": lambda b: [b"HTTP/1.1 100 x\r\nContent-Length: 18\r\n\r\n", 0.02, whole(b) + EXTRA],
    "100, then a second answer": lambda b: [b"HTTP/1.1 100 x\r\n\r\n" + whole(b)[: -len(b)], 0.02, b + EXTRA],
    "101": lambda b: [b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" + whole(b) + EXTRA],
    "status 099": lambda b: [whole(b).replace(b" 200 ", b" 099 ", 1)],
    "status 199": lambda b: [whole(b).replace(b" 200 ", b" 199 ", 1) + EXTRA],
    "status 600": lambda b: [whole(b).replace(b" 200 ", b" 600 ", 1)],
    "status 999": lambda b: [whole(b).replace(b" 200 ", b" 999 ", 1)],
    "status 2000": lambda b: [whole(b).replace(b" 200 ", b" 2000 ", 1)],
    "status 20": lambda b: [whole(b).replace(b" 200 ", b" 20 ", 1)],
    "204 with a body": lambda b: [b"HTTP/1.1 204 x\r\nContent-Length: %d\r\n\r\n%s" % (len(b), b) + EXTRA],
    "204, then an answer": lambda _: [b"HTTP/1.1 204 x\r\n\r\n", 0.02, EXTRA],
    "204 in chunks": lambda b: [chunks(b).replace(b" 200 OK", b" 204 x", 1)],
    "304 with a body": lambda _: [b"HTTP/1.1 304 x\r\nContent-Length: %d\r\n\r\n%s" % (len(EXTRA), EXTRA)],
    "two lengths": lambda b: _with(b"Content-Length: %d\r\nContent-Length: 5\r\n" % len(b), b, EXTRA),
    "two lengths that agree": lambda b: _with(b"Content-Length: %d\r\n" % len(b) * 2, b, EXTRA),
    "a list of lengths": lambda b: _with(b"Content-Length: %d, %d\r\n" % (len(b), len(b)), b, EXTRA),
    "a negative length": lambda b: _with(b"Content-Length: -1\r\n", b, EXTRA),
    "a length with a sign": lambda b: _with(b"Content-Length: +%d\r\n" % len(b), b, EXTRA),
    "a length in hexadecimal": lambda b: _with(b"Content-Length: 0x%x\r\n" % len(b), b, EXTRA),
    "a length beyond 64 bits": lambda b: _with(b"Content-Length: %d\r\n" % (2**64 + len(b)), b, EXTRA),
    "a length of nothing": lambda b: _with(b"Content-Length: \r\n", b, EXTRA),
    "a folded length": lambda b: _with(b"Content-Length:\r\n %d\r\n" % len(b), b, EXTRA),
    "a length folded after digits": lambda b: _with(b"Content-Length: 1\r\n 8\r\n", b, EXTRA),
    "a length with a space before the colon": lambda b: _with(b"Content-Length : %d\r\n" % len(b), b, EXTRA),
    "a length too short": lambda b: _with(b"Content-Length: %d\r\n" % (len(b) - 3), b, EXTRA),
    "a length too long": lambda b: [*_with(b"Content-Length: %d\r\n" % (len(b) + 3), b), None],
    "a length too long, and an answer": lambda b: _with(b"Content-Length: %d\r\n" % (len(b) + 3), b, EXTRA),
    "length and chunks": lambda b: [chunks(b, fields=b"Content-Length: 5\r\n") + EXTRA],
    "chunks and length": lambda b: [chunks(b).replace(b"chunked\r\n", b"chunked\r\nContent-Length: 5\r\n", 1) + EXTRA],
    "chunked, gzip": lambda b: [chunks(b).replace(b"chunked", b"chunked, gzip", 1), 0.05, EXTRA, None],
    "gzip, chunked": lambda b: [chunks(b).replace(b"chunked", b"gzip, chunked", 1) + EXTRA],
    "identity": lambda b: [chunks(b).replace(b"chunked", b"identity", 1), 0.05, EXTRA, None],
    "xchunked": lambda b: [chunks(b).replace(b"chunked", b"xchunked", 1), 0.05, EXTRA, None],
    "chunked twice": lambda b: [chunks(b, fields=b"Transfer-Encoding: chunked\r\n") + EXTRA],
    "a folded chunked": lambda b: [chunks(b).replace(b" chunked", b"\r\n chunked", 1) + EXTRA],
    "a chunk's size that is none": lambda b: [chunks(b).replace(b"\r\n5\r\n", b"\r\nfive\r\n", 1) + EXTRA],
    "a chunk's size below 0": lambda b: [chunks(b).replace(b"\r\n5\r\n", b"\r\n-5\r\n", 1) + EXTRA],
    "a chunk's size in 0x": lambda b: [chunks(b).replace(b"\r\n5\r\n", b"\r\n0x5\r\n", 1) + EXTRA],
    "a chunk's size beyond 64 bits": lambda b: [chunks(b).replace(b"\r\n5\r\n", b"\r\n1" + b"0" * 17 + b"\r\n", 1)],
    "a chunk longer than it says": lambda b: [chunks(b).replace(b"\r\n5\r\n", b"\r\n3\r\n", 1) + EXTRA],
    "a chunk shorter than it says": lambda b: [chunks(b).replace(b"\r\n5\r\n", b"\r\n9\r\n", 1) + EXTRA],
    "no line's end behind a chunk": lambda b: [chunks(b).replace(b[:5] + b"\r\n", b[:5], 1) + EXTRA],
    "chunks with extensions": lambda b: [chunks(b).replace(b"\r\n5\r\n", b"\r\n5;a=b;c\r\n", 1) + EXTRA],
    "chunks in lone LF": lambda b: [chunks(b).replace(b"\r\n5\r\n", b"\n5\n", 1) + EXTRA],
    "chunks without the last": lambda b: [chunks(b, end=b""), None],
    "chunks without the last line": lambda b: [chunks(b, end=b"0\r\n"), 0.02, EXTRA],
    "chunks with trailers": lambda b: [chunks(b, end=b"0\r\nX-A: b\r\nContent-Length: 5\r\n\r\n") + EXTRA],
    "chunks, then a second answer late": lambda b: [chunks(b), 0.02, EXTRA],
    "lines in lone LF": lambda b: [(OK + b"Content-Length: %d\r\n\r\n" % len(b)).replace(b"\r\n", b"\n") + b + EXTRA],
    "a lone CR in a field": lambda b: _with(b"X-A: a\rContent-Length: 5\r\nContent-Length: %d\r\n" % len(b), b, EXTRA),
    "a NUL in a field": lambda b: _with(b"X-A: a\0b\r\nContent-Length: %d\r\n" % len(b), b, EXTRA),
    "a control character in a field": lambda b: _with(b"X-A: a\x01b\r\nContent-Length: %d\r\n" % len(b), b, EXTRA),
    "a folded field": lambda b: _with(b"X-A: a\r\n b\r\nContent-Length: %d\r\n" % len(b), b, EXTRA),
    "a line that is no field": lambda b: _with(b"nonsense\r\nContent-Length: %d\r\n" % len(b), b, EXTRA),
    "a field with an odd name": lambda b: _with(b"X A: b\r\nContent-Length: %d\r\n" % len(b), b, EXTRA),
    "HTTP/1.0": lambda b: [whole(b).replace(b"1.1", b"1.0", 1) + EXTRA],
    "HTTP/1.0 kept": lambda b: [whole(b).replace(b"1.1 200 OK", b"1.0 200 x\r\nConnection:keep-alive", 1), 0.02, EXTRA],
    "HTTP/1.0 in chunks": lambda b: [chunks(b).replace(b"1.1", b"1.0", 1) + EXTRA],
    "HTTP/2.0": lambda b: [whole(b).replace(b"1.1", b"2.0", 1) + EXTRA],
    "HTTP/1.2": lambda b: [whole(b).replace(b"1.1", b"1.2", 1) + EXTRA],
    "HTTP/0.9": lambda b: [b, None],
    "close, and goes on": lambda b: _with(b"Connection: close\r\nContent-Length: %d\r\n" % len(b), b, EXTRA),
    "closed behind the answer": lambda b: [whole(b), None],
    "closed a little later": lambda b: [whole(b), 0.05, None],
}  # fmt: skip


class FaultyEngine:
    """Answers with each request's own name; those whose prompts begin with ``bad`` in a faulty way."""

    def __init__(self, fault, *, before=b"", reads_body=True):
        """``before`` is said as soon as somebody connects."""
        self._fault, self._before, self._reads_body = fault, before, reads_body
        self.seen = []
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(self._before)
            while await self._one(reader, writer):
                await writer.drain()
        writer.close()

    async def _one(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        if not self._reads_body:
            self.seen.append(head)
            writer.write(whole(b"{}"))  # what lies behind the head is the next request to it
            return True
        body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
        name = json.loads(body)["prompt"] if body else head.split(b" ")[1].decode()[1:]
        self.seen.append(name)
        if not name.startswith("bad"):
            answer = whole(own(name))
            writer.write(answer if not head.startswith(b"HEAD") else answer[: answer.index(b"\r\n\r\n") + 4])
            return True
        for piece in self._fault(own(name)):
            if piece is None:
                return False
            if isinstance(piece, float):
                await writer.drain()
                await asyncio.sleep(piece)
            else:
                writer.write(piece)
                await writer.drain()
        return True
