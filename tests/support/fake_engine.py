"""An engine's place, on a real port: records every byte that comes, answers byte by byte. And the proxy before it."""

import asyncio
import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field

from rankd_client.integration.settings import IntegrationSettings

from rankd.proxy.serve import ProxyServer
from rankd.proxy.settings import load_proxy_settings

USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":7,"total_tokens":10}}\n\n'
EVENTS = [
    b'data: {"choices":[{"index":0,"text":"one","finish_reason":null}]}\n\n',
    b'data: {"choices":[{"index":0,"text":"tw\xc3\xb6","finish_reason":"stop"}]}\n\n',
    USAGE,
    b"data: [DONE]\n\n",
]


@dataclass
class Seen:
    """A request as it came."""

    head: bytes
    body: bytes = b""
    whole: bool = False
    gone: threading.Event = field(default_factory=threading.Event)
    got: int = 0

    @property
    def line(self):
        return self.head.split(b"\r\n", 1)[0]

    @property
    def fields(self):
        lines = self.head.split(b"\r\n")[1:-2]
        return [tuple(line.split(b": ", 1)) for line in lines]

    def values(self, name):
        return [v for k, v in self.fields if k.lower() == name]

    @property
    def priority(self):
        return json.loads(self.body)["priority"]


class Upstream:
    """A raw HTTP/1.1 server in a thread. ``answer(seen, reader, writer)`` says what is sent for a request."""

    def __init__(self, answer=None, *, engine="vllm", port=0, read=True, tls=None):
        self.seen, self.answer, self.engine, self._read = [], answer or streamed(EVENTS), engine, read
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._writers = set()
        self._server = self.call(asyncio.start_server(self._serve, "127.0.0.1", port, limit=2**20, ssl=tls))
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                seen = Seen(await reader.readuntil(b"\r\n\r\n"))
                if (asked := self._asked(seen)) is not None:
                    writer.write(asked)
                    continue
                self.seen.append(seen)
                try:
                    if self._read:
                        await read_body(seen, reader)
                    await self.answer(seen, reader, writer)
                except (ConnectionError, asyncio.IncompleteReadError):
                    seen.gone.set()
                    break
        self._writers.discard(writer)
        writer.close()

    def _asked(self, seen):
        """Answers to the proxy's question what this is."""
        page = {
            ("vllm", b"GET /v1/models HTTP/1.1"): {"data": [{"id": "m", "owned_by": "vllm"}]},
            ("sglang", b"GET /server_info HTTP/1.1"): {
                "enable_priority_scheduling": True,
                "disable_priority_preemption": True,
                "schedule_low_priority_values_first": False,
            },
        }
        if seen.values(b"via") or seen.line.split(b" ")[1] not in {
            b"/server_info", b"/get_server_info", b"/v1/models", b"/metrics"
        }:  # fmt: skip
            return None
        if isinstance(self.engine, dict):
            known = self.engine if seen.line.startswith(b"GET /server_info") else None
        else:
            known = page.get((self.engine, seen.line))
        if known is None:
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        body = json.dumps(known).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

    def close(self):
        async def end():
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await asyncio.sleep(0.01)

        if self.loop.is_running():
            self.call(end())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(5)


async def read_body(seen, reader):
    """Read a body by its length or its chunks."""
    if length := seen.values(b"content-length"):
        while seen.got < int(length[0]):
            part = await reader.read(min(2**16, int(length[0]) - seen.got))
            if not part:
                raise ConnectionError
            seen.got += len(part)
            seen.body += part
    elif seen.values(b"transfer-encoding"):
        while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
            seen.body += (await reader.readexactly(size + 2))[:-2]
            seen.got = len(seen.body)
        await reader.readuntil(b"\r\n")
    seen.whole = True


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nX-Engine: yes\r\n\r\n"


def streamed(events, pause=0.0, head=HEAD):
    """Answers with a chunk for each event, and notices that nobody reads any more."""

    async def answer(_seen, reader, writer):
        writer.write(head)
        for event in events:
            writer.write(b"%x\r\n%s\r\n" % (len(event), event))
            await writer.drain()
            if pause:
                await gone_within(reader, pause)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    return answer


