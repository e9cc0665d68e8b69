"""The ordering study: every policy on every trace and two engines, at many loads and qualities of the ranker.

usage: python -m benchmarks.policies.study [--traces DIR] [--quick] [--requests N] [--jobs N] [--out DIR]

Runs resume: what stands in OUT/runs.jsonl is not done again. Ends with OUT/study.md. A run of the daemon's order takes
a second of CPU time for 2,000 requests, others less: for seven traces on two free cores the whole is about 50 minutes,
--quick ten.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from benchmarks.policies import bars, burst
from benchmarks.policies.overload import overload
from benchmarks.policies.results import Rows, StudyRows
from benchmarks.policies.runs import TARGETS, Run, load_trace, work
from benchmarks.policies.tables import report
from rankd.replay.policies.by_name import needs_scores

LOADS = (0.7, 0.9, 0.95, 1.02, 1.05, 1.1)
TAUS = (-0.3, 0.0, 0.3, 0.5, 1.0)
QUICK_LOADS, QUICK_TAUS = (0.95, 1.05), (0.0, 0.5)
TAU = 0.5
"""Of the tables that name none."""
POLICIES = (
    "fcfs",
    "tail",
    "balanced",
    "mean",
    *(f"slo/{target}" for target in TARGETS),
    "first",
    "makespan",
    "due",
    "aged",
    "work",
    "prompt-work/tail",
    "prompt-work/balanced",
    "prompt-work/mean",
    "prompt-work/first",
    "paper",
    "uniboost",
    "uniboost:0.1",
    "uniboost:0.01",
    "prefill",
    "tie",
    "unaware",
    "oracle",
    "oracle-boost",
    "srpt",
)
"""On every trace, at every load, on both engines; those with scores at every tau. ``uniboost`` besides the proposal's
own adaptation with two fixed gammas, as its boosts of a second at most change little where waits are long."""
ENGINES = ("model", "steps")


def runs_of(traces: Iterable[str], loads: Iterable[float], taus: Iterable[float]) -> Iterator[Run]:
    """Everything that is to be simulated, cases of the same trace and load together, each once."""
    traces, loads, taus = list(traces), list(loads), list(taus)
    grid = [
        Run(engine, trace, load, tau, policy)
        for engine in ENGINES
        for trace in traces
        for load in loads
        for policy in POLICIES
        for tau in (taus if needs_scores(policy.partition("/")[0]) else [None])
    ]
    ordered = sorted([*grid, *bars.runs(traces, loads)], key=lambda run: (run.engine, run.trace, run.load))
    yield from dict.fromkeys(ordered)


def main() -> int:
    """Run what is missing, then write the tables."""
    options = _parser().parse_args()
    folder = options.traces
    names = sorted(p.name.removesuffix(".csv.gz") for p in folder.glob("*.csv.gz")) if folder else ["generated"]
    if not names:
        print(f"--traces {folder} holds no *.csv.gz: name a folder that does, or leave it out", file=sys.stderr)
        return 2
    loads = options.loads or (QUICK_LOADS if options.quick else LOADS)
    taus = options.taus or (QUICK_TAUS if options.quick else TAUS)
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    rows = rows_of(folder, options.requests, list(runs_of(names, loads, taus)), options.out, options.jobs)
    simulated = time.monotonic() - began
    print("\nbursts and overload ...", file=sys.stderr)
    study = StudyRows(rows)
    traces = [(name, load_trace(folder, name, options.requests)) for name in names]
    bursts = burst.bursts(traces)
    parts = [
        report(study, options.requests, TAU),
        "### A burst, all at once: until it is done, over longest first with true lengths\n\n" + burst.table(bursts),
        "### Overload with deadlines: share of requests served in time\n\n" + overload(traces, 16),
        "### Bars\n\n" + bars.table([*bars.judged(study), bars.makespan(bursts)]),
        took(rows, simulated, time.monotonic() - began),
    ]
    text = "\n\n".join(parts) + "\n"
    (options.out / "study.md").write_text(text)
    print(text)
    return 0


def took(rows: Rows, simulated: float, total: float) -> str:
    """What the runs took: of CPU time in all and by policy, and by the clock this time, seconds given."""
    by_policy: dict[str, list[float]] = {}
    for row in rows:
        by_policy.setdefault(row["policy"], []).append(float(row["seconds"]))
    slowest = sorted(by_policy, key=lambda policy: -sum(by_policy[policy]))
    each = "; ".join(f"{p} {sum(by_policy[p]) / len(by_policy[p]):.2f} s" for p in slowest)
    return (
        f"{len(rows):,} runs took {sum(map(sum, by_policy.values())) / 60:.0f} minutes of CPU time; what was missing "
        f"{simulated / 60:.0f} minutes by the clock, with bursts and tables {total / 60:.0f}. A run of each: {each}."
    )


def rows_of(folder: Path | None, requests: int, wanted: list[Run], out: Path, jobs: int) -> Rows:
    """Rows of all runs that are wanted; those that stand in ``out`` are not done again."""
    path = out / "runs.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    keys = {run.key(requests) for run in wanted}
    known = {row["key"]: row for row in map(json.loads, lines)}
    rows = [row for key, row in known.items() if key in keys]
    todo = [run for run in wanted if run.key(requests) not in known]
    began = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool, path.open("a") as file:
        pending = [pool.submit(work, str(folder or ""), requests, run) for run in todo]
        for count, future in enumerate(as_completed(pending), 1):
            rows.append(future.result())
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
            left = (time.monotonic() - began) / count * (len(todo) - count)
            print(f"\r{count} of {len(todo)} runs, {left / 60:.0f} min left ", end="", file=sys.stderr, flush=True)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.study", description="Replay traces under all policies."
    )
    parser.add_argument(
        "--traces", type=Path, help="folder of TRACE.csv.gz; default: a generated trace takes the place of real ones"
    )
    parser.add_argument("--quick", action="store_true", help="loads .95 and 1.05, tau 0 and .5, and what bars need")
    parser.add_argument("--requests", type=int, default=2000, help="first requests of each trace; default: 2000")
    parser.add_argument("--jobs", type=int, default=2, help="processes; default: 2")
    parser.add_argument("--loads", type=float, nargs="+", help=f"default: {' '.join(map(str, LOADS))}")
    parser.add_argument("--taus", type=float, nargs="+", help=f"default: {' '.join(map(str, TAUS))}")
    parser.add_argument("--out", type=Path, default=Path("study"), help="where runs and tables go; default: study/")
    return parser


if __name__ == "__main__":
    sys.exit(main())
