"""What ``rankd status`` shows: saved seconds first, then how good the order is, then the daemon."""

from __future__ import annotations

import time
from collections.abc import Iterator

from rankd_client import Estimate, LearnedQuality, ModelQuality, PolicyInForce, QualityReport, ServiceStatus
from rankd_client.ordering import ObjectiveOutcome, Policy
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rankd.cli.rankers.standing import standing
from rankd.cli.status_savings import saved
from rankd.text import printable

_BAR = 20
_GUARD_REASONS = {
    "no_evidence": "nothing was reported yet",
    "warmed_up": "enough completions, and it orders well enough",
    "quality": "tau was surely below the floor",
    "errors": "batches failed",
    "latency": "scoring took too long",
    "recovered": "what was wrong is well again",
    "pinned": "an administrator fixed the mode",
    "unpinned": "the pin ended",
    "judged": "it was just judged on recent completions",
    "followed": "the fleet's guard decided so",
}
"""Words for those who do not know the wire's."""
_MANY_MISSED, _FEW = 0.2, 20
"""Share of requests that were not ranked, and their number, from which on it is said."""
_NOT_WANTED = {
    "guard": "held back by the guard",
    "ranker_unavailable": "batches fail or take too long",
    "requested": "asked for",
}


def _where(service: ServiceStatus) -> str:
    """Where the ranker runs, and in how many workers; daemons before these were told say nothing of them."""
    count = service.workers
    return service.provider + (f", {count} worker{'s' if count > 1 else ''}" if count else "")


def view(report: QualityReport, before: QualityReport | None = None, interval: float = 1.0) -> RenderableType:
    """The report for people. ``before`` is that of an ``interval`` (seconds) ago, for rates."""
    service = report.service
    head = Table.grid(padding=(0, 2))
    head.add_row("ranker", Text(printable(f"{service.ranker_version} on {_where(service)}"), style="bold"))
    if said := standing(service):
        head.add_row("promotion", Text(printable(said), style="bold red"))
    if placed := _placed(service):
        head.add_row("model", Text(printable(placed), style="bold red" if service.placement.cpu_products else ""))
    up = _lasting(time.time() - service.started_at)
    head.add_row("daemon", f"rankd {service.rankd_version}, up {up}" + (", draining" if service.draining else ""))
    if service.failing_files:
        failing = ", ".join(map(printable, service.failing_files))
        head.add_row("files", Text(f"not in force: {failing} (the daemon's log says why)", style="bold red"))
    for policy in report.policies:
        why = f" ({_NOT_WANTED.get(policy.reason, policy.reason)})" if policy.reason else ""
        head.add_row(_named("policy", policy.model), f"{policy.policy.value}{why}{_policy(policy)}")
        for label, text in _ordered_for(policy):
            head.add_row(_named(label, policy.model), text)
    rate = ""
    if before is not None:
        rate = f", {(service.rank_calls - before.service.rank_calls) / interval:.0f} calls/s"
    head.add_row(
        "traffic", f"{service.rank_calls:,} calls, {service.items:,} items, {service.unscored_items:,} unscored{rate}"
    )
    head.add_row(
        "reports",
        f"{service.completions:,} completions, {service.progress_reports:,} progress reports of requests under way",
    )
    head.add_row(
        "scoring",
        f"{service.scored_prompts:,} prompts read, {service.cached_prompts:,} known already, "
        f"{service.queued_prompts:,} waiting, {service.failed_batches:,} batches failed",
    )
    if not_ranked := _not_ranked(service):
        head.add_row("not ranked", Text(not_ranked, style="bold red"))
    first = saved(report)
    return Group(*([] if first is None else [first]), head, *(_quality(q) for q in report.qualities))


