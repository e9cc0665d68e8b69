"""A small ASGI application in the place of vLLM, and a client of it: what came in and what goes out, byte by byte."""

import asyncio
import json

CHUNKS = [b'data: {"text": "one"}\n\n', b"data: \xff\xfe raw\n\n", b"data: [DONE]\n\n"]


class Engine:
    """Reads a request, answers in three chunks, and keeps what it saw."""

    def __init__(self, answer=CHUNKS):
        self.scopes, self.bodies, self.receives, self.gone = [], [], [], 0
        self._answer = answer

    async def __call__(self, scope, receive, send):
        self.scopes.append(scope)
        self.receives.append(receive)
        if scope["type"] != "http":
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone += 1
                return
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        self.bodies.append(body)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for chunk in self._answer:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def header(self, name, at=-1):
        """All values of a header of a request that arrived."""
        return [value for key, value in self.scopes[at]["headers"] if key.lower() == name]

    def priority(self, at=-1):
        """The priority that vLLM would take from the header."""
        (value,) = self.header(b"x-vllm-priority", at)
        return int(value)


def scope_of(path="/v1/completions", headers=(), *, method="POST", kind="http", json_body=True, **more):
    """A connection's scope as uvicorn makes it."""
    headers = [(b"content-type", b"application/json")] * json_body + list(headers)
    return {"type": kind, "method": method, "path": path, "root_path": "", "headers": headers} | more


def messages_of(body, chunk=1 << 16, *, whole=True):
    """A body as messages; without its end, then the client is gone."""
    parts = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]
    messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if whole:
        messages[-1]["more_body"] = False
    return [*messages, {"type": "http.disconnect"}]


class Receiver:
    """An ASGI receive that counts what was taken."""

    def __init__(self, messages):
        self._messages, self.taken = list(messages), 0

    async def __call__(self):
        self.taken += 1
        return self._messages.pop(0)


async def post(app, body, path="/v1/completions", headers=(), **options):
    """Send a body (bytes, or what becomes JSON); gives the messages of the answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = []

    async def send(message):
        sent.append(message)

    await app(scope_of(path, headers), Receiver(messages_of(data, **options)), send)
    return sent


def run(coroutine):
    """Run on a loop of its own."""
    return asyncio.run(asyncio.wait_for(coroutine, 60))
