"""A burst of long and short prompts in a real vLLM, in seconds: by arrival, by expected output, by expected work.

usage: python -m engines.vllm.work_order OUT.json [ROUNDS] [REQUESTS] [RANKER]

Runs in vLLM's environment: `make engines FULL=--full`. Prompts of 64 to 4,096 tokens take real time here, eight
requests run at once, and prompts are read in chunks of 512 tokens. Engines of one process take turns at the same burst,
each with a daemon of its own, and every round has another burst; ratios are those of a round, so that a machine that
gets slower over the run makes no difference. Two bursts that do not count go before, of which daemons learn: what
prompts cost, how much patience pays.

The daemon's ranker is real and reads the prompts. Answers are made up: their lengths are drawn so that their Kendall's
tau with the ranker's scores is .5, as that of a ranker which was fitted to the traffic, and they end by themselves:
nobody is told how long they get. `output_mean` orders by expected output alone (`order.prompt_cost` 0).

Beside seconds there are those of processor time of the engine's thread, which other programs of the machine take
nothing of.
"""

import functools
import json
import math
import os
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from rankd_client import Item, RankClient

from engines.vllm.in_process import OURS, add, engine_of, make_model, say, scheduler_of
from engines.vllm.measures import tau_b
from engines.vllm.prompts import made_up
from engines.vllm.serving import Daemon, running

SLOTS, CHUNK, LONGEST = 8, 512, 4096
PROMPTS, OUTPUTS = (650, 1.0), (40, 0.9)
"""Medians in tokens, and sigma of their logarithms."""
MOST_OUTPUT = 400
TAU = 0.5
WARM_UP = 2
ARMS = {
    "arrival": None,
    "output_mean": {"RANKD_ORDER__OBJECTIVE": "mean", "RANKD_ORDER__PROMPT_COST": "0"},
    "balanced": {},
    "mean": {"RANKD_ORDER__OBJECTIVE": "mean"},
}
"""What is compared, and the settings of its daemon; None: vLLM's own order."""
TUNE_EVERY = {"RANKD_ORDER__TUNE_EVERY": "100"}
"""Sooner than by default, so that all has been learned once the first burst counts."""
COMPARED = [(arm, "arrival") for arm in ARMS if arm != "arrival"]
COMPARED += [("balanced", "output_mean"), ("mean", "output_mean")]
T_975 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
"""Student's t by degrees of freedom."""


def burst(daemon, tokenizer, count, seed):
    """Rows of prompt, its token ids, and the tokens of its answer."""
    random_ = random.Random(seed)
    words = " ".join(row["prompt"] for row in made_up(400, seed=seed + 1)).split()
    rows = []
    for row in made_up(count, seed=seed):
        length = round(min(max(random_.lognormvariate(math.log(PROMPTS[0]), PROMPTS[1]), 64), LONGEST))
        # What is asked for, and the document that it is asked of.
        ids = tokenizer.encode(f"{row['prompt']}\n{' '.join(random_.choices(words, k=length))}")[:length]
        rows.append({"prompt": tokenizer.decode(ids), "ids": ids})
    outputs = lengths_by(scores_of(daemon, rows), seed)
    return [dict(row, output_tokens=output) for row, output in zip(rows, outputs, strict=True)]


def scores_of(daemon, rows):
    """The ranker's own."""
    with RankClient(daemon.target, timeout=60) as client:
        answer = client.rank([Item(row["prompt"], str(i)) for i, row in enumerate(rows)])
        scores = {ranked.index: ranked.score for ranked in answer}
    assert None not in scores.values(), "a prompt has no score"
    return np.array([scores[i] for i in range(len(rows))])


def lengths_by(scores, seed):
    """Lognormal lengths whose tau with the scores is ``TAU``: a Gaussian copula, of which tau is 2 / pi * asin(rho)."""
    rng, rho = np.random.default_rng(seed), math.sin(math.pi * TAU / 2)
    normal = np.sort(rng.standard_normal(len(scores)))[np.argsort(np.argsort(scores))]
    drawn = rho * normal + math.sqrt(1 - rho**2) * rng.standard_normal(len(scores))
    lengths = OUTPUTS[0] * np.exp(OUTPUTS[1] * drawn)
    return [int(min(max(round(float(length)), 2), MOST_OUTPUT)) for length in lengths]


