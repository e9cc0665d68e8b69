"""`rankd proxy` before a real vLLM server without any plug-in. Runs in vLLM's own environment: `make engines`.

usage: python -m engines.vllm.behind_proxy OUT.json [PROMPTS]

Every check that fails ends the run. Seconds depend on the machine; that requests finish, and what they hold, does not.
"""

import json
import re
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import httpx

from engines.vllm.http_server import STREAMS, WAIT, orders, reported, say
from engines.vllm.prompts import workload
from engines.vllm.serving import Daemon, Proxy, Server, running
from engines.vllm.tiny_model import make_model


def counted(page, name):
    """Counters of a metrics page by outcome."""
    return {k: int(float(v)) for k, v in re.findall(rf'^{name}_total{{outcome="([^"]+)"}} (\S+)', page, re.MULTILINE)}


def page_of(url):
    """The text of a page."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def endpoints(proxy, server):
    """Streamed and whole answers of each endpoint come through; an error is vLLM's own, byte by byte."""
    with httpx.Client(base_url=proxy.url, timeout=120) as client:
        for path, body in STREAMS:
            for stream in (True, False):
                answer = client.post(path, json={"model": "tiny", "stream": stream} | body)
                answer.raise_for_status()
                assert "usage" in answer.text, path
        wrong = {"model": "nobody", "prompt": "x"}
        with httpx.Client(base_url=server.url) as direct:
            one, other = client.post("/v1/completions", json=wrong), direct.post("/v1/completions", json=wrong)
        assert (one.status_code, one.content) == (other.status_code, other.content)


def abandoned(proxy, server):
    """Seconds from when a client hangs up within a stream until vLLM runs nothing any more."""
    body = {"model": "tiny", "prompt": "x", "max_tokens": 1900, "ignore_eos": True, "stream": True}
    with httpx.Client(timeout=60) as client, client.stream("POST", proxy.url + "/v1/completions", json=body) as answer:
        next(answer.iter_raw())
        assert running_now(server) == 1
    began = time.monotonic()
    while running_now(server):
        assert time.monotonic() - began < 3, "vLLM goes on for a client that is gone"
        time.sleep(0.02)
    return time.monotonic() - began


def running_now(server):
    """Requests that vLLM runs."""
    return int(float(re.search(r"^vllm:num_requests_running{[^}]*} (\S+)", server.get("/metrics"), re.MULTILINE)[1]))


def main(target, count="120"):
    """All of it."""
    rows, source = workload(int(count), seed=5)
    out = {"prompts": len(rows), "source": source, "slots": 8}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model", hidden=256, layers=4)
        with running(Daemon()) as daemon, running(Server(model, "--enable-force-include-usage")) as server:
            with running(Proxy(server.url, daemon.target, "--timeout", WAIT, RANKD_MODEL="tiny")) as proxy:
                assert proxy.direction == "lower-first", "vLLM was not recognised"
                endpoints(proxy, server)
                out["abandoned_s"] = abandoned(proxy, server)
                say("abandoned", out["abandoned_s"])
            with running(Proxy(server.url, daemon.target, "--timeout", WAIT)) as proxy:
                out["orders"] = orders(proxy, daemon, rows)
                out["reported"] = reported(daemon, rows)
                page = page_of(proxy.metrics + "/metrics")
                out["requests"], out["reports"] = (counted(page, f"rankd_proxy_{n}") for n in ("requests", "reports"))
                assert out["requests"]["ranked"] == 2 * len(rows), out["requests"]
                say(out["reported"], out["requests"], out["reports"])
    Path(target).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
