"""The sentences of a verdict. Every figure in them is one of the report's, so that words and figures agree."""

from __future__ import annotations

from rankd.replay.report.front import FrontPoint
from rankd.replay.report.recommendation import LEAST_SAVING, SAME, Recommendation
from rankd.replay.report.report import ReplayReport
from rankd.replay.report.units import DurationUnit, against_arrival, in_percent, moved, quarter_name, share_kept

_TELLS_LITTLE = 0.2
"""A tau below which scores tell little."""


def recommended(report: ReplayReport, point: FrontPoint) -> str:
    """What an objective gives and what it costs."""
    unit, fcfs, own = DurationUnit(report.steps), report.of("fcfs"), report.of(point.policy)
    if abs(1 - point.mean) < LEAST_SAVING:
        gain = (
            f"mean E2E latency is the same as in arrival order ({unit(own.latency.mean)}), but mean TTFT is "
            f"{moved(point.first_token)}, and p90 of the time per output token {moved(point.per_token_p90)}"
        )
    else:
        gain = (
            f"mean E2E latency is {against_arrival(point.mean)} "
            f"({unit.instead(own.latency.mean, fcfs.latency.mean)}), and mean TTFT {moved(point.first_token)}"
        )
    slowest = f"p99 of E2E latency is {moved(point.p99)} ({unit.instead(own.latency.p99, fcfs.latency.p99)})"
    return f"Use `{point.policy}`: {gain}; {slowest}."


def who_pays(point: FrontPoint) -> str:
    """The quarter of the requests that pays most."""
    worst = point.worst_quarter
    if worst.mean <= 1.005:
        return "No quarter of the requests, by length of the answer or of the prompt, is slower on average."
    who = quarter_name(worst.name, worst.by)
    return f"The quarter with the {who} pays most: its mean E2E latency is {100 * (worst.mean - 1):.0f} % higher."


def alternatives(found: Recommendation) -> tuple[str, ...]:
    """What other objectives give, and when to choose them."""
    best, sentences = found.point, []
    for point in found.alternatives:
        cheaper = best is not None and point.p99 < best.p99
        when = "the slowest count for more" if cheaper else "the average counts for more than the slowest"
        sentences.append(
            f"With `{point.policy}` mean E2E latency would be {against_arrival(point.mean)}, and p99 "
            f"{moved(point.p99)}: choose it if {when}."
        )
    return tuple(sentences)


def target_sentences(found: Recommendation) -> tuple[str, ...]:
    """Which objectives keep a target, and the share that each keeps."""
    target = found.target
    if target is None:
        return ()
    shares = ", ".join(f"`{n}` {share_kept(s)}" for n, s in target.shares.items() if n != "fcfs")
    base = f"{share_kept(target.shares['fcfs'])} of the requests in arrival order"
    if target.kept_by:
        kept = f"is kept by {', '.join(f'`{name}`' for name in target.kept_by)}"
    else:
        kept = "is kept by no objective"
    if target.kept_in_arrival_order:
        kept += ", and in arrival order"
    return (f"The target, {target.target}, {kept}: it holds for {base}; {shares}.",)


def what_to_set(report: ReplayReport, found: Recommendation) -> tuple[str, ...]:
    """What to do about it."""
    if found.configured:
        return ("It is what the daemon does with these settings.",)
    own = report.point(report.own)
    needs = "" if report.plan.objective else " and RANKD_ORDER__POLICY=boost"
    slo = " (and RANKD_ORDER__SLO)" if found.objective == "slo" else ""
    now = "" if own is None else f"; as configured (`{report.own}`) mean E2E latency is {moved(own.mean)}"
    return (f"To get it, set RANKD_ORDER__OBJECTIVE={found.objective}{slo}{needs}{now}.",)


def batch(report: ReplayReport) -> tuple[str, ...]:
    """When the whole of a burst is done, and its first half."""
    point = report.point("makespan")
    if point is None or report.facts.load is not None:
        return ()
    sentence = (
        f"If only the end of the whole batch counts, `makespan` has it done in {in_percent(point.makespan)} of the "
        f"time; mean E2E latency is then {against_arrival(point.mean)}."
    )
    return (sentence,)


def literature(report: ReplayReport, point: FrontPoint) -> tuple[str, ...]:
    """Whether another method is better in both mean and p99."""
    names = {"paper": "The paper's rule", "uniboost": "UniBoost"}
    better = [
        f"{names[p.policy]} does better in both here: mean E2E latency {moved(p.mean)}, p99 {moved(p.p99)}."
        for p in report.front
        if p.policy in names and p.mean < point.mean - SAME and p.p99 < point.p99 - SAME
    ]
    return tuple(better)


def overload(report: ReplayReport) -> tuple[str, ...]:
    """What order cannot do."""
    load = report.facts.load
    if load is None or load < 1:
        return ()
    sentence = (
        f"More work arrives than the engine can do (load {load:.2f}): order decides who waits, only more capacity ends "
        "the queue."
    )
    return (sentence,)


def rests_on(report: ReplayReport, point: FrontPoint | None) -> str:
    """Scores, what prompts count for, and whether cached tokens were told."""
    source, facts = report.source, report.facts
    tau = "unknown tau" if source.tau is None else f"tau {source.tau:.2f}"
    made = {"synthetic": "made-up scores", "ranker": f"the scores of {source.name}", "trace": "the trace's scores"}
    cost = None if point is None else report.of(point.policy).prompt_cost
    if not facts.has_prompts:
        prompts = "no prompt lengths, so that answers alone order"
    else:
        weight = "" if cost is None else f", each token counted as {cost:.2g} of an answer"
        cached = "no cached tokens told" if facts.cached is None else f"{in_percent(facts.cached)} of them cached"
        prompts = f"prompt lengths{weight} ({cached})"
    return f"This rests on {made[source.kind]} ({tau} to the true lengths) and on {prompts}."


def with_true_lengths(report: ReplayReport) -> tuple[str, ...]:
    """What nobody can have, and how near one may come."""
    oracle = report.point("oracle")
    if oracle is None:
        return ()
    unit = DurationUnit(report.steps)
    sentence = (
        f"With perfectly predicted lengths, shortest first, mean E2E latency would be "
        f"{unit(report.of('oracle').latency.mean)}, {moved(oracle.mean)}."
    )
    return (sentence,)


def useless_ranker(report: ReplayReport) -> str:
    """Why nothing is gained where something was to be had."""
    if report.of(report.policy).trust == 0.0:
        return "The guard found the ranker not to be trusted on this traffic and keeps arrival order, as it should."
    tau = report.source.tau
    if tau is not None and tau < _TELLS_LITTLE:
        return f"The scores tell little of the lengths (tau {tau:.2f}): train a ranker on your own log."
    return "More reordering would slow the slowest requests too much, or the ranker knows too little of the lengths."


def when_it_pays(report: ReplayReport) -> tuple[str, ...]:
    """From which load on."""
    sweep, load = report.load_sweep, report.facts.load
    if sweep is None:
        return ()
    if sweep.pays_from is None:
        most = f"{sweep.points[-1].load:g}"
        return (f"At no load up to {most} of capacity does `{sweep.policy}` take 5 % off mean E2E latency.",)
    now = "" if load is None else f"; this replay is at {load:.2f}"
    sentence = (
        f"Ranking (`{sweep.policy}`) starts to pay, with 5 % off mean E2E latency, at a load of about "
        f"{sweep.pays_from:.2f} of capacity{now}."
    )
    return (sentence,)