def _not_ranked(service: ServiceStatus) -> str:
    """Of requests that engines placed of late, those that should have been ranked and were not, and what to do."""
    placed = service.recently_placed
    share = placed.missed_share
    if share is None or share <= _MANY_MISSED or placed.missed < _FEW:
        return ""
    if placed.unreachable > placed.too_late:
        remedy = "engines do not reach this daemon, or it refuses them: look at their logs"
    else:
        remedy = "scores come too late: more cores, --ranker ngram, or a longer RANKD_TIMEOUT where one is set"
    wanted = placed.ranked + placed.missed
    return f"{share:.0%} of {wanted:,} requests of the last 5 minutes went in arrival order; {remedy}"


def _policy(policy: PolicyInForce) -> str:
    """Patience, trust and wait, as far as the policy follows them."""
    parts = []
    if policy.policy in (Policy.DUE, Policy.BOOST):
        parts.append(f"{policy.patience:.3g} s per token")
    if policy.policy is not Policy.FCFS and policy.adaptive_rules is not None:
        parts.append(f"trust {policy.trust:.0%}")
    if policy.mean_wait is not None:
        parts.append(f"requests wait {policy.mean_wait:.3g} s")
    return "".join(f", {p}" for p in parts)


def _ordered_for(policy: PolicyInForce) -> Iterator[tuple[str, str]]:
    """What the order is for, what that gains, and what it goes by."""
    if policy.objective is not None:
        found = policy.outcomes.get(policy.objective)
        gains = _gains(found) + " (recent completions replayed)" if found else "what it gains is not known yet"
        yield "ordered for", f"{policy.objective.value}: {gains}"
        others = [f"{o.value} {_gains(f)}" for o, f in policy.outcomes.items() if o is not policy.objective]
        if others:
            yield "other objectives", "; ".join(others)
    if policy.learned.ignore_lengths:
        yield "ordered by", "prompts alone: the ranker's scores do not make that order better"
    elif policy.learned.prompt_cost > 0:
        yield (
            "ordered by",
            f"answers and prompts: a prompt token counts for {policy.learned.prompt_cost:.2g} output tokens",
        )
    if (costs := policy.costs) is not None:
        took = ((costs.per_prompt_token, "a prompt token"), (costs.per_output_token, "an output token"))
        parts = [f"{c.value * 1e3:.3g} ms ({c.low * 1e3:.3g} to {c.high * 1e3:.3g}) {what}" for c, what in took]
        yield "engine takes", f"{', '.join(parts)}; {costs.running:.3g} requests run at a time"


def _gains(found: ObjectiveOutcome) -> str:
    """What an objective makes of recent traffic, against arrival order."""
    text = f"mean {found.mean_ratio:.2f} of arrival order's, p99 {found.p99_ratio:.2f}"
    if found.slo_share is not None and found.arrival_slo_share is not None:
        text += f", {found.slo_share:.1%} within the target instead of {found.arrival_slo_share:.1%}"
    return text


def _quality(q: ModelQuality) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_row("")
    style = {"ranked": "", "fallback": "yellow"}.get(q.guard.mode, "")
    table.add_row(_named("guard", q.model), Text(printable(guard_line(q)), style=style))
    if q.fleet is not None:
        whose = f"{q.fleet.replicas} of {q.fleet.peers + 1} replicas" + (", this one decides" * q.fleet.leading)
        decides = "" if q.fleet.followed else "; the guard decides on its own"
        # What replicas add up is what their guards decide on.
        name = "tau, fleet" if q.prompt_work_tau is None else "tau of work, fleet"
        table.add_row(name, _bounded(q.fleet.tau, f"{whose}{decides}"))
    if q.learned is not None:
        table.add_row("learned", Text(learned_line(q.learned, q.learned_in_use)))
    table.add_row("tau", _bounded(q.tau, f"{q.cohort_size:,} requests, {q.decided_pair_share:.0%} of pairs decided"))
    if q.prompt_work_tau is not None:
        table.add_row("tau of work", _bounded(q.work_tau, "what the guard decides on"))
        table.add_row("tau of prompts", _bounded(q.prompt_work_tau, "the same, answers being all alike"))
    table.add_row("tau, finished", _bounded(q.finished_tau, f"{q.window_size:,} requests"))
    table.add_row("realised gain", _bounded(q.realised_gain, "1 is a perfect order, 0 is chance"))
    if q.head_tau is not None and q.tail_tau is not None:
        table.add_row("tau of head, tail", f"{q.head_tau:.3f} below the median length, {q.tail_tau:.3f} above")
    missing = "" if q.progress_seen else ", no progress reported of late: long requests are undercounted"
    reported = f"{q.progress_reports:,} progress reports, {q.open:,} requests under way"
    table.add_row("completions", f"{q.completions:,}; {reported}{missing}")
    return table


