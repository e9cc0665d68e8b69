"""A daemon that misbehaves behind a real vLLM server. Runs in vLLM's own environment: `make engines`.

usage: python -m engines.vllm.http_faults OUT.json [PROMPTS]

In the middle of bursts it is slow, answers noise, answers wrong numbers, is frozen, is killed, and comes back as
another ranker. Every request must finish with every token, and be ranked again within ten seconds of the end of it.
Every check that fails ends the run.
"""

import asyncio
import json
import signal
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from engines.vllm.faulty_relay import Odd
from engines.vllm.http_server import burst, say
from engines.vllm.measures import summary
from engines.vllm.prompts import workload
from engines.vllm.serving import Daemon, Server, running
from engines.vllm.tiny_model import make_model

BACK = 10.0
"""Seconds within which requests must be ranked again."""
TIMEOUT = "0.5"
"""Seconds that a request may be held up by asking: a burst is scored on a core that the engine wants too."""


def until_ranked(server):
    """Seconds until a request is ranked again."""
    began, before = time.monotonic(), server.counted("rankd_engine_requests", "ranked")
    while server.counted("rankd_engine_requests", "ranked") == before:
        assert time.monotonic() - began < BACK, "not ranked again within 10 s"
        asyncio.run(burst(server.url, [{"prompt": "What is rice?", "output_tokens": 1}]))
        time.sleep(0.1)
    return round(time.monotonic() - began, 2)


def with_a_fault(server, rows, happens, mended):
    """A burst in whose middle something happens, a smaller one under it, and how soon it is over once mended."""
    before = server.outcomes()
    seconds = asyncio.run(burst(server.url, rows, meanwhile=happens))
    asyncio.run(burst(server.url, rows[:20]))
    for _ in range(5):
        asyncio.run(burst(server.url, rows[:1]))
    out = {"mean_s": summary(seconds, [1] * len(rows))["mean"], "asked": dict(server.outcomes() - before)}
    mended()
    out["back_s"] = until_ranked(server)
    return out


def faults(server, odd, daemon, rows):
    """One after the other."""
    out, others = {}, []

    def another():
        others.append(Daemon(ranker="ngram"))
        odd.retarget(others[0].target)

    def say_so(mode):
        return lambda: setattr(odd, "mode", mode)

    faults = {name: (say_so(name), say_so("true")) for name in ("slow", "noise", "wrong")}
    faults["frozen"] = lambda: daemon.send(signal.SIGSTOP), lambda: daemon.send(signal.SIGCONT)
    faults["killed, then another ranker"] = daemon.kill, another
    try:
        for name, (happens, mended) in faults.items():
            out[name] = with_a_fault(server, rows, happens, mended)
            say(name, out[name])
        assert out["killed, then another ranker"]["asked"]["circuit_open"] >= 5, (
            "requests waited for who was known gone"
        )
    finally:
        for other in others:
            other.kill()
    return out


def main(target, count="60"):
    """All of it."""
    rows, source = workload(int(count), seed=5)
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model", hidden=128, layers=2)
        with running(Daemon()) as daemon, closing(Odd(daemon.target)) as odd:
            ours = ("--middleware", "rankd_vllm.RankMiddleware")
            with running(Server(model, *ours, RANKD_TARGET=odd.target, RANKD_TIMEOUT=TIMEOUT)) as server:
                out = {"prompts": len(rows), "source": source, "faults": faults(server, odd, daemon, rows)}
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
