"""A burst of real prompts in a real vLLM, by every order, in engine steps. Runs in vLLM's environment: `make engines`.

usage: python -m engines.vllm.bursts OUT.json [PROMPTS]

Beside the bundled ranker the one that ``FITTED`` names is run, a directory. Every check that fails ends the run.
"""

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rankd_client import Item, RankClient

from engines.vllm.in_process import (
    OURS,
    SLOTS,
    add,
    engine_of,
    make_model,
    say,
    scored,
    steps_of,
    streams_on_a_cpu,
    tokens_of,
)
from engines.vllm.measures import reach, summary, tau_b, times_better
from engines.vllm.prompts import workload
from engines.vllm.serving import Daemon, running
from engines.vllm.simulated import simulated

SEED = 3
DRAWS = 12
RANKERS = {"bundled": "minilm-l6", "fitted": os.environ.get("FITTED", "")}


def asked(daemon, rows):
    """Scores and static keys of a burst, by row, as the daemon gives them."""
    arrival, scores, keys = time.time(), np.zeros(len(rows)), np.zeros(len(rows))
    with RankClient(daemon.target, timeout=60) as client:
        for ranked in client.rank([Item(r["prompt"], str(i), arrival=arrival) for i, r in enumerate(rows)]):
            assert ranked.prediction is not None
            scores[ranked.index], keys[ranked.index] = ranked.score, ranked.serving_key
    return scores, keys


def figures_of(steps, lengths):
    """What is judged, and percentiles for a picture."""
    return summary(steps, lengths) | {"curve": [round(float(v), 1) for v in np.percentile(steps, range(1, 100, 2))]}


def static(engine, rows, tokens, keys):
    """Serve a burst by keys, in arrival order where there are none."""
    add(engine, rows, tokens, None if keys is None else lambda n: int(keys[n]))
    return steps_of(engine, rows)


def by_scheduler(model, rows, tokens, daemon, tau, *, asynchronous=False):
    """RankScheduler with all scores there; what the daemon learned of the run is what happened."""
    os.environ["RANKD_TARGET"] = daemon.target
    os.environ["RANKD_MODEL"] = f"{asynchronous}"
    engine = engine_of(model, OURS.replace("Rank", "RankAsync") if asynchronous else OURS, asynchronous=asynchronous)
    add(engine, rows, tokens)
    scored(engine, len(rows))
    out = figures_of(steps_of(engine, rows), [row["output_tokens"] for row in rows])
    live = live_tau(daemon, len(rows), tau)
    return out | {"tau_live": round(live, 4), "tau_offline": round(tau, 4)}


def live_tau(daemon, count, tau):
    """What the daemon makes of a run once all is reported: it estimates now and then, and not at every look."""
    end, mine = time.monotonic() + 20, None
    with RankClient(daemon.target, timeout=10) as client:
        while time.monotonic() < end:
            found = [q for q in client.quality().qualities if q.model == os.environ["RANKD_MODEL"]]
            if found and (mine := found[0]).completions >= count and abs(mine.finished_tau.value - tau) < 0.01:
                return mine.finished_tau.value
            time.sleep(0.2)
    told = (mine.completions, mine.finished_tau) if mine else None
    raise AssertionError(f"of {count} requests with a tau of {tau:.4f} the daemon learned {told}")


def ranked(model, rows, tokens, ranker, out):
    """All that one ranker does: the static key, RankScheduler and RankAsyncScheduler."""
    lengths = [row["output_tokens"] for row in rows]
    with running(Daemon(ranker=ranker)) as daemon:
        scores, keys = asked(daemon, rows)
        tau = tau_b(scores, lengths)
        engine = engine_of(model)
        mine = {"static": figures_of(static(engine, rows, tokens, keys), lengths)}
        del engine
        mine["scheduler"] = by_scheduler(model, rows, tokens, daemon, tau)
        with streams_on_a_cpu():
            mine["asynchronous"] = by_scheduler(model, rows, tokens, daemon, tau, asynchronous=True)
        for name, figures in mine.items():
            figures["times_better_per_token"] = times_better(out["fcfs"], figures)
            figures |= {f"share_of_{best}": reach(out["fcfs"], figures, out[best]) for best in BEST if best in out}
            say(ranker, name, {k: v for k, v in figures.items() if k != "curve"})
        return mine | {"tau": round(tau, 4), "draws": draws(daemon, model)}


BEST = ("other_sample", "oracle")


def draws(daemon, model):
    """The same bursts drawn again and again, by score, in the simulator: what one draw cannot say."""
    everything, _ = workload(None, seed=0)
    scores = np.concatenate([asked(daemon, everything[i : i + 256])[0] for i in range(0, len(everything), 256)])
    prompt_tokens = [len(t) for t in tokens_of(everything, model)]
    rows = []
    for seed in range(DRAWS):
        some = random.Random(seed).sample(range(len(everything)), min(500, len(everything)))
        rows.append(_draw([everything[i] for i in some], [prompt_tokens[i] for i in some], scores[some]))
    return {name: [round(float(f([r[name] for r in rows])), 3) for f in (np.median, min, max)] for name in rows[0]}


def _draw(rows, prompt_tokens, scores):
    lengths = np.array([row["output_tokens"] for row in rows])
    fcfs, own = (summary(simulated(rows, prompt_tokens, keys=keys), lengths) for keys in (None, scores))
    per_token = times_better(fcfs, own)
    out = {"per_token_mean": per_token[0], "per_token_p90": per_token[1]}
    if rows[0].get("other_sample"):
        other = summary(simulated(rows, prompt_tokens, keys=[row["other_sample"] for row in rows]), lengths)
        out["share_of_other_sample"] = reach(fcfs, own, other)
    return out


def main(target, count="500"):
    """All of it."""
    rows, source = workload(int(count), seed=SEED)
    lengths = [row["output_tokens"] for row in rows]
    out = {"prompts": len(rows), "source": source, "slots": SLOTS}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(folder, hidden=64, layers=1)
        tokens = tokens_of(rows, model)
        engine = engine_of(model)
        orders = {"fcfs": None, "oracle": lengths, "reversed": [-length for length in lengths]}
        if all(row.get("other_sample") for row in rows):
            orders["other_sample"] = [row["other_sample"] for row in rows]
        for name, keys in orders.items():
            steps = static(engine, rows, tokens, keys)
            same = np.array_equal(steps, simulated(rows, [len(t) for t in tokens], keys=keys))
            assert same, "the simulator ends requests in other steps"
            out[name] = figures_of(steps, lengths)
            say(name, {k: v for k, v in out[name].items() if k != "curve"})
        del engine
        out["rankers"] = {name: ranked(model, rows, tokens, ranker, out) for name, ranker in RANKERS.items() if ranker}
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
