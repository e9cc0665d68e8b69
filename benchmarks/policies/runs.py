"""One simulation of the study: what is replayed, on which engine, and the figures of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from rankd.errors import ConfigError
from rankd.replay.engine.cost import EngineCost, at_load, step_cost
from rankd.replay.engine.engine import SimulationResult
from rankd.replay.policies.by_name import OBJECTIVES, needs_scores, simulate
from rankd.replay.policies.synthetic_scores import scores_of_tau
from rankd.replay.report.metrics import length_quarters
from rankd.replay.trace.files import TraceSelection, read_trace
from rankd.replay.trace.trace import Floats, Ints, Trace
from rankd.settings import OrderSection, Settings

ENGINES = {"model": EngineCost(), "steps": step_cost(16), "untold": step_cost(16)}
"""The default engine, 64 slots, whose prompts take time; 16 slots, where every iteration is a step; the same of traces
without prompt counts."""
SEEN = 500
"""Completions in arrival order after which everything is expected to have been learned: later requests are summed up
apart."""
_LOOSE, _TIGHT = 1.5, 0.95


@dataclass(frozen=True, slots=True)
class Run:
    """One simulation."""

    engine: str
    trace: str
    load: float
    tau: float | None
    """None where the policy asks no ranker."""
    policy: str
    """A name of ``simulate``; after a slash the objective that is configured, or for ``slo`` the target's name."""

    def key(self, requests: int) -> str:
        """Its key among others."""
        tau = "-" if self.tau is None else f"{self.tau:g}"
        return f"{self.engine} {self.trace} {requests} {self.load:g} {tau} {self.policy}"


@dataclass(frozen=True, slots=True)
class Target:
    """A service level objective of the study: a share of requests within so many seconds."""

    share: float
    seconds: float
    first_token: bool = False

    @property
    def text(self) -> str:
        """As ``order.slo`` has it."""
        return f"{100 * self.share:g} % {'first token ' if self.first_token else ''}within {self.seconds:.6f} s"

    def kept(self, result: SimulationResult) -> float:
        """The share of requests that were within it."""
        ends = result.first_token if self.first_token else result.finish
        return float((ends - result.arrival <= self.seconds + 1e-6).mean())


TARGETS = ("loose", "tight", "first")


def targets_of(fcfs: SimulationResult) -> dict[str, Target]:
    """Targets that mean something of a trace: one that arrival order keeps by far, and two that it misses."""
    latency, first = fcfs.finish - fcfs.arrival, fcfs.first_token - fcfs.arrival
    return {
        "loose": Target(0.99, _LOOSE * float(np.quantile(latency, 0.99))),
        "tight": Target(_TIGHT, float(np.quantile(latency, 0.9))),
        "first": Target(_TIGHT, float(np.quantile(first, 0.9)), first_token=True),
    }


@dataclass(frozen=True, slots=True)
class Case:
    """A trace at a load, with what is compared with."""

    trace: Trace
    cost: EngineCost
    fcfs: SimulationResult
    targets: dict[str, Target]
    later: np.ndarray[tuple[int], np.dtype[np.bool_]]
    """Requests that came after ``SEEN`` completions in arrival order, [n]."""


def generated(requests: int) -> Trace:
    """Stands in where no traces are at hand: Poisson arrivals, log-normal lengths of prompts and answers."""
    rng = np.random.default_rng(0)
    output = np.clip(np.rint(rng.lognormal(np.log(100), 1.0, requests)), 1, 4000).astype(np.int64)
    prompt = np.clip(np.rint(rng.lognormal(np.log(800), 1.0, requests)), 1, 16_000).astype(np.int64)
    return Trace(np.cumsum(rng.exponential(1.0, requests)), prompt, output)


def load_trace(folder: Path | None, name: str, requests: int) -> Trace:
    """A trace by name, with its prompts and what of them is cached."""
    if folder is None:
        return generated(requests)
    return read_trace(TraceSelection([folder / f"{name}.csv.gz"], most=requests)).trace


@lru_cache(4)
def case_of(folder: str, requests: int, engine: str, name: str, load: float) -> Case:
    """A trace at a load; several policies follow each other on it."""
    cost = ENGINES[engine]
    trace = load_trace(Path(folder) if folder else None, name, requests)
    if engine == "untold":
        trace = replace(trace, prompt=np.zeros(len(trace), dtype=np.int64), cached=None)
    trace = at_load(trace, cost, load)
    fcfs = simulate(trace, None, "fcfs", cost).result
    seen = np.sort(fcfs.finish)[min(SEEN, len(trace) - 1)]
    return Case(trace, cost, fcfs, targets_of(fcfs), trace.arrival > seen)


@lru_cache(16)
def _scores(folder: str, requests: int, name: str, tau: float) -> Floats:
    trace = load_trace(Path(folder) if folder else None, name, requests)
    try:
        return scores_of_tau(trace.output, tau)
    except ConfigError:
        # So many equal lengths that none has such a tau: the best there is.
        return scores_of_tau(trace.output, 1.0)


def work(folder: str, requests: int, run: Run) -> dict[str, object]:
    """Do one run, in any process."""
    case = case_of(folder, requests, run.engine, run.trace, run.load)
    policy, _, variant = run.policy.partition("/")
    order: dict[str, object] = {}
    if policy == "slo":
        order["slo"] = case.targets[variant].text
    elif variant in OBJECTIVES:
        order["objective"] = variant
    scores = None
    if needs_scores(policy):
        scores = _scores(folder, requests, run.trace, 0.0 if run.tau is None else run.tau)
    settings = Settings(order=OrderSection.model_validate(order))
    began = time.process_time()
    result = simulate(case.trace, scores, policy, case.cost, settings=settings).result
    seconds = time.process_time() - began
    row: dict[str, object] = {
        "key": run.key(requests),
        "engine": run.engine,
        "trace": run.trace,
        "load": run.load,
        "tau": run.tau,
        "policy": run.policy,
        "seconds": round(seconds, 3),
    }
    return row | figures(case, result)


def figures(case: Case, result: SimulationResult) -> dict[str, object]:
    """Latencies of one simulation, seconds (steps where the engine counts these), and shares within the targets."""
    trace, latency = case.trace, result.finish - result.arrival
    p50, p90, p99 = np.quantile(latency, (0.5, 0.9, 0.99)).tolist()
    later = latency[case.later] if case.later.any() else latency
    return {
        "mean": float(latency.mean()),
        "p50": p50,
        "p90": p90,
        "p99": p99,
        "max": float(latency.max()),
        "first": float((result.first_token - result.arrival).mean()),
        "token": float(np.quantile(latency / trace.output, 0.9)),
        "later": float(later.mean()),
        "outputs": _by_quarter(latency, trace.output),
        "prompts": _by_quarter(latency, trace.uncached),
        # A slot is given at the start of an iteration: up to one is no waiting.
        "waits": float((result.start - result.arrival > case.cost.base).mean()),
        "kept": {name: target.kept(result) for name, target in case.targets.items()},
        "target": {name: target.share for name, target in case.targets.items()},
    }


def _by_quarter(latency: Floats, sizes: Ints) -> list[float | None]:
    """Mean latency by quarter of sizes, shortest first; None where so many are equal that a quarter is empty."""
    quarter = length_quarters(sizes)
    return [float(latency[quarter == q].mean()) if (quarter == q).any() else None for q in range(4)]
