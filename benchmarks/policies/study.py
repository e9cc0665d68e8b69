"""The ordering study: every policy on every trace, at many loads and qualities of the ranker.

Its figures are in docs/measurements/2026-11-25-ordering-study.md.

usage: python -m benchmarks.policies.study [--traces DIR] [--requests N] [--jobs N] [--out DIR]

Runs resume: what stands in OUT/runs.jsonl is not done again. Ends with OUT/study.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.policies.burst import burst
from benchmarks.policies.overload import overload
from benchmarks.policies.tables import report
from rankd.replay.engine.cost import EngineCost, at_load, step_cost
from rankd.replay.policies.by_name import needs_scores, simulate
from rankd.replay.policies.synthetic_scores import scores_of_tau
from rankd.replay.trace.files import TraceSelection, read_trace
from rankd.replay.trace.trace import Floats, Trace

LOADS = (0.7, 0.8, 0.9, 0.95, 1.0, 1.1)
TAUS = (-0.3, 0.0, 0.3, 0.55, 0.65, 1.0)
POLICIES = (
    "fcfs",
    "boost",
    "due",
    "aged",
    "aged:4",
    "score",
    "score-cap",
    "paper",
    "unaware",
    "oracle",
    "oracle-boost",
)
SLOTS = 16
SEEN = 500
"""Completions after which the guard is expected to have made up its mind."""


@dataclass(frozen=True, slots=True)
class Run:
    """One simulation."""

    trace: str
    load: float
    tau: float | None
    """None where the policy asks no ranker."""
    policy: str

    @property
    def key(self) -> str:
        """Its key among others."""
        return f"{self.trace} {self.load:g} {'-' if self.tau is None else f'{self.tau:g}'} {self.policy}"


def runs_of(traces: Iterable[str], loads: Iterable[float], taus: Iterable[float]) -> Iterator[Run]:
    """Everything that is to be simulated."""
    for trace in traces:
        for load in loads:
            for policy in POLICIES:
                for tau in taus if needs_scores(policy) else [None]:
                    yield Run(trace, load, tau, policy)


def generated(requests: int) -> Trace:
    """Stands in where no traces are at hand: Poisson arrivals, log-normal lengths."""
    rng = np.random.default_rng(0)
    output = np.clip(np.rint(rng.lognormal(np.log(100), 1.0, requests)), 1, 4000).astype(np.int64)
    return Trace(np.cumsum(rng.exponential(1.0, requests)), np.zeros(requests, dtype=np.int64), output)


def load_trace(folder: Path | None, name: str, requests: int) -> Trace:
    """A trace by name, its prompts free: the study is of order, and lengths of prompts change nothing of it."""
    if folder is None:
        trace = generated(requests)
    else:
        trace = read_trace(TraceSelection([folder / f"{name}.csv.gz"])).trace.first(requests)
    return Trace(trace.arrival, np.zeros(len(trace), dtype=np.int64), trace.output)


def figures(trace: Trace, run: Run, cost: EngineCost) -> dict[str, float]:
    """Latencies of one simulation, in steps, of all requests and of those that come once the guard has evidence."""
    scores = None if run.tau is None else scores_of_tau(trace.output, run.tau)
    began = time.perf_counter()
    result = simulate(trace, scores, run.policy, cost).result
    seconds = time.perf_counter() - began
    latency = result.finish - result.arrival
    seen = np.sort(result.finish)[min(SEEN, len(trace) - 1)]
    later = latency[result.arrival > seen]
    out = {"seconds": round(seconds, 3)}
    for name, values in (("", latency), ("later_", later if len(later) else latency)):
        out |= {f"{name}{k}": v for k, v in _summary(values).items()}
    # A slot is given at the start of an iteration: up to one step is no waiting.
    out["waits"] = float((result.start - result.arrival > 1.0).mean())
    return out


def _summary(latency: Floats) -> dict[str, float]:
    p50, p90, p99 = (float(v) for v in np.quantile(latency, (0.5, 0.9, 0.99)))
    return {"mean": float(latency.mean()), "p50": p50, "p90": p90, "p99": p99, "max": float(latency.max())}


def same_tail(trace: Trace, cost: EngineCost, p99: float) -> dict[str, float]:
    """BOOST with true lengths at the patience that gives a p99: what it would gain with a perfect ranker."""
    low, high = 1e-4, 1e4
    best: Floats | None = None
    for _ in range(14):
        patience = float(np.sqrt(low * high))
        result = simulate(trace, None, f"oracle-boost:{patience:.6g}", cost).result
        latency = result.finish - result.arrival
        if np.quantile(latency, 0.99) <= p99:
            low, best = patience, latency
        else:
            high = patience
    return _summary(best) if best is not None else {}


def work(folder: str, requests: int, run: Run) -> dict[str, object]:
    """Do one run, in any process."""
    cost = step_cost(SLOTS)
    trace = at_load(load_trace(Path(folder) if folder else None, run.trace, requests), cost, run.load)
    found = figures(trace, run, cost)
    row: dict[str, object] = {
        "key": run.key,
        "trace": run.trace,
        "load": run.load,
        "tau": run.tau,
        "policy": run.policy,
    }
    row |= found
    if run.policy == "boost" and run.tau == 0.55 and run.load == 0.95:
        row["same_tail"] = same_tail(trace, cost, found["p99"])
    return row


def main() -> int:
    """Run what is missing, then write the tables."""
    options = _parser().parse_args()
    folder = options.traces
    names = sorted(p.name.removesuffix(".csv.gz") for p in folder.glob("*.csv.gz")) if folder else ["generated"]
    if not names:
        print(f"--traces {folder} holds no *.csv.gz: name a folder that does, or leave it out", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "runs.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {row["key"] for row in rows}
    todo = [r for r in runs_of(names, options.loads, options.taus) if r.key not in done]
    began = time.monotonic()
    with ProcessPoolExecutor(options.jobs) as pool, path.open("a") as file:
        pending = [pool.submit(work, str(folder or ""), options.requests, run) for run in todo]
        for count, future in enumerate(as_completed(pending), 1):
            rows.append(future.result())
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
            left = (time.monotonic() - began) / count * (len(todo) - count)
            print(f"\r{count} of {len(todo)} runs, {left / 60:.0f} min left ", end="", file=sys.stderr, flush=True)
    text = report(rows, options.requests, SLOTS)
    print("\nbursts and overload ...", file=sys.stderr)
    traces = [(name, load_trace(folder, name, options.requests)) for name in names]
    text += "\n### Overload with deadlines: share of requests served in time\n\n" + overload(traces, SLOTS) + "\n"
    text += "\n### A burst of 2,000 drawn from each trace, against arrival order\n\n" + burst(traces, SLOTS) + "\n"
    (options.out / "study.md").write_text(text)
    print(text)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.policies.study", description="Replay traces under all policies."
    )
    parser.add_argument(
        "--traces", type=Path, help="folder of TRACE.csv.gz; default: a generated trace takes the place of real ones"
    )
    parser.add_argument("--requests", type=int, default=6000, help="first requests of each trace; default: 6000")
    parser.add_argument("--jobs", type=int, default=2, help="processes; default: 2")
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS)
    parser.add_argument("--taus", type=float, nargs="+", default=TAUS)
    parser.add_argument("--out", type=Path, default=Path("study"), help="where runs and tables go; default: study/")
    return parser


if __name__ == "__main__":
    sys.exit(main())
