"""An engine with so many places, that serves lower priorities first; its answers take as long as their requests say.

``python -m benchmarks.slot_engine`` is that engine alone, with ``--middleware`` behind vLLM's middleware.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import itertools
import json
import socket
import sys
from collections.abc import Sequence
from typing import Any

import uvicorn
from prometheus_client import generate_latest

_FIRST = b'data: {"choices":[{"index":0,"text":"a","finish_reason":null}]}\n\n'


class SlotEngine:
    """The ASGI application."""

    def __init__(self, places: int, pace: float, prefill: float) -> None:
        """Nobody is there. ``pace`` in seconds per output token, ``prefill`` in seconds before the first."""
        self._free, self._pace, self._prefill = places, pace, prefill
        self._waiting: list[tuple[int, int, asyncio.Event]] = []
        self._numbers = itertools.count()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a request."""
        if scope["type"] != "http":
            return
        if scope["path"] == "/metrics":
            await _whole(send, generate_latest(), b"text/plain")
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        request = json.loads(body)
        given = next((v for k, v in scope["headers"] if k == b"x-vllm-priority"), b"0")
        await self._enter(int(request.get("priority", 0)) or int(given))
        try:
            await self._answer(send, request["max_tokens"], stream=bool(request.get("stream")))
        finally:
            self._free += 1
            self._let_in()

    async def _enter(self, priority: int) -> None:
        event = asyncio.Event()
        heapq.heappush(self._waiting, (priority, next(self._numbers), event))
        self._let_in()
        await event.wait()

    def _let_in(self) -> None:
        while self._waiting and self._free:
            self._free -= 1
            heapq.heappop(self._waiting)[2].set()

    async def _answer(self, send: Any, tokens: int, *, stream: bool) -> None:
        usage = {"prompt_tokens": 20, "completion_tokens": tokens}
        last = {"choices": [{"index": 0, "text": "", "finish_reason": "length"}], "usage": usage}
        await asyncio.sleep(self._prefill)
        if not stream:
            await asyncio.sleep(tokens * self._pace)
            await _whole(send, json.dumps(last).encode(), b"application/json")
            return
        await send(_start(b"text/event-stream"))
        await send({"type": "http.response.body", "body": _FIRST, "more_body": True})
        await asyncio.sleep(tokens * self._pace)
        body = b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n"
        await send({"type": "http.response.body", "body": body})


def _start(kind: bytes) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}


async def _whole(send: Any, body: bytes, kind: bytes) -> None:
    await send(_start(kind))
    await send({"type": "http.response.body", "body": body})


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until killed; says where, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slot_engine", description=__doc__.partition("\n")[0])
    parser.add_argument("--places", type=int, default=8, metavar="N", help="requests that run at a time; default: 8")
    parser.add_argument("--pace", type=float, default=0.005, metavar="S", help="per output token; default: 0.005")
    parser.add_argument("--prefill", type=float, default=0.02, metavar="S", help="before the first; default: 0.02")
    parser.add_argument("--middleware", action="store_true", help="behind rankd_vllm.RankMiddleware")
    arguments = parser.parse_args(argv)
    app: Any = SlotEngine(arguments.places, arguments.pace, arguments.prefill)
    if arguments.middleware:
        from rankd_vllm import RankMiddleware

        app = RankMiddleware(app)
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    bound.listen(2048)
    print(json.dumps({"listen": f"127.0.0.1:{bound.getsockname()[1]}"}), file=sys.stderr, flush=True)
    config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", backlog=2048)
    asyncio.run(uvicorn.Server(config).serve([bound]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
