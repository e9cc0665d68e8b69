"""A burst of prompts before and after the daemon learned from others of their source, in a real vLLM, in engine steps.

usage: python -m engines.vllm.learned_bursts OUT.json [PROMPTS] [LEARNED]

Runs in vLLM's environment; DATA names a folder of rows. One real run of each order; and the same orders of several
draws in the simulator, which the real run is held against to the step.
"""

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rankd_client import Completed, Item, RankClient

from engines.vllm.in_process import SLOTS, add, engine_of, make_model, say, steps_of, tokens_of
from engines.vllm.measures import reach, summary, tau_b, times_better
from engines.vllm.prompts import rows_of
from engines.vllm.serving import Daemon, running
from engines.vllm.simulated import simulated

SOURCES = ("alpaca20k-seqsched__vicuna-7b", "halueval2__chatgpt", "alpaca52k__text-davinci-003", "flask__gpt4")
DRAWS = 5
AT_ONCE = 100
SHORT = 400
"""Characters of a prompt that is not cut."""


def rows(source):
    """Rows with a length of their own, and that of another sample where it is known."""
    found = rows_of(Path(os.environ["DATA"]) / f"{source}.jsonl.gz")
    return [
        {
            "prompt": r["prompt"],
            "output_tokens": min(r["output_tokens"], 1400),
            "other_sample": (r.get("samples") or {}).get("t0.7"),
        }
        for r in found
        if r["output_tokens"] and len(r["prompt"]) < 2000
    ]


def asked(client, some, name):
    """Scores (the ranker's own and the learned ones) and static keys of a burst, by row."""
    arrival = time.time()
    own, learned, keys = (np.full(len(some), np.nan) for _ in range(3))
    for ranked in client.rank([Item(r["prompt"], f"{name}-{i}", arrival=arrival) for i, r in enumerate(some)]):
        assert ranked.prediction is not None, ranked.reason
        own[ranked.index], keys[ranked.index] = ranked.prediction.score, ranked.serving_key
        if ranked.prediction.HasField("learned_score"):
            learned[ranked.index] = ranked.prediction.learned_score
    return own, learned, keys


def teach(client, some):
    """Rank others of the source, and report what they produced."""
    for start in range(0, len(some), AT_ONCE):
        part = some[start : start + AT_ONCE]
        ranked = client.rank([Item(r["prompt"], f"learn-{start + i}") for i, r in enumerate(part)])
        done = [Completed(r.request_id, r.prediction, part[r.index]["output_tokens"]) for r in ranked]
        result = client.report(done, timeout=30)
        assert result.accepted == len(part), result
        time.sleep(0.2)  # as it would take time to serve them
    time.sleep(2)


def drawn(source, model, seed, count, learned):
    """One draw: a burst, and the keys that it is served by before and after learning."""
    everything = rows(source)
    random.Random(seed).shuffle(everything)
    burst, others = everything[:count], everything[count : count + learned]
    burst.sort(key=lambda r: len(r["prompt"]) > SHORT)  # tokens_of checks the first one, whole
    with running(Daemon()) as daemon, RankClient(daemon.target, timeout=120, model=source) as client:
        own, _, before = asked(client, burst, "before")
        teach(client, others)
        _, found, after = asked(client, burst, "after")
        in_use = not np.isnan(found).any()
    lengths = [r["output_tokens"] for r in burst]
    orders = {"arrival": None, "bundled": before, "learned": after, "true lengths": lengths}
    if all(r["other_sample"] for r in burst):
        orders["another sample"] = [r["other_sample"] for r in burst]
    facts = {"learned from": len(others), "in use": in_use, "tau": round(tau_b(own, lengths), 3)}
    facts["learned tau"] = round(tau_b(found, lengths), 3) if in_use else None
    return burst, tokens_of(burst, model), orders, facts


def figures(burst, steps):
    """What is judged of every order."""
    lengths = [r["output_tokens"] for r in burst]
    out = {name: summary(taken, lengths) for name, taken in steps.items()}
    best = "another sample" if "another sample" in out else "true lengths"
    for name in ("bundled", "learned"):
        out[name]["share"] = reach(out["arrival"], out[name], out[best])
        out[name]["times better per token"] = times_better(out["arrival"], out[name])
    return out | {"share of": best}


def main(target, count="500", learned="2000"):
    """All of it."""
    out = {"slots": SLOTS, "prompts": int(count)}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(folder, hidden=64, layers=1)
        engine = engine_of(model)
        for source in SOURCES:
            draws = []
            for seed in range(DRAWS):
                burst, tokens, orders, facts = drawn(source, model, seed, int(count), int(learned))
                steps = {n: simulated(burst, [len(t) for t in tokens], keys=keys) for n, keys in orders.items()}
                if seed == 0:
                    for name, keys in orders.items():
                        add(engine, burst, tokens, None if keys is None else lambda n, keys=keys: int(keys[n]))
                        assert np.array_equal(steps_of(engine, burst), steps[name]), "simulated in other steps"
                draws.append(facts | figures(burst, steps))
                say(source, seed, facts, {n: draws[-1][n]["share"] for n in ("bundled", "learned")})
            shares = {n: [d[n]["share"] for d in draws] for n in ("bundled", "learned")}
            summary_of = {n: [round(float(f(s)), 3) for f in (np.median, min, max)] for n, s in shares.items()}
            say(source, "share of", draws[0]["share of"], summary_of)
            out[source] = {"shares: median, least, most": summary_of, "draws": draws}
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
