"""rankd in transformers' continuous batching on real prompts, counted in iterations. Runs in .venv (make setup-train).

usage: python -m engines.transformers.continuous_batching OUT.json [--prompts 300] [--offline 1000]
           [--fitted RANKER_DIRECTORY]

Real prompts and lengths from the folder that DATA names, made-up ones where it is not set. Answers end with an
end-of-text token at their real length: nobody is told it. Iterations do not depend on the machine; seconds do.
"""

import argparse
import json
import os
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DAEMON_PYTHON", sys.executable)
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import rankd_transformers
import torch
from rankd_client import RankClient
from support.stepped_transformers import EOS, Ended, Engine, tiny_model
from transformers import PreTrainedTokenizerFast
from transformers.generation.continuous_batching.scheduler import SCHEDULER_MAPPING, FIFOScheduler

from engines.vllm.measures import summary, tau_b
from engines.vllm.prompts import workload
from engines.vllm.serving import Daemon, running
from engines.vllm.tiny_model import _tokenizer

MOST, LONGEST_PROMPT = 1500, 500
"""Tokens: of an answer, as every request says, and of a prompt."""
ROOM = {"num_blocks": 128, "page_size": 256, "max_batch_tokens": 512}
ORDER = "static"


class Static(FIFOScheduler):
    """Serves those that wait by a number that was given each of them: what an oracle would do."""

    keys: ClassVar = {}

    def _get_waiting_candidates(self):
        return sorted(self.waiting_requests.values(), key=lambda state: self.keys[state.request_id])


def say(*words):
    """Progress, on the terminal."""
    print(f"[{time.strftime('%H:%M:%S')}]", *words, file=sys.stderr, flush=True)


def send(engine, rows):
    """All at once."""
    for number, row in enumerate(rows):
        engine.add(str(number), row["tokens"], MOST, EOS)


def scored(engine, count, seconds=300):
    """Let them arrive, and wait for all scores and for rules."""
    engine.arrive()
    scores, end = engine.scheduler._ranking.scores, time.monotonic() + seconds
    while len(scores.new_predictions) < count or scores.rules(time.monotonic()).policy.value == "fcfs":
        assert time.monotonic() < end, "no scores came"
        time.sleep(0.05)


def served(model, scheduler, rows, slots, *, wait=True):
    """Serve a burst; gives figures in iterations and seconds, and the engine."""
    lengths = [row["output_tokens"] for row in rows]
    with Ended({str(number): length for number, length in enumerate(lengths)}):
        engine = Engine(model, scheduler, slots=slots, **ROOM)
        send(engine, rows)
        if wait and getattr(engine.scheduler, "_ranking", None) is not None:
            scored(engine, len(rows))
        done, began, step = {}, time.perf_counter(), engine.step

        def stepped():
            step()
            for name in engine.finished.keys() - done.keys():
                done[name] = time.perf_counter() - began

        engine.step = stepped
        engine.run()
    for number, length in enumerate(lengths):
        assert len(engine.outputs[str(number)].generated_tokens) == length, "a token is missing"
    names = [str(number) for number in range(len(rows))]
    out = {
        "iterations": summary([engine.finished[n] for n in names], lengths),
        "seconds": summary([done[n] for n in names], lengths),
        "first_token": summary([engine.first[n] for n in names], np.ones(len(names))),
        "total_iterations": engine.iterations,
    }
    for figures in (out["first_token"],):
        for name in ("per_token_mean", "per_token_p90"):
            figures.pop(name)
    return out, engine


def orders(model, rows, slots, types):
    """A burst in arrival order, as ranked, by true lengths, another sample's, and the longest first."""
    lengths = [row["output_tokens"] for row in rows]
    out = {}
    known = {"oracle": lengths, "reversed": [-n for n in lengths]}
    if all(row.get("other_sample") for row in rows):
        known["other_sample"] = [row["other_sample"] for row in rows]
    for name, scheduler in {"fcfs": "fifo", **types}.items():
        out[name], _ = served(model, scheduler, rows, slots, wait=name != "ranked_live")
        say(name, out[name]["iterations"])
    for name, keys in known.items():
        Static.keys = {str(number): key for number, key in enumerate(keys)}
        out[name], _ = served(model, ORDER, rows, slots)
        say(name, out[name]["iterations"])
    means = {name: figures["iterations"]["mean"] for name, figures in out.items()}
    for best in known.keys() - {"reversed"}:
        out[f"share_of_gain_of_{best}"] = {
            name: round((means["fcfs"] - means[name]) / (means["fcfs"] - means[best]), 3) for name in types
        }
    return out


def offline(model, rows, slots, types):
    """Iterations, and seconds, until shares of the samples are there."""
    out = {}
    Static.keys = {str(number): row["output_tokens"] for number, row in enumerate(rows)}
    for name, scheduler in {"fcfs": "fifo", **types, "oracle": ORDER}.items():
        _, engine = served(model, scheduler, rows, slots)
        ends = sorted(engine.finished.values())
        out[name] = {
            share: ends[round(float(share) * len(ends)) - 1] for share in ("0.1", "0.25", "0.5", "0.75", "0.9", "1")
        }
        say("offline", name, out[name])
    for name in [*types, "oracle"]:
        out[f"first_quarter_{name}"] = round(out["fcfs"]["0.25"] / out[name]["0.25"], 2)
    return out