def serve(engine, rows):
    """Serve a burst; gives figures of the seconds to the end and to the first token, from when all of it was there."""
    add(engine, rows, [row["ids"] for row in rows])
    began, first, end = np.array([time.monotonic(), time.thread_time()]), {}, {}
    while engine.has_unfinished_requests():
        outputs, now = engine.step(), np.array([time.monotonic(), time.thread_time()]) - began
        for output in outputs:
            number = int(output.request_id)
            first.setdefault(number, now)
            if output.finished:
                end[number] = now
                assert len(output.outputs[0].token_ids) == rows[number]["output_tokens"], "a token is missing"
    assert len(end) == len(rows), "a request did not finish"
    figures = {}
    for clock, name in enumerate(("", "_processor")):
        latency = np.array([times[clock] for times in end.values()])
        figures |= {f"mean{name}": latency.mean(), f"p50{name}": np.median(latency)}
        figures |= {f"p99{name}": np.percentile(latency, 99), f"max{name}": latency.max()}
        figures[f"first_token_mean{name}"] = np.mean([times[clock] for times in first.values()])
    return {name: round(float(value), 3) for name, value in figures.items()}


def engines_of(model, stack, ranker):
    """An engine for each arm, and its daemon where it has one."""
    engines, daemons = {}, {}
    blocks = {"max_model_len": LONGEST + MOST_OUTPUT + 16, "max_num_seqs": SLOTS, "max_num_batched_tokens": CHUNK}
    blocks["num_gpu_blocks_override"] = SLOTS * (blocks["max_model_len"] // 128 + 2)
    for arm, settings in ARMS.items():
        if settings is not None:
            daemon = daemons[arm] = stack.enter_context(running(Daemon(ranker=ranker, **TUNE_EVERY, **settings)))
            os.environ.update(RANKD_TARGET=daemon.target, RANKD_MODEL=arm)
        engines[arm] = engine_of(model, OURS if settings is not None else None, block_size=128, **blocks)
        if settings is not None:
            stack.callback(scheduler_of(engines[arm]).shutdown)
    return engines, daemons


def compared(rounds):
    """Ratios of figures, round by round: their geometric mean and Student's interval of it (95 %)."""
    out = {}
    for arm, other in COMPARED:
        for figure in rounds[0][arm]:
            logs = np.log([one[arm][figure] / one[other][figure] for one in rounds])
            entry = {"ratio": math.exp(logs.mean()), "rounds": np.exp(logs).tolist()}
            if len(logs) > 1:
                half = T_975[min(len(logs) - 1, max(T_975))] * logs.std(ddof=1) / math.sqrt(len(logs))
                entry |= {"low": math.exp(logs.mean() - half), "high": math.exp(logs.mean() + half)}
            rounded = {name: np.round(value, 3).tolist() for name, value in entry.items()}
            out.setdefault(f"{arm} / {other}", {})[figure] = rounded
    return out


def learned(daemon, arm):
    """What a daemon made of the bursts."""
    with RankClient(daemon.target, timeout=10) as client:
        report = client.quality()
    policy = next(p for p in report.policies if p.model == arm)
    quality = next(q for q in report.qualities if q.model == arm)
    rules = policy.rules()
    return {
        "policy": rules.policy.value, "objective": policy.objective and policy.objective.value,
        "prompt_cost": round(rules.prompt_cost, 4), "patience": round(rules.patience, 4),
        "trust": round(policy.trust, 2), "tau": round(quality.finished_tau.value, 3),
        "completions": quality.completions, "tokens_per_second": policy.tokens_per_second,
    }  # fmt: skip


def main(target, rounds="5", count="120", ranker="ngram"):
    """All of it."""
    from transformers import AutoTokenizer

    began, out = time.monotonic(), {"requests": int(count), "slots": SLOTS, "chunk": CHUNK, "ranker": ranker}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model = make_model(folder, hidden=256, layers=2, longest=2 * LONGEST)
        engines, daemons = engines_of(model, stack, ranker)
        tokenizer = AutoTokenizer.from_pretrained(model)
        bursts = functools.partial(burst, next(iter(daemons.values())), tokenizer, int(count))
        done = []
        for number in range(-WARM_UP, int(rounds)):
            rows = bursts(seed=100 + number)
            order = list(ARMS) if number % 2 else list(reversed(ARMS))
            figures = {arm: serve(engines[arm], rows) for arm in order}
            say("burst", number, {arm: (f["mean"], f["mean_processor"]) for arm, f in figures.items()})
            if number >= 0:
                done.append(figures)
            time.sleep(1)  # reports come at intervals
        lengths = {"prompt": [len(row["ids"]) for row in rows], "output": [row["output_tokens"] for row in rows]}
        out["last_burst"] = {name: np.percentile(v, [0, 50, 90, 100]).tolist() for name, v in lengths.items()}
        out["last_burst"]["tau_of_lengths"] = round(tau_b(lengths["prompt"], lengths["output"]), 3)
        out["learned"] = {arm: learned(daemon, arm) for arm, daemon in daemons.items()}
    out |= {"rounds": done, "compared": compared(done), "seconds": round(time.monotonic() - began)}
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(out, indent=1))
    for name, figures in out["compared"].items():
        say(name, {figure: entry["ratio"] for figure, entry in figures.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
