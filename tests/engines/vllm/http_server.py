"""rankd-vllm over HTTP, a real daemon behind a real vLLM server. Runs in vLLM's own environment: `make engines`.

usage: python -m engines.vllm.http_server OUT.json [PROMPTS]

Every check that fails ends the run. Seconds depend on the machine; that requests finish, and what they hold, does not.
"""

import asyncio
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rankd_client import RankClient

from engines.vllm.measures import summary, tau_b
from engines.vllm.prompts import workload
from engines.vllm.serving import Daemon, Server, running
from engines.vllm.tiny_model import make_model

WAIT = "3"
"""Seconds that a request may be held up by asking here: a burst is scored on one core that the engine wants too."""


def say(*words):
    """Progress, on the terminal."""
    print(f"[{time.strftime('%H:%M:%S')}]", *words, file=sys.stderr, flush=True)


def exactly(tokens):
    """Options that give an answer its length without telling it: to a ranker's user the true length would be told."""
    # The end of the text is forced as soon as it is allowed.
    return {"min_tokens": tokens - 1, "logit_bias": {"2": 100}, "max_tokens": 1500, "temperature": 0}


async def burst(url, rows, header=None, *, meanwhile=None):
    """Send all at once; gives seconds until each was answered. All of each answer's tokens must come."""
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=httpx.Limits(max_connections=None)) as client:

        async def one(row):
            start = time.monotonic()
            answer = await client.post(
                "/v1/completions",
                json={"model": "tiny", "prompt": row["prompt"]} | exactly(row["output_tokens"]),
                headers={"X-Vllm-Priority": str(header(row))} if header else {},
            )
            answer.raise_for_status()
            assert answer.json()["usage"]["completion_tokens"] == row["output_tokens"], "a token is missing"
            return time.monotonic() - start

        tasks = [asyncio.create_task(one(row)) for row in rows]
        if meanwhile is not None:
            await asyncio.sleep(1.5)
            await asyncio.to_thread(meanwhile)
        return await asyncio.gather(*tasks)


def policy_of(daemon):
    """The policy in force."""
    with RankClient(daemon.target, timeout=30) as client:
        return client.quality().policies[0]


def orders(server, daemon, rows):
    """Latencies by order, all on one server; a priority of the client is kept, so that it can set the others."""
    out = {}
    lengths = [row["output_tokens"] for row in rows]
    by_order = {
        "fcfs": lambda _: 0,
        "ranked_at_first": None,
        "ranked": None,
        "oracle": lambda row: row["output_tokens"],
        "reversed": lambda row: -row["output_tokens"],
    }
    for name, header in by_order.items():
        patience = policy_of(daemon).patience
        out[name] = summary(asyncio.run(burst(server.url, rows, header)), lengths) | {"patience": round(patience, 4)}
        say(name, out[name])
        time.sleep(1.5)  # until what ended is reported
    assert out["oracle"]["mean"] < out["fcfs"]["mean"] < out["reversed"]["mean"], "vLLM does not heed priorities"
    return out


def noted(path):
    """What was noted inside the server."""
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