def overhead(model, rows, slots, types):
    """What ``schedule_batch`` takes with 1,000 waiting, microseconds of processor time."""
    out = {}
    for name, scheduler in {"fifo": "fifo", **types}.items():
        engine = Engine(model, scheduler, slots=slots, **ROOM)
        send(engine, [rows[i % len(rows)] for i in range(1000 + slots)])
        if scheduler == "fifo":
            engine.arrive()
        else:
            scored(engine, 1000 + slots)
        taken, schedule = [], engine.scheduler.schedule_batch

        def timed(*budgets, taken=taken, schedule=schedule):
            start = time.thread_time_ns()
            result = schedule(*budgets)
            taken.append((time.thread_time_ns() - start) / 1000)
            return result

        engine.scheduler.schedule_batch = timed
        for _ in range(300):
            engine.step()
        full = taken[50:]
        admitting = []
        for _ in range(60):  # one leaves, one is admitted
            engine.manager.cancel_request(next(iter(engine.scheduler.active_requests)))
            engine.step()
            admitting.append(taken[-1])
        out[name] = {
            "waiting": len(engine.scheduler.waiting_requests),
            "full_p50": round(float(np.median(full)), 1),
            "full_p99": round(float(np.percentile(full, 99)), 1),
            "admitting_p50": round(float(np.median(admitting)), 1),
        }
        say("overhead", name, out[name])
    return out


def constant(rows, slots, scheduler, rounds=5):
    """One prompt for all, so one score: processor time of a run, threads included, over that of transformers' own.

    With a model that is slow enough for the answer to mean something.
    """
    model = tiny_model(hidden=256, layers=6, vocabulary=1024)
    same = [dict(row, tokens=rows[0]["tokens"]) for row in rows]
    taken = {"fifo": [], scheduler: []}
    for turn in range(rounds + 1):
        for name, times in taken.items():
            start = time.process_time()
            _, engine = served(model, name, same, slots, wait=False)
            if turn:  # the first warms up
                times.append(time.process_time() - start)
    ratios = np.array(taken[scheduler]) / np.array(taken["fifo"])
    out = {
        "processor_time_ratio": round(float(np.median(ratios)), 4),
        "ratios": [round(float(r), 4) for r in ratios],
        "ms_per_iteration": round(1000 * float(np.median(taken["fifo"])) / engine.iterations, 3),
    }
    say("constant score", out)
    return out


@contextmanager
def serving_ranked(tokenizer, **types):
    """Daemons of their own for scheduler types, by name; gives the first."""
    with ExitStack() as stack:
        daemons = [stack.enter_context(running(Daemon(**settings))) for settings in types.values()]
        for name, daemon in zip(types, daemons, strict=True):
            settings = rankd_transformers.IntegrationSettings(target=daemon.target)
            stack.callback(rankd_transformers.register(tokenizer, settings=settings, name=name).close)
        yield daemons[0]


def learnt(daemon, engine, rows, seconds=15):
    """What the daemon made of the reports, and tau of the run's own records."""
    lengths = {str(number): row["output_tokens"] for number, row in enumerate(rows)}
    with RankClient(daemon.target, timeout=60) as client:
        ranked = client.rank([row["text"] for row in rows])
        scores = {str(r.index): r.score for r in ranked}
        end = time.monotonic() + seconds
        while client.quality().qualities[0].window_size < len(rows):
            assert time.monotonic() < end, "completions were not reported"
            time.sleep(0.2)
        quality = client.quality().qualities[0]
    own = tau_b([scores[n] for n in lengths], list(lengths.values()))
    out = {"completions": quality.completions, "tau": round(quality.finished_tau.value, 4), "own_tau": round(own, 4)}
    assert abs(quality.finished_tau.value - own) < 0.01, "the daemon learnt something else than what happened"
    say("reports", out, engine.iterations, "iterations")
    return out


def main():
    """All of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--offline", type=int, default=1000)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument(
        "--fitted", default="", help="directory of a ranker that was fitted to other rows of the source"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    SCHEDULER_MAPPING[ORDER] = Static
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_tokenizer(), eos_token="</s>", unk_token="<unk>")
    rows, source = workload(max(options.prompts, options.offline), seed=3)
    for row in rows:
        row["tokens"] = tokenizer.encode(row["prompt"])[:LONGEST_PROMPT]
        row["text"] = tokenizer.decode(row["tokens"], skip_special_tokens=True)
    assert rows[0]["text"] == rows[0]["prompt"], "what the ranker reads is not the prompt"
    model = tiny_model(hidden=64, layers=2, vocabulary=1024)
    burst = rows[: options.prompts]
    out = {"prompts": len(burst), "offline_prompts": options.offline, "source": source, "slots": options.slots}
    with serving_ranked(tokenizer, ranked={}) as daemon:
        _, engine = served(model, "ranked", burst, options.slots)
        out["reports"] = learnt(daemon, engine, burst)
        out["overhead"] = overhead(model, burst, options.slots, {"ranked": "ranked"})
    with serving_ranked(tokenizer, ranked={}):
        # Its scores say nothing, which its guard would notice.
        out["constant_score"] = constant(burst[:40], options.slots, "ranked")
    fitted = {"fitted": {"ranker": options.fitted}} if options.fitted else {}
    with serving_ranked(tokenizer, ranked={}, ranked_score={"RANKD_ORDER__POLICY": "score"}, **fitted):
        types = {"ranked": "ranked", "ranked_score": "ranked_score"} | {name: name for name in fitted}
        out["burst"] = orders(model, burst, options.slots, types | {"ranked_live": "ranked"})
    with serving_ranked(tokenizer, ranked={}, ranked_score={"RANKD_ORDER__POLICY": "score"}, **fitted):
        out["offline"] = offline(model, rows[: options.offline], options.slots, types)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(out, indent=1) + "\n")
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
