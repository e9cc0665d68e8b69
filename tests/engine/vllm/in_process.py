"""rankd-vllm in a vLLM engine of this process, counted in engine steps. Runs in vLLM's environment: `make engines`.

usage: python in_process.py OUT.json [PROMPTS]

Steps do not depend on the machine. Every check that fails ends the run.
"""

import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measures import summary, tau_b
from prompts import workload
from rankd_client import Item, RankClient
from serving import Daemon, running
from tiny_model import make_model, prepare_environment

prepare_environment()
os.environ.update(VLLM_ENABLE_V1_MULTIPROCESSING="0", VLLM_LOGGING_LEVEL="WARNING")
SLOTS = 16


def say(*words):
    """Progress, on the terminal."""
    print(f"[{time.strftime('%H:%M:%S')}]", *words, file=sys.stderr, flush=True)


def engine_of(model, scheduler=None, **more):
    """A vLLM engine in this process."""
    from vllm import EngineArgs, LLMEngine

    arguments = {"max_model_len": 2048, "max_num_seqs": SLOTS, "max_num_batched_tokens": 2048} | more
    return LLMEngine.from_engine_args(
        EngineArgs(
            model=model,
            load_format="dummy",
            dtype="float32",
            enforce_eager=True,
            enable_prefix_caching=False,
            scheduling_policy="priority",
            scheduler_cls=scheduler,
            **arguments,
        )
    )


def scheduler_of(engine):
    """The engine's scheduler."""
    return engine.engine_core.engine_core.scheduler


def add(engine, rows, tokens, priority):
    """Send all at once; gives when."""
    from vllm import SamplingParams

    for number, row in enumerate(rows):
        engine.add_request(
            str(number),
            {"prompt_token_ids": tokens[number]},
            # The end of the text is forced as soon as it is allowed: max_tokens would tell RankScheduler the length.
            SamplingParams(
                min_tokens=row["output_tokens"] - 1,
                logit_bias={2: 100},
                max_tokens=1500,
                temperature=0,
                detokenize=False,
            ),
            priority=priority(number) if priority else 0,
        )


def steps_of(engine, rows, *, at=None):
    """Step until all is done; gives the step in which each was, with every token. ``at``: a step and what to do."""
    last, now = [0] * len(rows), 0
    while engine.has_unfinished_requests():
        now += 1
        if at is not None and now == at[0]:
            at[1]()
        for output in engine.step():
            number = int(output.request_id)
            if output.finished:
                last[number] = now
                assert len(output.outputs[0].token_ids) == rows[number]["output_tokens"], "a token is missing"
    assert all(last), "a request did not finish"
    return last


def static_orders(engine, rows, tokens, daemon):
    """What static priorities do: those of the middleware, of true lengths, of another sample's, and the reverse."""
    arrival = time.time()
    with RankClient(daemon.target, timeout=60) as client:
        items = [Item(r["prompt"], str(i), arrival=arrival, max_tokens=1500) for i, r in enumerate(rows)]
        queue = {r.index: r for r in client.rank(items)}
    assert all(r.prediction is not None for r in queue.values())
    lengths = [row["output_tokens"] for row in rows]
    orders = {"fcfs": None, "ranked": lambda n: queue[n].serving_key, "oracle": lambda n: lengths[n],
              "reversed": lambda n: -lengths[n]}  # fmt: skip
    if all(row.get("other_sample") for row in rows):
        orders["other_sample"] = lambda n: rows[n]["other_sample"]
    out = {"tau": tau_b([queue[i].score for i in range(len(rows))], lengths)}
    for name, priority in orders.items():
        add(engine, rows, tokens, priority)
        out[name] = summary(steps_of(engine, rows), lengths)
        say(name, out[name])
    return out


def scored(engine, count, seconds=120):
    """Wait until so many scores are there to be taken, and rules."""
    scores, end = scheduler_of(engine)._scores, time.monotonic() + seconds
    while len(scores.news) < count or scores.rules(time.monotonic()).policy.value == "fcfs":
        assert time.monotonic() < end, "no scores came"
        time.sleep(0.05)


def by_scheduler(model, rows, tokens, daemon, tau):
    """RankScheduler: with all scores there, and with scores that come while the engine runs."""
    os.environ["RANKD_TARGET"] = daemon.target
    engine = engine_of(model, "rankd_vllm.RankScheduler")
    lengths = [row["output_tokens"] for row in rows]
    out = {}
    add(engine, rows, tokens, None)
    scored(engine, len(rows))
    out["scheduler"] = summary(steps_of(engine, rows), lengths)
    say("scheduler", out["scheduler"])
    with RankClient(daemon.target, timeout=10) as client:
        end = time.monotonic() + 15
        while client.quality().qualities[0].completions < len(rows):
            assert time.monotonic() < end, "completions were not reported"
            time.sleep(0.2)
        quality = client.quality().qualities[0]
        out["reports"] = {"completions": quality.completions, "tau": quality.finished_tau.value,
                          "progress_seen": quality.progress_seen}  # fmt: skip
    assert abs(quality.finished_tau.value - tau) < 0.01, "the daemon learned something else than what happened"
    say("reports", out["reports"])
    for name, disturb in {
        "frozen": lambda: daemon.send(signal.SIGSTOP),
        "thawed": lambda: daemon.send(signal.SIGCONT),
        "killed": daemon.kill,
        "absent": lambda: None,
    }.items():
        add(engine, rows[:120], tokens, None)
        out[name] = summary(steps_of(engine, rows[:120], at=(40, disturb)), lengths[:120])
        say(name, out[name])
    scheduler = scheduler_of(engine)
    left = (scheduler._ids, scheduler._since, scheduler._ranked.predictions, scheduler._ranked.classes)
    assert not any(left), "requests that are gone are remembered"
    return out


