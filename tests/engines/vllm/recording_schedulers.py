"""For tests: what reached vLLM, written into the file that ``SEEN`` names, a line each."""

import hashlib
import json
import os
from pathlib import Path

from vllm.v1.core.sched.scheduler import Scheduler


def _note(**what):
    with Path(os.environ["SEEN"]).open("a") as file:
        print(json.dumps(what), file=file)


class SeenScheduler(Scheduler):
    """vLLM's own; notes the priority of each request that reaches the engine."""

    def add_request(self, request):
        _note(id=request.request_id, priority=request.priority)
        super().add_request(request)


class SeenMiddleware:
    """Between rankd's middleware and vLLM: notes digests of the bytes that go in and come out, by X-Request-Id."""

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked, answered = hashlib.sha256(), hashlib.sha256()
        name = dict(scope["headers"]).get(b"x-request-id", b"").decode()

        async def read():
            message = await receive()
            asked.update(message.get("body", b""))
            return message

        async def write(message):
            answered.update(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                _note(name=name, asked=asked.hexdigest(), answered=answered.hexdigest())
            await send(message)

        await self._app(scope, read, write)
