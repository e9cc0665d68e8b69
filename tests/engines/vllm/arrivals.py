"""Poisson arrivals, drawn in engine steps, in a real vLLM under the default policy. Runs in vLLM's environment.

usage: python -m engines.vllm.arrivals OUT.json LOAD [SEEDS] [REQUESTS]

Patience is in seconds, so that steps must have a length: each is held to ``PACE`` seconds of real time, and daemon,
plug-in and reports live in that time. Latencies are counted in steps. Arrival order and true lengths need no time: they
come from the simulator, which is held against vLLM here too. ``FITTED`` names a ranker beside the bundled one, which
``BUNDLED=no`` leaves out; with ``STATIC=yes`` a key that is given once is run beside RankScheduler.
"""

import functools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rankd_client import Item, RankClient
from rankd_client.integration import StoredPrediction

from engines.vllm.bursts import RANKERS
from engines.vllm.in_process import OURS, SLOTS, add, engine_of, make_model, say, scheduler_of, tokens_of
from engines.vllm.measures import reach, summary
from engines.vllm.prompts import workload
from engines.vllm.serving import Daemon, running
from engines.vllm.simulated import simulated

PACE = float(os.environ.get("PACE", "0.006"))
"""Seconds of a step."""


def drawn(load, seed, count):
    """Rows, and the steps in which they arrive, at a load of all slots' capacity."""
    everything, source = workload(None, seed=seed)
    rows = (everything * (count // len(everything) + 1))[:count]
    mean = np.mean([row["output_tokens"] for row in rows])
    gaps = np.random.default_rng(seed).exponential(mean / SLOTS / load, count)
    return rows, np.floor(np.cumsum(gaps)).astype(int), source


def served(engine, rows, tokens, arrival, *, pace=0.0, priority=None):
    """Serve rows as they arrive; gives latencies in steps, and the seconds that a step took at the mean."""
    last, come, now, late = np.zeros(len(rows), int), 0, 0, 0.0
    start = began = time.monotonic()
    while come < len(rows) or engine.has_unfinished_requests():
        if not engine.has_unfinished_requests():
            now = max(now, int(arrival[come]))
        late += _until(start + now * pace + late)
        while come < len(rows) and arrival[come] <= now:
            add(engine, rows[come : come + 1], tokens[come : come + 1], priority, first=come)
            come += 1
        now += 1
        for output in engine.step():
            if output.finished:
                number = int(output.request_id)
                last[number] = now
                assert len(output.outputs[0].token_ids) == rows[number]["output_tokens"], "a token is missing"
    assert last.all(), "a request did not finish"
    return last - arrival, (time.monotonic() - began) / now


def _until(moment):
    """Sleep until then; gives by how many seconds it is past."""
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)
    return max(0.0, -left)


def every_iteration(model, rows, tokens, arrival):
    """RankScheduler."""
    engine = engine_of(model, OURS)
    latency, pace = served(engine, rows, tokens, arrival, pace=PACE)
    scheduler_of(engine).shutdown()
    return latency, pace


def once(model, rows, tokens, arrival, daemon):
    """A static key given at arrival, as the middleware gives it, and completions reported by the stat logger."""
    from rankd_vllm import stat_logger
    from rankd_vllm.middleware import PREDICTIONS
    from vllm import LLMEngine

    stat_logger.reporter.cache_clear()
    engine = engine_of(model, stat_loggers=[stat_logger.RankStatLogger])
    with RankClient(daemon.target, model=os.environ["RANKD_MODEL"], timeout=0.5) as client:

        def key(number):
            now = time.time()
            backlog = engine.get_num_unfinished_requests()
            item = Item(rows[number]["prompt"], f"{os.environ['RANKD_MODEL']}-{number}", arrival=now)
            (ranked,) = client.rank([item], backlog=backlog)
            if ranked.prediction is not None:
                PREDICTIONS.put(
                    str(number), StoredPrediction(ranked.request_id, ranked.prediction, now, ignore_eos=False)
                )
            return ranked.serving_key

        latency, pace = served(engine, rows, tokens, arrival, pace=PACE, priority=key)
    assert isinstance(engine, LLMEngine)
    return latency, pace


def policy_of(daemon):
    """What the daemon made of the run."""
    with RankClient(daemon.target, timeout=10) as client:
        report = client.quality()
        mine = next(p for p in report.policies if p.model == os.environ["RANKD_MODEL"])
        quality = next(q for q in report.qualities if q.model == os.environ["RANKD_MODEL"])
        return {"patience": round(mine.patience, 5), "completions": quality.completions}


def against(latency, fcfs, oracle, lengths):
    """The figures that are judged."""
    own = summary(latency, lengths)
    return own | {
        "gain": reach(fcfs, own, oracle),
        "p99_of_fcfs": round(own["p99"] / fcfs["p99"], 3),
        "max_of_fcfs": round(own["max"] / fcfs["max"], 3),
    }


def run(model, daemon, name, load, seed, rows, arrival):
    """One ranker on one draw, ordered at every iteration and once."""
    tokens, lengths = tokens_of(rows, model), [row["output_tokens"] for row in rows]
    simulate = functools.partial(simulated, rows, [len(t) for t in tokens], arrival)
    fcfs, oracle = summary(simulate(), lengths), summary(simulate(keys=lengths), lengths)
    out = {"ranker": name, "load": load, "seed": seed, "fcfs": fcfs, "oracle": oracle}
    os.environ["RANKD_TARGET"] = daemon.target
    serves = {"scheduler": every_iteration}
    if os.environ.get("STATIC") == "yes":
        serves["static"] = functools.partial(once, daemon=daemon)
    for how, serve in serves.items():
        os.environ["RANKD_MODEL"] = f"{how}-{seed}"
        latency, pace = serve(model, rows, tokens, arrival)
        out[how] = against(latency, fcfs, oracle, lengths) | {"seconds_per_step": round(pace, 5)}
        time.sleep(1)
        out[how] |= policy_of(daemon)
        say(load, name, seed, how, {k: out[how][k] for k in ("gain", "p99_of_fcfs", "max_of_fcfs", "patience")}, pace)
    return out


def main(target, load, seeds="5", count="1000"):
    """All of it."""
    out = {"load": float(load), "requests": int(count), "slots": SLOTS, "seconds_per_step": PACE, "runs": []}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(folder, hidden=64, layers=1)
        rows, arrival, out["source"] = drawn(float(load), 0, 200)
        tokens = tokens_of(rows, model)
        for keys in (None, [row["output_tokens"] for row in rows]):
            engine = engine_of(model)
            real, _ = served(engine, rows, tokens, arrival, priority=None if keys is None else keys.__getitem__)
            same = np.array_equal(real, simulated(rows, [len(t) for t in tokens], arrival, keys))
            assert same, "the simulator ends requests in other steps"
            del engine
        for name, ranker in RANKERS.items():
            if ranker and not (name == "bundled" and os.environ.get("BUNDLED") == "no"):
                with running(Daemon(ranker=ranker)) as daemon:
                    for seed in range(int(seeds)):
                        rows, arrival, _ = drawn(float(load), seed, int(count))
                        out["runs"].append(run(model, daemon, name, float(load), seed, rows, arrival))
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