STREAMS = [
    ("/v1/completions", {"prompt": "What is the capital of Portugal?", "max_tokens": 20}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Write a long story."}], "max_tokens": 20}),
    ("/v1/messages", {"messages": [{"role": "user", "content": "Write a long story."}], "max_tokens": 20}),
    ("/v1/responses", {"input": "Write a long story.", "max_output_tokens": 20, "request_id": "resp_same"}),
]


def streams(url, file):
    """Streamed and whole answers of each endpoint: what vLLM took and gave is what the client gave and got."""
    pairs = {}
    with httpx.Client(base_url=url, timeout=120) as client:
        for path, body in STREAMS:
            for stream in (True, False):
                name = f"{path}-{stream}"
                data = json.dumps({"model": "tiny", "stream": stream} | body, indent=1).encode()
                headers = {"X-Request-Id": name, "Content-Type": "application/json"}
                answer = client.post(path, content=data, headers=headers)
                answer.raise_for_status()
                pairs[name] = [hashlib.sha256(data).hexdigest(), hashlib.sha256(answer.content).hexdigest()]
    inside = {row["name"]: [row["asked"], row["answered"]] for row in noted(file) if row.get("name")}
    assert inside == pairs, "the middleware changed bytes"


def reported(daemon, rows):
    """What the daemon learned of a run, beside the tau of the run's own records."""
    with RankClient(daemon.target, timeout=30) as client:
        scores = {r.index: r.score for r in client.rank([row["prompt"] for row in rows])}
        end = time.monotonic() + 15
        while client.quality().qualities[0].completions < 2 * len(rows) and time.monotonic() < end:
            time.sleep(0.2)
        quality = client.quality().qualities[0]
        policy = client.quality().policies[0]
    twice = [*range(len(rows))] * 2
    offline = tau_b([scores[i] for i in twice], [rows[i]["output_tokens"] for i in twice])
    assert abs(quality.finished_tau.value - offline) < 0.01, "the daemon learned something else than what happened"
    return {"completions": quality.completions, "tau": quality.finished_tau.value, "tau_offline": offline,
            "mean_wait_s": policy.mean_wait, "tokens_per_s": policy.tokens_per_second}  # fmt: skip


def warned(model):
    """A server with the fcfs policy says once that priorities have no effect."""
    with running(Server(model, "--middleware", "rankd_vllm.RankMiddleware", policy="fcfs")) as server:
        asyncio.run(burst(server.url, [{"prompt": "What is rice?", "output_tokens": 1}] * 3))
        text = "".join(server.lines)
    assert text.count("--scheduling-policy priority") == 1, "the warning must come exactly once"


def ordered(model, rows, daemon):
    """RankScheduler in a server of several processes: it orders, reports, and the middleware steps aside."""
    ours = ("--middleware", "rankd_vllm.RankMiddleware", "--scheduler-cls", "rankd_vllm.RankScheduler")
    with running(Server(model, *ours, RANKD_TARGET=daemon.target, RANKD_MODEL="ordered")) as server:
        out = summary(asyncio.run(burst(server.url, rows)), [row["output_tokens"] for row in rows])
        assert "".join(server.lines).count("leaves requests alone") == 1
        with RankClient(daemon.target) as client:
            end = time.monotonic() + 15
            while not (mine := [q for q in client.quality().qualities if q.model == "ordered"]) or (
                mine[0].completions < len(rows)
            ):
                assert time.monotonic() < end, "completions were not reported"
                time.sleep(0.2)
    say("ordered by RankScheduler", out)
    return out


def main(target, count="120"):
    """All of it."""
    rows, source = workload(int(count), seed=5)
    out = {"prompts": len(rows), "source": source, "slots": 8}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model", hidden=256, layers=4)
        say("a server with rankd")
        file = Path(folder) / "seen.jsonl"
        seen = "engines.vllm.recording_schedulers"
        middleware = ("--middleware", f"{seen}.SeenMiddleware", "--middleware", "rankd_vllm.RankMiddleware")
        ours = (*middleware, "--scheduler-cls", f"{seen}.SeenScheduler")
        with running(Daemon()) as daemon:
            environment = {"RANKD_TARGET": daemon.target, "RANKD_TIMEOUT": WAIT, "SEEN": str(file)}
            with running(Server(model, *ours, **environment)) as server:
                streams(server.url, file)
                out["orders"] = orders(server, daemon, rows)
                keys = [row["priority"] for row in noted(file) if "priority" in row]
                ours_count = sum(key > 1e12 for key in keys)
                assert ours_count == 2 * (len(rows) + len(STREAMS)), "a request came without its priority"
                out["outcomes"] = server.outcomes()
                say("outcomes", out["outcomes"])
                out["reports"] = reported(daemon, rows)
                say("reports", out["reports"])
        say("a server with RankScheduler")
        with running(Daemon()) as daemon:
            out["scheduler"] = ordered(model, rows, daemon)
        say("a server with the fcfs policy")
        warned(model)
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