def whole(body, head=b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"):
    """Answers at once."""

    async def answer(_seen, _reader, writer):
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    return answer


async def gone_within(reader, seconds):
    """Wait so long, and raise as soon as the other side hangs up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            if not await reader.read(1):
                raise ConnectionError


class Through:
    """A proxy on real ports, in a thread with an event loop of its own."""

    def __init__(self, upstream, target, *, asking=None, **settings):
        options = {"upstream": upstream, "listen": "127.0.0.1:0", "metrics": "127.0.0.1:0"} | settings
        self.server = ProxyServer(
            load_proxy_settings(**options), IntegrationSettings(target=target, **({"timeout": 5.0} | (asking or {})))
        )
        self.port, self.metrics_port = self.server.port, self.server.metrics_port
        self._failed, self._ready = None, threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        assert self._ready.wait(60)
        if self._failed:
            raise self._failed

    async def _run(self):
        self.loop = asyncio.get_running_loop()
        try:
            await self.server.start()
        except Exception as error:  # noqa: BLE001 - the test's to judge
            self._failed = error
            return
        finally:
            self.loop.call_later(0.01, self._ready.set)
            if self._failed:
                self._ready.set()
        await self.server.serve()

    def stop(self, seconds=10):
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self.server.stop)
            self._thread.join(seconds)

    def counts(self, name="requests", label="outcome"):
        """Counters by outcome, or by another label."""
        found = collections.Counter()
        for metric in self.server.metrics.registry.collect():
            for s in metric.samples:
                if s.name == f"rankd_proxy_{name}_total":
                    found[s.labels[label]] += int(s.value)
        return dict(found)


class ProxyProcess:
    """``rankd proxy`` as a user runs it."""

    def __init__(self, upstream, target, *flags, prefix=(), **environment):
        """``prefix``: a command that starts it, such as ``prlimit`` with its options."""
        command = [
            *prefix, sys.executable, "-m", "rankd", "proxy", "--upstream", upstream, "--listen", "127.0.0.1:0",
            "--metrics", "127.0.0.1:0", "--target", target, "--log-format", "json", *flags,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | environment)
        self.lines = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._ready.wait(60):
            self.kill()
            raise AssertionError("the proxy did not start:\n" + "".join(self.lines))

    def _read(self):
        with self.process.stderr as said:
            for line in said:
                self.lines.append(line)
                if '"event": "proxy_started"' in line:
                    event = json.loads(line)
                    self.port, self.metrics_port = (int(event[k].rpartition(":")[2]) for k in ("listen", "metrics"))
                    self._ready.set()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def kill(self):
        self.process.kill()
        self.process.wait(30)
        self._reader.join(10)


class Client:
    """A raw HTTP client over one connection: what was sent, to the byte."""

    def __init__(self, port):
        self.port = port

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**24)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def send(self, body=b"", path=b"/v1/completions", method=b"POST", fields=(), chunked=0):
        """Send a request; a body in chunks where ``chunked`` says of what size."""
        lines = [method + b" " + path + b" HTTP/1.1", b"Host: test"]
        if not any(k.lower() == b"content-type" for k, _ in fields) and method == b"POST":
            lines.append(b"Content-Type: application/json")
        lines += [k + b": " + v for k, v in fields]
        if chunked:
            lines.append(b"Transfer-Encoding: chunked")
            parts = [body[i : i + chunked] for i in range(0, len(body), chunked)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
        elif method == b"POST":
            lines.append(b"Content-Length: %d" % len(body))
        self.writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        await self.writer.drain()

    async def answer(self, method=b"POST"):
        """Status, header and body of an answer; the body as a list of chunks where it is chunked."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 100"):
            head = await self.reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if method == b"HEAD" or status in {204, 304}:
            return status, head, b""
        if found := re.search(rb"(?i)\r\ncontent-length: (\d+)", head):
            return status, head, await self.reader.readexactly(int(found[1]))
        return status, head, [chunk async for chunk in self.chunks()]

    async def chunks(self):
        while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readuntil(b"\r\n")


def run(coroutine):
    """Run on a loop of its own, within a minute."""
    return asyncio.run(asyncio.wait_for(coroutine, 60))


async def post(port, body, path=b"/v1/completions", **options):
    """One request over a connection of its own; status, head and the answer's bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with Client(port) as client:
        await client.send(data, path, **options)
        status, head, answer = await client.answer()
        return status, head, b"".join(answer) if isinstance(answer, list) else answer


def within(condition, what="it", seconds=60.0):
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.01)