def preempted(model, rows, tokens, daemon):
    """Too little memory for what runs: requests are preempted, all finish with all tokens."""
    os.environ["RANKD_TARGET"] = daemon.target
    engine = engine_of(model, "rankd_vllm.RankScheduler", block_size=32, num_gpu_blocks_override=96, max_num_seqs=32)
    scheduler, count = scheduler_of(engine), [0]
    preempt = scheduler._preempt_request

    def counting(*args, **kwargs):
        count[0] += 1
        return preempt(*args, **kwargs)

    scheduler._preempt_request = counting
    add(engine, rows, tokens, None)
    scored(engine, len(rows))
    steps_of(engine, rows)
    assert count[0] > 0, "nothing was preempted: the check says nothing"
    return {"preemptions": count[0]}


def overhead(model, rows, tokens, daemon):
    """What an iteration costs with 1,000 waiting: schedule() of vLLM's scheduler and of ours, microseconds."""
    many = [dict(rows[i % len(rows)], output_tokens=400) for i in range(1000 + SLOTS)]
    out = {}
    for name, scheduler_class in {"vllm": None, "rankd": "rankd_vllm.RankScheduler"}.items():
        os.environ["RANKD_TARGET"] = daemon.target
        engine = engine_of(model, scheduler_class)
        scheduler, taken = scheduler_of(engine), []
        schedule = scheduler.schedule

        def timed(*args, schedule=schedule, taken=taken, **kwargs):
            start = time.thread_time_ns()
            result = schedule(*args, **kwargs)
            taken.append((time.thread_time_ns() - start) / 1000)
            return result

        scheduler.schedule = timed
        own = []
        if scheduler_class:
            prepare = scheduler._prepare

            def prepared(now, prepare=prepare, own=own):
                start = time.thread_time_ns()
                prepare(now)
                own.append((time.thread_time_ns() - start) / 1000)

            scheduler._prepare = prepared
        add(engine, many, [tokens[i % len(rows)] for i in range(len(many))], None)
        if scheduler_class:
            scored(engine, len(many))
        for _ in range(300):
            engine.step()
        full = np.array(taken[20:])
        taken.clear()
        admitted = []
        for _ in range(60):  # one leaves, one is admitted
            gone = scheduler.running[0].request_id
            engine.abort_request([gone.rpartition("-")[0]])
            engine.step()
            admitted.append(taken[-1])
        out[name] = {
            "full_p50": np.median(full),
            "full_p99": np.percentile(full, 99),
            "admitting_p50": np.median(admitted),
            "waiting": len(scheduler.waiting),
            "own_p50": np.median(own) if own else 0,
            "own_p99": np.percentile(own, 99) if own else 0,
        }
        out[name] = {k: round(float(v), 1) for k, v in out[name].items()}
        say("overhead", name, out[name])
        del engine
    return out


def constant(model, rows, tokens, daemon, rounds=5):
    """One prompt for all, so one score: processor time of a run, threads included, over that of vLLM's scheduler."""
    os.environ["RANKD_TARGET"] = daemon.target
    engines = {"vllm": engine_of(model), "rankd": engine_of(model, "rankd_vllm.RankScheduler")}
    taken, steps = {name: [] for name in engines}, {}
    for turn in range(rounds + 1):
        for name, engine in engines.items():
            add(engine, rows, [tokens[0]] * len(rows), None)
            if name == "rankd":
                scored(engine, len(rows))
            start = time.process_time()
            steps[name] = max(steps_of(engine, rows))
            if turn:  # the first warms up
                taken[name].append(time.process_time() - start)
    ratios = np.array(taken["rankd"]) / np.array(taken["vllm"])
    out = {"processor_time_ratio": float(np.median(ratios)), "ratios": [round(float(r), 4) for r in ratios],
           "ms_per_step": 1000 * float(np.median(taken["vllm"])) / steps["vllm"], "steps": steps}  # fmt: skip
    say("constant score", out)
    return out


def main(target, count="300"):
    """All of it."""
    rows, source = workload(int(count), seed=3)
    out = {"prompts": len(rows), "source": source, "slots": SLOTS}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(folder)
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model)
        tokens = [tokenizer.encode(row["prompt"])[:500] for row in rows]
        assert tokenizer.decode(tokens[0]) == rows[0]["prompt"], "what the ranker reads is not the prompt"
        with running(Daemon()) as daemon:
            say("a daemon and an engine")
            out["static"] = static_orders(engine_of(model), rows, tokens, daemon)
            out["overhead"] = overhead(model, rows, tokens, daemon)
            out["constant_score"] = constant(model, rows[:120], tokens, daemon)
            out["memory"] = preempted(model, rows[:100], tokens, daemon)
        with running(Daemon()) as daemon:
            out["every_iteration"] = by_scheduler(model, rows, tokens, daemon, out["static"]["tau"])
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(out, indent=1))
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
