"""What the default order and the objectives are to reach, each as a line: the bar, whether it was reached, the figure.

On the traces that are named, and over all that were replayed. A bar whose runs are missing is not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from benchmarks.policies.burst import Burst
from benchmarks.policies.front import TRUE, standing
from benchmarks.policies.results import StudyRows, markdown, number
from benchmarks.policies.runs import TARGETS, Run

TAU = 0.5
BAD_TAU = -0.3
OBJECTIVES = ("tail", "balanced", "mean", "first")
PUBLISHED = ("uniboost", "uniboost:0.1", "uniboost:0.01", "prefill", "paper", "tie")
NAMED = (
    ("mooncake_conversation", 1.02, {"mean": 0.55, "first": 0.25, "p99": 1.4}),
    ("azure2023_code", 0.9, {"mean": 0.56, "p50": 0.20}),
    ("azure2023_code", 1.02, {"mean": 0.56, "p50": 0.20}),
)
"""Of the objective ``mean`` on the default engine: trace, load, and what figures may be at most."""
BALANCED = {1.05: {"mean": 0.75, "token": 0.40, "p99": 1.3, "max": 1.6}, 0.95: {"mean": 0.80, "p99": 1.2}}
"""Of ``balanced``, medians over the traces, by load."""
QUARTER = 1.3
"""No quarter of output lengths may be slower than this in the mean, at load 1.05."""
BEFORE = {0.95: {"mean": 0.90, "p99": 1.08}, 1.05: {"mean": 0.82, "p99": 1.08}}
"""The default before orders were by work and had objectives (p99 within 1.15), without prompts: medians over the seven
public traces, 2,000 requests of each, tau .5, 16 slots in steps. Of other traces nothing is said."""
PUBLIC = {
    "azure2023_code",
    "azure2023_conv",
    "mooncake_conversation",
    "mooncake_synthetic",
    "servegen_deepseek_r1_1h",
    "servegen_m_mid_1h",
    "servegen_m_small_1h",
}
_MISSED = 0.01
"""Share of requests by which a target may be missed and still count as kept."""
_ROUNDING = 0.005


@dataclass(frozen=True, slots=True)
class Judged:
    """One bar."""

    bar: str
    reached: bool | None
    """None: its runs are missing."""
    figure: str


def runs(traces: Iterable[str], loads: Iterable[float]) -> Iterator[Run]:
    """What bars need beside any grid."""
    traces = list(traces)
    beside = ("fcfs", "mean", "balanced", "prompt-work/mean", "uniboost:0.01", "prefill", "oracle")
    yield from (
        Run("model", trace, load, _tau(policy), policy)
        for (trace, load, _), policy in product(NAMED, beside)
        if trace in traces
    )
    every = product(("model", "steps"), traces, loads, OBJECTIVES)
    yield from (Run(engine, trace, load, BAD_TAU, objective) for engine, trace, load, objective in every)
    untold = product(traces, BEFORE, ("fcfs", "tail", "balanced", "mean", "prompt-work/balanced", "oracle"))
    yield from (Run("untold", trace, load, _tau(policy), policy) for trace, load, policy in untold)


def _tau(policy: str) -> float | None:
    return TAU if policy in ("mean", "balanced", "tail") else None


def table(judged: Iterable[Judged]) -> str:
    """A line for each."""
    said = {True: "reached", False: "**not reached**", None: "not judged"}
    return markdown(["bar", "", "figures"], [[j.bar, said[j.reached], j.figure] for j in judged])


def judged(study: StudyRows) -> list[Judged]:
    """All of the grid."""
    return [
        *_named(study),
        *(bar for load in (1.05, 0.95) for engine in ("model", "steps") for bar in _balanced(study, engine, load)),
        *(_slo(study, engine) for engine in ("model", "steps")),
        *_ahead(study),
        *(_useless(study, engine, tau) for tau in (0.0, BAD_TAU) for engine in ("model", "steps")),
        *(_untold(study, load) for load in BEFORE),
    ]


def _at_most(title: str, limits: dict[str, float], found: dict[str, float]) -> Judged:
    names = {"first": "mean first token", "token": "p90 per token"}
    asked = ", ".join(f"{names.get(k, k)} {number(v)}" for k, v in limits.items())
    figures = ", ".join(f"{names.get(k, k)} {number(found[k])}" for k in limits)
    missing = any(np.isnan(found[k]) for k in limits)
    reached = all(found[k] <= limit + _ROUNDING for k, limit in limits.items())
    return Judged(f"{title}: at most {asked}", None if missing else reached, figures)


def _named(study: StudyRows) -> Iterator[Judged]:
    for trace, load, limits in NAMED:
        if trace in study.traces:
            found = {k: study.ratio("model", trace, load, TAU, "mean", k) for k in limits}
            yield _at_most(f"`mean` on {trace}, load {load:g}, default engine", limits, found)


def _balanced(study: StudyRows, engine: str, load: float) -> Iterator[Judged]:
    limits = BALANCED[load]
    found = {k: study.median(engine, load, TAU, "balanced", k) for k in limits}
    yield _at_most(f"`balanced`, load {load:g}, {engine}, median", limits, found)
    if load > 1:
        quarters = study.quarters(engine, load, TAU, "balanced", "outputs")
        slowest = float(np.max(quarters))
        text = ", ".join(number(q) for q in quarters)
        reached = None if np.isnan(slowest) else slowest <= QUARTER + _ROUNDING
        yield Judged(f"`balanced`, load {load:g}, {engine}: no quarter of lengths above {QUARTER:g}", reached, text)


def _slo(study: StudyRows, engine: str) -> Judged:
    """Where any policy keeps a target, ``slo`` does within a hundredth of the requests."""
    held, could, worst, beyond = 0, 0, 0.0, 0
    for load in study.loads(engine):
        for trace in study.traces:
            for name in TARGETS:
                own = study.row(engine, trace, load, TAU, f"slo/{name}")
                others = [study.row(engine, trace, load, TAU, p) for p in study.policies if not p.startswith("slo")]
                known = [r for r in others if r is not None]
                if own is None or not known:
                    continue
                target = own["target"][name]
                if not any(r["kept"][name] >= target for r in known if r["policy"] not in TRUE):
                    beyond += 1
                    continue
                could += 1
                miss = target - own["kept"][name]
                held += miss <= _MISSED
                worst = max(worst, miss)
    figure = f"{held} of {could} targets that any policy keeps; {worst:.1%} of the requests missed at most"
    figure += f"; {beyond} that none keeps"
    return Judged(
        f"`slo` keeps its target wherever any policy does, {engine}", held == could if could else None, figure
    )


def _ahead(study: StudyRows) -> Iterator[Judged]:
    cases = [(engine, load) for engine in ("model", "steps") for load in study.loads(engine)]
    for other in PUBLISHED:
        for own in ("balanced", "mean"):
            said = {f"{e} {load:g}": standing(study, e, load, TAU, own, other) for e, load in cases}
            known = {k: v for k, v in said.items() if v is not None}
            title = f"`{own}` ahead of {other} in mean and p99 on the median trace, or neither dominates"
            figure = "; ".join(f"{k}: {v}" for k, v in known.items())
            yield Judged(title, all("behind" not in v for v in known.values()) if known else None, figure)


def _useless(study: StudyRows, engine: str, tau: float) -> Judged:
    """Against the same objective by prompts alone, in every trace and load."""
    figure, limit = ("mean", 1.0) if tau == 0 else ("later", 1.03)
    found = []
    for load in study.loads(engine):
        for trace in study.traces:
            for objective in OBJECTIVES:
                alone = f"prompt-work/{objective}"
                value = study.between(engine, trace, load, tau, objective, alone, figure)
                if not np.isnan(value):
                    found.append((value, f"{objective}, {trace}, {load:g}"))
    when = "" if tau == 0 else " after 500 completions"
    title = f"tau {tau:g}: mean{when} at most {limit:g} of the order by prompts alone, everywhere, {engine}"
    if not found:
        return Judged(title, None, "-")
    values = np.array([v for v, _ in found])
    worst = max(found)
    share = float((values <= limit + _ROUNDING).mean())
    text = f"median {number(float(np.median(values)))}, worst {number(worst[0])} ({worst[1]}); kept in {share:.0%}"
    return Judged(title, share == 1.0, text)


def _untold(study: StudyRows, load: float) -> Judged:
    """Without prompt counts the figures of before, or better, by the objective that has the same budget."""
    found = {k: study.median("untold", load, TAU, "tail", k) for k in BEFORE[load]}
    if set(study.traces) != PUBLIC:
        found = dict.fromkeys(found, float("nan"))
    return _at_most(f"no prompt counts, `tail`, load {load:g}, 16 slots in steps: as before", BEFORE[load], found)


def makespan(bursts: Iterable[Burst]) -> Judged:
    """On every burst, over longest first with true lengths."""
    found = [(b.over_longest("makespan"), f"{b.trace}, {b.engine}") for b in bursts]
    title = "`makespan` on a burst, tau .55: at most 1.03 of longest first with true lengths, everywhere"
    if not found:
        return Judged(title, None, "-")
    worst = max(found)
    text = f"median {number(float(np.median([v for v, _ in found])), 3)}, worst {number(worst[0], 3)} ({worst[1]})"
    return Judged(title, worst[0] <= 1.03, text)
