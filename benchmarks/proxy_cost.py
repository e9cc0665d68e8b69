"""What the proxy adds: ``python -m benchmarks.proxy_cost``. Direct and through proxies in turns, request by request.

The engine answers at once: what is measured is the way there and back. Three ways: direct, through a proxy whose
circuit is open, and through one that asks a daemon about prompts that it has not seen; and asking alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rankd_client import AsyncRankClient

from rankd.bench.process import MeasuredProcess

_EVENT = b'data: {"choices":[{"index":0,"text":"a word","finish_reason":null}]}\n\n'
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_WHOLE = b'{"choices":[{"index":0,"text":"a word","finish_reason":"stop"}],"usage":{"completion_tokens":2}}'
_NOBODY = "127.0.0.1:9"
_WARM = 50


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxy_cost", description=__doc__.partition(":")[0])
    parser.add_argument("--ranker", default="ngram", help="of the daemon; default: ngram")
    parser.add_argument("--requests", type=int, default=500, metavar="N", help="each way; default: 500")
    parser.add_argument("--events", type=int, default=100, metavar="N", help="of a stream; default: 100")
    parser.add_argument("--pause", type=float, default=0.005, metavar="S", help="between events; default: 0.005")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.serve:
        asyncio.run(_engine())
        return 0
    figures = _measure(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print(f"| {'way':<22} | p50 ms | p99 ms | added p50 ms | ratio | processor ms per request |")
    print("|---|---|---|---|---|---|")
    for name, row in figures.items():
        cells = (row.get(k) for k in ("p50", "p99", "added", "ratio", "processor"))
        print(f"| {name:<22} | " + " | ".join("" if c is None else f"{c:.3f}" for c in cells) + " |")
    return 0


def _measure(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    with ExitStack() as stack:

        def started(*command: str, **environment: str) -> MeasuredProcess:
            return stack.enter_context(MeasuredProcess(command, environment=environment, cores=None))

        engine = started("benchmarks.proxy_cost", "--serve")
        daemon = started("rankd", "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", "",
                         "--ranker", arguments.ranker, "--provider", "cpu")  # fmt: skip
        proxy = ("rankd", "proxy", "--upstream", f"http://{engine.target}", "--direction", "lower-first", "--listen",
                 "127.0.0.1:0", "--metrics", "", "--log-format", "json", "--timeout", "5")  # fmt: skip
        open_ = started(*proxy, RANKD_TARGET=_NOBODY)
        ranking = started(*proxy, RANKD_TARGET=daemon.target)
        ways = {"direct": engine, "proxy, circuit open": open_, "proxy, ranking": ranking}
        figures = asyncio.run(_answers(ways, daemon.target, arguments.requests))
        figures |= asyncio.run(_streams(ways, arguments))
        return figures


async def _answers(ways: dict[str, MeasuredProcess], daemon: str, count: int) -> dict[str, dict[str, float]]:
    """Whole answers, one request at a time; and the daemon asked as the proxy asks it."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    asked: list[float] = []
    used = dict.fromkeys(ways, 0.0)
    connections = {name: await _connected(way) for name, way in ways.items()}
    async with AsyncRankClient(daemon, timeout=5.0) as client:
        for at in range(count + _WARM):
            if at == _WARM:
                used = {name: way.processor_seconds for name, way in ways.items()}
                taken, asked = {name: [] for name in ways}, []
            for name, (reader, writer) in connections.items():
                began = time.perf_counter()
                writer.write(_request({"prompt": _prompt()}))
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(_WHOLE))
                taken[name].append((time.perf_counter() - began) * 1e3)
            began = time.perf_counter()
            await client.rank([_prompt()])
            asked.append((time.perf_counter() - began) * 1e3)
    used = {name: (way.processor_seconds - used[name]) / count * 1e3 for name, way in ways.items()}
    return _rows(taken, used) | {"asking alone": _summary(asked)}


async def _streams(ways: dict[str, MeasuredProcess], arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """How late events are: from when the engine wrote each until it is here, by the machine's one clock."""
    late: dict[str, list[float]] = {name: [] for name in ways}
    rounds = max(3, arguments.requests // 50)
    used = {name: way.processor_seconds for name, way in ways.items()}
    for _ in range(rounds):
        for name, way in ways.items():
            reader, writer = await _connected(way)
            writer.write(_request({"prompt": _prompt(), "events": arguments.events, "pause": arguments.pause}))
            await reader.readuntil(b"\r\n\r\n")
            while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                chunk = (await reader.readexactly(size + 2))[:-2]
                late[name].append((time.time() - float(chunk[6:].split(b" ", 1)[0])) * 1e3)
            writer.close()
    events = rounds * arguments.events
    used = {name: (way.processor_seconds - used[name]) / events * 1e3 for name, way in ways.items()}
    return {f"an event, {name}": row for name, row in _rows(late, used).items()}


def _rows(taken: dict[str, list[float]], used: dict[str, float]) -> dict[str, dict[str, float]]:
    base = statistics.median(taken["direct"])
    return {
        name: _summary(times)
        | {"added": statistics.median(times) - base, "ratio": statistics.median(times) / base, "processor": used[name]}
        for name, times in taken.items()
    }


def _summary(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {"p50": statistics.median(ordered), "p99": ordered[int(len(ordered) * 0.99)]}


async def _connected(way: MeasuredProcess) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = way.target.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


def _prompt() -> str:
    return "Explain " + " ".join(f"w{random.randrange(10**6)}" for _ in range(40))  # noqa: S311 - no secret


def _request(body: dict[str, Any]) -> bytes:
    content = json.dumps(body | {"max_tokens": 100}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head % len(content) + content


async def _engine() -> None:
    """Answers as it is told to, at once."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                body = json.loads(await reader.readexactly(length))
                if "events" not in body:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ")
                    writer.write(b"%d\r\n\r\n%s" % (len(_WHOLE), _WHOLE))
                    continue
                writer.write(_HEAD)
                for _ in range(body["events"]):
                    await asyncio.sleep(body["pause"])
                    event = b"data: %.6f " % time.time() + _EVENT[6:]
                    writer.write(b"%x\r\n%s\r\n" % (len(event), event))
                writer.write(b"0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(json.dumps({"listen": f"{host}:{port}"}), file=sys.stderr, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main())
