"""What a replay comes to, in words and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rankd.replay.report.metrics import PolicyFigures
from rankd.replay.report.report import ReplayReport

NOTHING_QUEUES = 0.02
"""Share of the mean latency that requests wait, under FCFS, below which nothing queues."""
NO_GAIN = 0.01
"""Share of the mean latency: a smaller saving is none ..."""
NO_GAIN_PER_TOKEN = 0.05
"""... unless that per token falls by more than this share."""
_OWN_POLICIES = frozenset({"boost", "due", "aged", "score", "score-cap"})
_MORE = 0.05
"""Share of FCFS's mean that another policy must save beyond the judged one to be mentioned."""
_TAIL = 1.15
"""p99 beyond this multiple of FCFS's is mentioned as a price."""


@dataclass(frozen=True, slots=True)
class ReplayVerdict:
    """The verdict."""

    kind: str
    """nothing_queues, nothing_to_gain, no_gain, gain or harm."""
    sentences: tuple[str, ...]
    """What it is, what it rests on, what to do; plain text."""

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(self.sentences)


def verdict(report: ReplayReport) -> ReplayVerdict:
    """Judge the daemon's own policy against FCFS, and FCFS against what could be had."""
    fcfs, own, oracle = report.of("fcfs"), report.of(report.policy), report.of("oracle")
    unit = DurationUnit(report.steps)
    waits = fcfs.wait.mean / fcfs.latency.mean
    saved = 1 - own.latency.mean / fcfs.latency.mean
    if waits < NOTHING_QUEUES:
        first = (
            f"Nothing queues, and there is nothing to gain: in arrival order requests wait {unit(fcfs.wait.mean)} of "
            f"their {unit(fcfs.latency.mean)} on average ({waits:.1%})."
        )
        why = "Order matters only where there is a queue."
        return ReplayVerdict("nothing_queues", (first, why, *_when_it_pays(report)))
    if not _better(oracle, fcfs):
        most = 1 - oracle.latency.mean / fcfs.latency.mean
        first = (
            f"There is next to nothing to gain: with true lengths the mean latency would change by {-most:.1%} only."
        )
        return ReplayVerdict("nothing_to_gain", (first, _wait_sentence(waits, fcfs, unit), *_when_it_pays(report)))
    before, after = unit(fcfs.latency.mean), unit(own.latency.mean)
    best = f"With perfectly predicted lengths, shortest first, it would be {unit(oracle.latency.mean)}."
    if saved >= -NO_GAIN and _better(own, fcfs):
        first = (
            f"Ranking ({report.policy}) brings the mean latency from {before} down to {after}, {saved:.0%} less, and "
            f"per token from {unit(fcfs.per_token.mean)} to {unit(own.per_token.mean)}."
        )
        tail = _tail_sentence(own, fcfs, unit)
        return ReplayVerdict("gain", (first, tail, *_more_order(report, own, fcfs), best, *_when_it_pays(report)))
    if saved < -NO_GAIN:
        first = f"Ranking ({report.policy}) makes it worse: the mean latency goes from {before} to {after}."
        return ReplayVerdict("harm", (first, _ranker_sentence(report, own), best))
    first = (
        f"Ranking ({report.policy}) changes next to nothing: the mean latency is {after}, in arrival order {before}."
    )
    return ReplayVerdict("no_gain", (first, _ranker_sentence(report, own), *_more_order(report, own, fcfs), best))


def _better(own: PolicyFigures, fcfs: PolicyFigures) -> bool:
    return (
        own.latency.mean < (1 - NO_GAIN) * fcfs.latency.mean
        or own.per_token.mean < (1 - NO_GAIN_PER_TOKEN) * fcfs.per_token.mean
    )


@dataclass(frozen=True, slots=True)
class DurationUnit:
    """Durations for people."""

    steps: bool

    def bare(self, seconds: float) -> str:
        """For the cells of a table, where steps go without saying."""
        return self(seconds).removesuffix(" steps")

    def __call__(self, seconds: float) -> str:
        """In steps, or in a unit of time that suits."""
        if self.steps:
            return f"{seconds:,.0f} steps" if abs(seconds) >= 10 else f"{seconds:,.2f} steps"
        if abs(seconds) < 1:
            return f"{1000 * seconds:,.0f} ms" if abs(seconds) >= 0.01 else f"{1000 * seconds:,.2f} ms"
        if abs(seconds) < 120:
            return f"{seconds:,.1f} s"
        return f"{seconds / 60:,.1f} min" if abs(seconds) < 7200 else f"{seconds / 3600:,.1f} h"


