"""A daemon that misbehaves under a real vLLM, in process. Runs in vLLM's environment: `make engines`.

usage: python -m engines.vllm.faults OUT.json [PROMPTS]

In the middle of every run the daemon is frozen, thawed, slow, answers noise, answers wrong numbers, is killed, is
absent or comes back as another ranker. Every request must finish with every token. Every check that fails ends the run.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

from engines.vllm.faulty_relay import Odd
from engines.vllm.in_process import (
    OURS,
    add,
    engine_of,
    make_model,
    say,
    scheduler_of,
    scored,
    steps_of,
    streams_on_a_cpu,
    tokens_of,
)
from engines.vllm.measures import summary
from engines.vllm.prompts import workload
from engines.vllm.serving import Daemon, running

BACK = 10.0
"""Seconds within which requests must be ranked again."""
MIDDLE = 40
"""The step in which it happens."""


def counted():
    """What became of asking, by outcome."""
    from rankd_vllm.counters import REQUESTS

    samples = REQUESTS._counter.collect()[0].samples
    return Counter({s.labels["outcome"]: int(s.value) for s in samples if s.name.endswith("_total")})


def until_ranked(engine, rows, tokens):
    """Seconds until a new request is scored and the order is not that of arrival."""
    began, scheduler = time.monotonic(), scheduler_of(engine)
    while True:
        row = [rows[0] | {"output_tokens": 20}]
        add(engine, row, tokens[:1])
        engine.step()
        time.sleep(0.1)
        scheduler._prepare(time.monotonic())
        (request,) = scheduler.requests.values()
        ranked = request.request_id in scheduler._ranked.predictions and scheduler._ranked.rules.policy.value != "fcfs"
        steps_of(engine, row)
        if ranked:
            return round(time.monotonic() - began, 2)
        assert time.monotonic() - began < BACK, "not ranked again within 10 s"


def with_a_fault(engine, rows, tokens, happens, *, before=None):
    """One run in whose middle something happens; ``before`` it waits for scores."""
    counts = counted()
    add(engine, rows, tokens)
    if before is not None:
        before()
    out = summary(steps_of(engine, rows, at=(MIDDLE, happens)), [row["output_tokens"] for row in rows])
    return {"mean": out["mean"], "max": out["max"], "asked": dict(counted() - counts)}


def wrong_answers(engine, odd, rows, tokens):
    """Slow and garbled answers, from the beginning of a run and from its middle; ranked again after each."""
    out = {}
    for mode in ("slow", "noise", "wrong"):
        for when in ("at first", "in the middle"):
            odd.mode = mode if when == "at first" else "true"
            run = with_a_fault(
                engine, rows, tokens, lambda mode=mode: setattr(odd, "mode", mode),
                before=None if when == "at first" else lambda: scored(engine, len(rows)),
            )  # fmt: skip
            odd.mode = "true"
            run["back_s"] = until_ranked(engine, rows, tokens)
            out[f"{mode}, {when}"] = run
            say(mode, when, run)
    return out


def lost_daemons(engine, odd, daemon, rows, tokens):
    """Frozen, thawed, killed, absent, and back as another ranker."""
    out, others = {}, []

    def another():
        others.append(Daemon(ranker="ngram"))
        odd.retarget(others[0].target)

    try:
        for name, happens in {
            "frozen": lambda: daemon.send(signal.SIGSTOP),
            "thawed": lambda: daemon.send(signal.SIGCONT),
            "killed": daemon.kill,
            "absent": lambda: None,
            "another ranker": another,
        }.items():
            out[name] = with_a_fault(engine, rows, tokens, happens)
            say(name, out[name])
        out["another ranker"]["back_s"] = until_ranked(engine, rows, tokens)
        out["with it"] = with_a_fault(engine, rows, tokens, lambda: None, before=lambda: scored(engine, len(rows)))
        say("another ranker", out["another ranker"], out["with it"])
    finally:
        for other in others:
            other.kill()
    return out


def preempted(model, rows, tokens, *, asynchronous=False):
    """Too little memory for what runs: requests are preempted, all finish with all tokens."""
    engine = engine_of(
        model, OURS.replace("Rank", "RankAsync") if asynchronous else OURS, asynchronous=asynchronous,
        block_size=32, num_gpu_blocks_override=96, max_num_seqs=32,
    )  # fmt: skip
    scheduler, count = scheduler_of(engine), [0]
    preempt = scheduler._preempt_request

    def counting(*args, **kwargs):
        count[0] += 1
        return preempt(*args, **kwargs)

    scheduler._preempt_request = counting
    add(engine, rows, tokens)
    scored(engine, len(rows))
    steps_of(engine, rows)
    assert count[0] > 0, "nothing was preempted: the check says nothing"
    return count[0]


def main(target, count="120"):
    """All of it."""
    rows, source = workload(int(count), seed=3)
    out = {"prompts": len(rows), "source": source}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(folder, hidden=64, layers=1)
        tokens = tokens_of(rows, model)
        with running(Daemon()) as daemon, closing(Odd(daemon.target)) as odd:
            os.environ["RANKD_TARGET"] = daemon.target
            out["preemptions"] = preempted(model, rows[:100], tokens)
            with streams_on_a_cpu():
                out["preemptions_asynchronous"] = preempted(model, rows[:100], tokens, asynchronous=True)
            say("preemptions", out["preemptions"], out["preemptions_asynchronous"])
            os.environ["RANKD_TARGET"] = odd.target
            engine = engine_of(model, OURS)
            out["well"] = with_a_fault(engine, rows, tokens, lambda: None, before=lambda: scored(engine, len(rows)))
            say("well", out["well"])
            out |= wrong_answers(engine, odd, rows, tokens)
            out |= lost_daemons(engine, odd, daemon, rows, tokens)
            scheduler = scheduler_of(engine)
            left = (
                scheduler._ranked_ids,
                scheduler._started_at,
                scheduler._ranked.predictions,
                scheduler._ranked.classes,
            )
            assert not any(left), "requests that are gone are remembered"
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
