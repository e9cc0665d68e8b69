"""What RankScheduler costs a real vLLM, in processor time. Runs in vLLM's environment: `make engines`.

usage: python -m engines.vllm.scheduler_cost OUT.json [ROUNDS]

Two engines of one process take turns, since the machine is never the same for two runs. Every check that fails ends
the run; figures do not.
"""

import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from engines.vllm.in_process import OURS, SLOTS, add, engine_of, make_model, say, scheduler_of, scored, tokens_of
from engines.vllm.prompts import workload
from engines.vllm.serving import Daemon, running

WAITING = 1000
TURN = 10
"""Steps."""


def timed(owner, name):
    """Replace a method by one that notes its processor time in microseconds; gives the notes."""
    method, taken = getattr(owner, name), []

    def measured(*args, **kwargs):
        start = time.thread_time_ns()
        result = method(*args, **kwargs)
        taken.append((time.thread_time_ns() - start) / 1000)
        return result

    setattr(owner, name, measured)
    return taken


def crowded(model, rows, tokens, scheduler=None):
    """An engine with all slots full and 1,000 waiting."""
    engine = engine_of(model, scheduler)
    many = [dict(rows[i % len(rows)], output_tokens=1400) for i in range(WAITING + SLOTS)]
    add(engine, many, [tokens[i % len(rows)] for i in range(len(many))])
    if scheduler:
        scored(engine, len(many))
    return engine


def an_iteration(model, rows, tokens, rounds):
    """Microseconds of schedule() with 1,000 waiting: with nothing to do, and where one leaves and one is admitted."""
    engines = {"vllm": crowded(model, rows, tokens), "rankd": crowded(model, rows, tokens, OURS)}
    taken = {name: timed(scheduler_of(engine), "schedule") for name, engine in engines.items()}
    own = timed(scheduler_of(engines["rankd"]), "_prepare")
    full, admitting = {name: [] for name in engines}, {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            for step in range(20):
                if step % 4 == 3:
                    gone = scheduler_of(engine).running[0].request_id
                    engine.abort_request([gone.rpartition("-")[0]])
                engine.step()
                (admitting if step % 4 == 3 else full)[name].append(taken[name][-1])
    out = {
        kind: {name: [round(float(np.percentile(values[name], q)), 1) for q in (50, 90)] for name in engines}
        for kind, values in {"full_us": full, "admitting_us": admitting}.items()
    }
    out["own_us"] = [round(float(np.percentile(own[20:], q)), 1) for q in (50, 90, 99)]
    out["waiting"] = len(scheduler_of(engines["rankd"]).waiting)
    assert out["waiting"] > 0, "nobody waited"
    say("an iteration", out)
    return out


def other_threads():
    """Seconds of processor time of all threads but this one and those of PyTorch's process groups."""
    total = 0
    for task in Path("/proc/self/task").iterdir():
        try:
            if int(task.name) != threading.get_native_id() and "gloo" not in (task / "comm").read_text():
                total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue  # it has ended
    return total / 1e9


def one_score(model, rows, tokens, rounds):
    """One prompt for all, so one score: processor time over that of vLLM's own scheduler.

    Both engines do the same in every step, so they take turns of ten steps; what other threads take, but for PyTorch's,
    is rankd's.
    """
    engines = {"vllm": engine_of(model), "rankd": engine_of(model, OURS)}
    turns, beside, whole = {name: [] for name in engines}, 0.0, 0.0
    for turn in range(rounds + 1):
        before = other_threads()
        taken = in_turns(engines, rows, tokens)
        if turn:  # the first warms up
            beside += other_threads() - before
            whole += sum(taken["vllm"])
            for name in engines:
                turns[name] += taken[name]
        say("one score for all", turn, "of", rounds)
    ratios = np.array(turns["rankd"]) / np.array(turns["vllm"])
    drawn = np.random.default_rng(0).choice(ratios, (1000, len(ratios)))
    out = {
        "engine_thread_ratio": round(float(np.median(ratios)), 4),
        "its_interval": [round(float(q), 4) for q in np.percentile(np.median(drawn, axis=1), [2.5, 97.5])],
        "of_sums": round(sum(turns["rankd"]) / whole, 4),
        "quartiles_of_turns": [round(float(q), 4) for q in np.percentile(ratios, [25, 75])],
        "other_threads_share": round(beside / whole, 4),
        "turns": len(ratios),
        "ms_per_step": round(1000 * float(np.median(turns["vllm"])) / TURN, 2),
    }
    out["processor_time_ratio"] = round(out["engine_thread_ratio"] + out["other_threads_share"], 4)
    say("one score for all", out)
    return out


def in_turns(engines, rows, tokens):
    """Serve the same by both; gives seconds of processor time of the engine's thread for every turn but the last."""
    taken, steps = {name: [] for name in engines}, dict.fromkeys(engines, 0)
    for name, engine in engines.items():
        start = time.thread_time()
        add(engine, rows, [tokens[0]] * len(rows))
        added = time.thread_time() - start
        taken[name].append(added)
    names = list(engines)
    while all(engine.has_unfinished_requests() for engine in engines.values()):
        names.reverse()
        for name in names:
            start, done = time.thread_time(), 0
            while done < TURN and engines[name].has_unfinished_requests():
                engines[name].step()
                done += 1
            taken[name].append(time.thread_time() - start)
            steps[name] += done
    assert steps["vllm"] == steps["rankd"], "one score for all is arrival order"
    # Adding counts to the first turn: it takes microseconds and would be a ratio of its own.
    return {name: [times[0] + times[1], *times[2:-1]] for name, times in taken.items()}


def main(target, rounds="6"):
    """All of it."""
    rows, source = workload(300, seed=3)
    out = {"source": source, "slots": SLOTS}
    with tempfile.TemporaryDirectory() as folder, running(Daemon()) as daemon:
        os.environ["RANKD_TARGET"] = daemon.target
        model = make_model(Path(folder) / "small")
        tokens = tokens_of(rows, model)
        out["an_iteration"] = an_iteration(model, rows, tokens, 8 * int(rounds))
        # Iterations of some 10 ms, as those of a model that fills a GPU.
        model = make_model(Path(folder) / "larger", hidden=256, layers=4)
        out["one_score"] = one_score(model, rows[:120], tokens, int(rounds))
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    Path(target).write_text(json.dumps(out, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