def guard_line(q: ModelQuality) -> str:
    """A guard's mode, what is served meanwhile, and why, in words."""
    mode = q.guard.mode.replace("_", " ")
    by_prompts = "prompts alone order" if q.guard.mode == "fallback" else "requests are ranked"
    served = by_prompts if q.guard.ranking else "requests are served in arrival order"
    why = _GUARD_REASONS.get(q.guard.reason, q.guard.reason.replace("_", " "))
    pinned = f"; pinned until {_utc(q.guard.pinned_until)}" if q.guard.pinned_until else ""
    return f"{mode}: {served} ({why}{pinned})"


def learned_line(learned: LearnedQuality, in_use: bool) -> str:
    """What was learned of the traffic, and whether it orders, in a sentence.

    Args:
        learned: where it stands.
        in_use: whether it orders now; a pilot under way holds a change back.
    """
    line = f"from {learned.completions:,} completions"
    base, own, difference = learned.base_tau, learned.learned_tau, learned.difference
    if base is not None and own is not None and difference is not None:
        bounds = f"{_short(difference.low)} to {_short(difference.high)}"
        line += (
            f": tau {_short(own.value)} against {_short(base.value)} (difference {_short(difference.value)}, {bounds})"
        )
    since = f" since {_utc(learned.since)}" if learned.since is not None else ""
    says = {
        "learning": "too few to say whether it orders better",
        "not_better": "not better yet: the ranker's own scores order",
        "in_use": f"in use{since}" if in_use else "better, and comes into use when no pilot is under way",
        "stepped_back": f"stepped back{since.replace('since', 'at')}: traffic changed; the ranker's own scores order",
    }
    left_out = f"; {learned.left_out:,} left out" if learned.left_out else ""
    return f"{line}, {says.get(learned.state, learned.state)}{left_out}"


def _short(figure: float) -> str:
    """Two digits, without the zero in front."""
    text = f"{figure:.2f}".replace("0.", ".", 1)
    return "0" if text in (".00", "-.00") else text


def _bounded(estimate: Estimate | None, note: str) -> str:
    if estimate is None:
        return "not enough completions yet"
    bar = "█" * round(max(0.0, min(1.0, estimate.value)) * _BAR)
    return f"{estimate.value:z.3f} ({estimate.low:z.3f} to {estimate.high:z.3f}) {bar:░<{_BAR}} {note}"


def _placed(service: ServiceStatus) -> str:
    """What the model calculates in and where; empty where the daemon does not say."""
    placement = service.placement
    parts = [placement.precision] if placement.precision else []
    if placement.device_share is not None:
        parts.append(f"{placement.device_share:.0%} of its time on the GPU")
    if placement.cpu_products:
        products = ", ".join(f"{n} x {operator}" for operator, n in sorted(placement.cpu_products.items()))
        parts.append(f"on the CPU though there is a GPU: no CUDA kernel for {products}")
    return ", ".join(parts)


def _lasting(seconds: float) -> str:
    """Hours, minutes and seconds, behind whole days where there are any."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return (f"{days} d " if days else "") + f"{hour:02}:{minute:02}:{second:02}"


def _utc(at: float) -> str:
    """A time with its date: pins last up to a week."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _named(label: str, model: str) -> str:
    return printable(f"{label} {model}".strip())
