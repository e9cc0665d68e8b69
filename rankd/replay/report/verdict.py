"""What a replay comes to, in words that need no knowledge of queues: what to order for, its price, what it rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankd.replay.report import words
from rankd.replay.report.recommendation import LEAST_SAVING, Recommendation, gains, recommend
from rankd.replay.report.report import ReplayReport
from rankd.replay.report.units import DurationUnit, against_arrival, in_percent

NOTHING_QUEUES = 0.02
"""Share of the mean latency that requests wait, in arrival order, below which nothing queues."""
LOW_LOAD = 0.6
"""A load below is named as the reason that nothing is to be gained."""
ALIKE = 0.15
"""Spread of the work of requests, over its mean, below which they are all alike."""


@dataclass(frozen=True, slots=True)
class ReplayVerdict:
    """The verdict."""

    kind: str
    """nothing_queues, nothing_to_gain, no_gain, gain or harm."""
    title: str
    """It in a few words."""
    sentences: tuple[str, ...]
    """What to do, what it gives and costs, what it rests on; plain text."""
    recommendation: Recommendation

    @property
    def text(self) -> str:
        """All of it."""
        return " ".join(self.sentences)


def verdict(report: ReplayReport) -> ReplayVerdict:
    """Recommend an objective, or say why none gains."""
    found = recommend(report)
    if found.point is None:
        return _nothing(report, found)
    sentences = (
        words.recommended(report, found.point),
        *words.target_sentences(found),
        words.who_pays(found.point),
        *words.alternatives(found),
        *words.batch(report),
        *words.what_to_set(report, found),
        *words.literature(report, found.point),
        *words.overload(report),
        words.rests_on(report, found.point),
        *words.when_it_pays(report),
    )
    saved = 1 - found.point.mean
    title = f"Order for {found.objective}: "
    if found.target is not None:
        title += "most within the target" if not found.target.kept_by else "it keeps the target"
    elif saved >= LEAST_SAVING:
        title += f"mean E2E latency {in_percent(saved)} lower"
    else:
        title += "lower TTFT" if found.point.first_token < 1 else "less time per output token"
    return ReplayVerdict("gain", title, sentences, found)


def _nothing(report: ReplayReport, found: Recommendation) -> ReplayVerdict:
    """No objective gains, or none is needed for the target."""
    fcfs, oracle = report.of("fcfs"), report.point("oracle")
    unit = DurationUnit(report.steps)
    waits = fcfs.wait.mean / fcfs.latency.mean
    target, pays = words.target_sentences(found), words.when_it_pays(report)
    if waits < NOTHING_QUEUES:
        first = (
            f"Nothing queues, and there is nothing to gain: in arrival order requests wait {unit(fcfs.wait.mean)} of "
            f"their {unit(fcfs.latency.mean)} on average ({waits:.1%})."
        )
        why = "Order matters only where there is a queue." + _low(report)
        return ReplayVerdict("nothing_queues", "Nothing queues here", (first, why, *target, *pays), found)
    if oracle is not None and not gains(oracle):
        first = (
            f"There is nothing to gain: even with perfectly predicted lengths mean E2E latency would be "
            f"{against_arrival(oracle.mean)}."
        )
        why = _why_alike(report, waits, unit) + _low(report)
        return ReplayVerdict("nothing_to_gain", "Nothing to gain here", (first, why, *target, *pays), found)
    return _not_gained(report, found, target, pays)


def _not_gained(
    report: ReplayReport, found: Recommendation, target: tuple[str, ...], pays: tuple[str, ...]
) -> ReplayVerdict:
    """There is something to gain, and no objective gains it."""
    own, best = report.point(report.own), words.with_true_lengths(report)
    rest = (words.useless_ranker(report), *best, words.rests_on(report, own), *pays)
    if own is not None and own.mean > 1 + LEAST_SAVING:
        first = f"Ranking as configured ({report.own}) makes it worse: mean E2E latency is {against_arrival(own.mean)}."
        return ReplayVerdict("harm", "Ranking does harm here", (first, *target, *rest), found)
    if found.target is not None and any(p.objective and gains(p) for p in report.front):
        first = "Leave it in arrival order: no objective keeps the target better."
        return ReplayVerdict("no_gain", "Arrival order keeps the target best", (first, *target, *rest), found)
    share = "" if own is None else f": with {report.own} mean E2E latency is {against_arrival(own.mean)}"
    first = f"No objective gains anything with these scores{share}."
    return ReplayVerdict("no_gain", "Ranking changes next to nothing here", (first, *target, *rest), found)


def _why_alike(report: ReplayReport, waits: float, unit: DurationUnit) -> str:
    trace, fcfs = report.plan.trace, report.of("fcfs")
    prompt_cost = (report.point(report.own) and report.of(report.own).prompt_cost) or 0.0
    work = trace.output + prompt_cost * trace.uncached
    wait = f"Requests do wait, for {in_percent(waits)} of their mean E2E latency of {unit(fcfs.latency.mean)}"
    if float(np.std(work)) < ALIKE * float(np.mean(work)):
        return f"{wait}, but all are of about the same work: whoever goes first, the others wait as long."
    return f"{wait}, but too short, or for requests too alike, for order to matter."


def _low(report: ReplayReport) -> str:
    load = report.facts.load
    return "" if load is None or load >= LOW_LOAD else f" The load is low: {load:.2f} of what the engine can do."