def _tail_sentence(own: PolicyFigures, fcfs: PolicyFigures, unit: DurationUnit) -> str:
    ratio = own.latency.p99 / fcfs.latency.p99
    before, after = unit(fcfs.latency.p99), unit(own.latency.p99)
    if ratio > _TAIL:
        return f"The price: the 99th percentile goes from {before} to {after}, {ratio - 1:.0%} more."
    longest = f"{unit(fcfs.latency.max)} to {unit(own.latency.max)}"
    return f"The 99th percentile goes from {before} to {after}, the longest latency from {longest}."


def _more_order(report: ReplayReport, own: PolicyFigures, fcfs: PolicyFigures) -> tuple[str, ...]:
    """What another of the daemon's policies would do to the mean, and its price; nothing where it does little more."""
    others = [f for f in report.figures if f.policy.partition(":")[0] in _OWN_POLICIES and f is not own]
    best = min(others, key=lambda f: f.latency.mean, default=own)
    if best.latency.mean > own.latency.mean - _MORE * fcfs.latency.mean:
        return ()
    saved, price = 1 - best.latency.mean / fcfs.latency.mean, best.latency.p99 / fcfs.latency.p99
    return (f"{best.policy} would take {saved:.0%} off the mean, with a 99th percentile {price:.1f} times as long.",)


def _wait_sentence(waits: float, fcfs: PolicyFigures, unit: DurationUnit) -> str:
    return (
        f"Requests do wait, {waits:.0%} of their {unit(fcfs.latency.mean)}, but too short, or for requests too alike, "
        "for order to matter."
    )


def _ranker_sentence(report: ReplayReport, own: PolicyFigures) -> str:
    if own.trust == 0.0:
        return "The guard found the ranker not to be trusted on this traffic and keeps arrival order, as it should."
    tau = report.source.tau
    if tau is not None and tau < 0.2:
        return f"The scores tell little of the lengths (tau {tau:.2f}): train a ranker on your own log."
    return "The tail leaves no room for more patience, or the ranker has too little to say."


def _when_it_pays(report: ReplayReport) -> tuple[str, ...]:
    sweep, load = report.load_sweep, report.facts.load
    if sweep is None:
        return ()
    if sweep.pays_from is None:
        return (f"At no load up to {sweep.points[-1].load:g} of capacity does ranking save 5 % of the mean.",)
    now = "" if load is None else f"; this replay is at {load:.2f}"
    return (f"Ranking starts to pay (5 % off the mean) at a load of about {sweep.pays_from:.2f} of capacity{now}.",)


def as_json(report: ReplayReport) -> dict[str, Any]:
    """Everything, with stable keys: durations are seconds, or engine steps where ``engine.steps``."""
    found, facts = verdict(report), report.facts
    return {
        "verdict": {"kind": found.kind, "text": found.text},
        "policy": report.policy,
        "trace": {
            "name": facts.name,
            "requests": facts.requests,
            "span": facts.span,
            "arrivals": facts.arrivals,
            "offered_load": facts.load,
            "capacity_per_second": facts.capacity,
            "input_tokens_mean": facts.input_mean,
            "output_tokens": {"mean": facts.output_mean, "p50": facts.output_p50, "p99": facts.output_p99},
        },
        "engine": {"steps": report.steps, **asdict(report.plan.cost)},
        "scores": asdict(report.source),
        "policies": {f.policy: _policy_json(f) for f in report.figures},
        "tau_sweep": None if report.tau_sweep is None else asdict(report.tau_sweep),
        "load_sweep": None if report.load_sweep is None else asdict(report.load_sweep),
        "notes": list(report.plan.notes),
        "replay_seconds": round(report.seconds, 3),
        "skipped": dict(sorted(report.plan.skipped.items())),
    }


def _policy_json(f: PolicyFigures) -> dict[str, Any]:
    found = asdict(f)
    del found["policy"], found["requests"]
    found["first_done"] = {str(n): seconds for n, seconds in f.first_done.items()}
    for name in ("tenants", "classes", "lengths"):
        found[f"by_{name}"] = found.pop(name)
    return found
