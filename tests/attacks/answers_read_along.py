"""Answers of every shape, compressed in every way, cut at random: what is read along changes none of them.

Every byte must reach the client as the engine sent it, nothing may fail inside the proxy, and its memory stays flat.
``python -m attacks.answers_read_along [ANSWERS] [SEED]``.
"""

import asyncio
import gzip
import json
import logging
import random
import resource
import sys
import tempfile
import zlib
from pathlib import Path

import structlog
from support.daemon import Daemon
from support.fake_engine import Client, Through, Upstream
from support.tiny_ranker import make_artifact

ROUTES = {b"/v1/completions": "prompt", b"/v1/chat/completions": "messages", b"/v1/responses": "input"}
PIECES = [
    b"data:", b"data: ", b"\n", b"\r", b"\r\n", b"\n\n", b": ping\n\n", b"event: x\n", b"[DONE]", b"\xef\xbb\xbf",
    b"\0{", b'{"choices":[{"finish_reason":"stop"}]}', b'{"choices":[],"usage":{"completion_tokens":7}}',
    b'{"error":{}}',
    b'{"response":{"status":"completed","usage":{"output_tokens":7}}}', b"x" * 5000,
]  # fmt: skip
KINDS = [b"text/event-stream", b"application/json", b"text/plain", b""]
CODINGS = [b"", b"gzip", b"deflate", b"gzip, gzip", b"br", b"identity"]
DAMAGE = [b"", b"damage", gzip.compress(b"0" * 5_000_000)]
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: %s\r\nContent-Encoding: %s\r\n\r\n"


def text_of(chance):
    """An answer's text: JSON, or what events are made of."""
    if chance.random() < 0.2:
        return json.dumps({"choices": [{"finish_reason": "stop"}], "usage": {"completion_tokens": 3}}).encode()
    parts = [chance.choice(PIECES) for _ in range(chance.randrange(60))]
    return b"".join(parts) * chance.choice([1, 1, 1, 50])


def packed(text, chance):
    """What Content-Encoding says, true or not, and the text in it, whole or damaged."""
    coding = chance.choice(CODINGS)
    for name in coding.split(b", "):
        text = gzip.compress(text, 1) if name == b"gzip" else zlib.compress(text) if name == b"deflate" else text
    if coding and chance.random() < 0.2:
        text = text[: chance.randrange(len(text) + 1)] + chance.choice(DAMAGE)
    return coding, text


def answers_of(chance, many):
    """Content-Type, Content-Encoding, bytes, and where they are cut."""
    for _ in range(many):
        coding, text = packed(text_of(chance), chance)
        cuts = sorted(chance.randrange(len(text) + 1) for _ in range(chance.randrange(8)))
        yield chance.choice(KINDS), coding, text, cuts


def answering(answers):
    """An engine that answers the n-th request by the n-th answer."""

    async def answer(seen, _reader, writer):
        kind, coding, text, cuts = answers[int(seen.values(b"x-number")[0])]
        writer.write(HEAD % (kind, coding))
        for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            if begin < end:
                writer.write(b"%x\r\n%s\r\n" % (end - begin, text[begin:end]))
                await writer.drain()
        writer.write(b"0\r\n\r\n")

    return answer


def body_of(route, chance):
    """A request that is ranked."""
    name = ROUTES[route]
    prompt = [{"role": "user", "content": "a short answer"}] if name == "messages" else "a short answer"
    return json.dumps({name: prompt, "stream": chance.random() < 0.5, "model": chance.choice("abc")}).encode()


async def changed(port, answers, chance):
    """Numbers of the answers that came otherwise than they were sent."""
    wrong = []
    async with Client(port) as client:
        for number, (_, _, text, _) in enumerate(answers):
            route = chance.choice(list(ROUTES))
            await client.send(body_of(route, chance), route, fields=[(b"X-Number", b"%d" % number)])
            _, _, got = await client.answer()
            if (b"".join(got) if isinstance(got, list) else got) != text:
                wrong.append(number)
    return wrong


def main():
    """So many answers, by a seed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    chance = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    answers = list(answers_of(chance, many))
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(ranker=make_artifact(Path(folder) / "tiny"))
        engine = Upstream(answering(answers))
        proxy = Through(engine.url, daemon.target, asking={"max_body_bytes": 100_000})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        wrong = asyncio.run(changed(proxy.port, answers, chance))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        outcomes, causes = proxy.counts("answers"), proxy.counts("no_usage", "cause")
        proxy.stop()
        engine.close()
        daemon.stop()
    print(f"{many} answers: {len(wrong)} changed, outcomes {outcomes}, without a length {causes}, {grown:.0f} MiB more")
    bad = bool(wrong) or set(outcomes) != {"2xx"} or grown > 64
    print(f"FAILED: {wrong[:5]}" if bad else "held")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
