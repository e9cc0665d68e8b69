"""The parts of ``/status.json``: a window, a ranker, a pilot as plain values. What is unknown or infinite is None."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from rankd_client.ordering import CostEstimate, Objective, Policy, ServiceCosts

from rankd.adaptation import AdaptationStatus
from rankd.clock import CLOCK
from rankd.monitor.trust import Trust, prompt_cost_of
from rankd.monitor.window import Window
from rankd.pilot import PilotState, Switchback
from rankd.pilot.live import LivePilots
from rankd.pilot.report import Effect
from rankd.quality import Interval
from rankd.ranking.policy import in_force
from rankd.registry.loaded import LoadedRanker, Registry
from rankd.registry.shadow import ShadowRankers
from rankd.settings import OrderSection, Settings

_UNKNOWN = (math.nan, math.nan, math.nan)


def row_of(window: Window, trust: Trust, order: OrderSection, saved: Interval | None) -> tuple[float, ...]:
    """What ``history.WINDOW`` names, without the time.

    Args:
        window: what is known.
        trust: what follows from that.
        order: the daemon's settings.
        saved: seconds that requests were saved on average, end to end; None where nothing is said of the present.
    """
    estimate, patience = window.estimate, window.load.patience(Objective(order.objective))
    tau = estimate.tau if estimate is not None else None
    gain = estimate.realised_gain if estimate is not None else None
    work = estimate.work_tau if estimate is not None else None
    return (
        *((tau.value, tau.low, tau.high) if tau is not None else _UNKNOWN),
        *((gain.value, gain.low, gain.high) if gain is not None else _UNKNOWN),
        *((work.value, work.low, work.high) if work is not None else _UNKNOWN),
        trust.level,
        math.nan if patience is None else patience,
        *((saved.value, saved.low, saved.high) if saved is not None else _UNKNOWN),
    )


def window_of(window: Window, trust: Trust, settings: Settings, piloted: Policy | None) -> dict[str, Any]:
    """One served model and ranker version: its guard, its quality, and what orders its queue.

    Args:
        window: what is known of it.
        trust: what follows from that.
        settings: the daemon's.
        piloted: the policy that a pilot asks for; None where none does.
    """
    estimate = window.estimate
    quality = {
        "tau": _bounded(estimate.tau if estimate else None),
        "finished_tau": _bounded(estimate.tau_b if estimate else None),
        "realised_gain": _bounded(estimate.realised_gain if estimate else None),
        "work_tau": _bounded(estimate.work_tau if estimate else None),
        "prompt_work_tau": _bounded(estimate.prompt_work_tau if estimate else None),
        "realised_work_gain": _bounded(estimate.realised_work_gain if estimate else None),
        "cohort_size": estimate.cohort_size if estimate else 0,
        "decided_pair_share": estimate.decided_pair_share if estimate else None,
        "progress_seen": estimate.progress_seen if estimate else False,
        "open": estimate.open if estimate else 0,
    }
    return {
        "model": window.model,
        "ranker_version": window.ranker_version,
        "completions": window.tracker.completions,
        "progress_reports": window.tracker.progress_reports,
        "last_report_at": _wall(window.used_at or None),
        **quality,
        "learned": None if window.adaptation is None else _learned(window.adaptation.status, window.learned_in_use),
        "guard": _guard(window, settings),
        "order": _order(trust, settings, piloted),
    }


def _learned(status: AdaptationStatus, in_use: bool) -> dict[str, Any]:
    """What was learned of the traffic beside the ranker, and whether figures of quality are of it."""
    return {
        "in_use": in_use,
        "state": status.state.value,
        "completions": status.completions,
        "compared": status.compared,
        "base_tau": _bounded(status.base_tau),
        "learned_tau": _bounded(status.learned_tau),
        "difference": _bounded(status.difference),
        "since": _wall(status.since),
        "switches": status.switches,
        "left_out": status.left_out,
    }


def _bounded(estimate: Interval | CostEstimate | None) -> dict[str, float] | None:
    return None if estimate is None else {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _guard(window: Window, settings: Settings) -> dict[str, Any]:
    guard = window.guard
    return {
        "mode": guard.mode.value,
        "ranking": guard.ranks or guard.ignores_lengths or not settings.guard.enabled,
        "measured": window.measured,
        "reason": window.reason,
        "since": _wall(guard.since),
        "pinned_until": _wall(guard.pinned_until),
        "transitions": window.transitions,
        "changes": [
            {"at": CLOCK.to_wall(c.at), "from": c.origin.value, "to": c.to.value, "reason": c.reason.value}
            for c in window.changes.copy()
        ],
    }


def _order(trust: Trust, settings: Settings, piloted: Policy | None) -> dict[str, Any]:
    """What orders a model's queue now, as far as that does not depend on the queue."""
    effective, load = in_force(settings.order, trust, piloted), trust.load
    return {
        "policy": effective.policy.value,
        "reason": effective.reason.value,
        "trust": trust.level,
        "patience_per_token": _finite(effective.rules.patience),
        "objective": effective.objective.value,
        "tuned_patience_per_token": effective.learned.patience.get(effective.objective),
        "ignores_lengths": trust.ignores_lengths,
        "prompt_token_cost": prompt_cost_of(load, settings),
        "costs": _costs(load.costs),
        "outcomes": [{"objective": o.value, **asdict(found)} for o, found in load.outcomes.copy().items()],
        "replayed": min(load.tuned_at, settings.order.tune_window) or None,
        "tokens_per_second": load.rate.per_second,
        "mean_wait": load.wait.mean,
        "mean_expected_tokens": trust.calibration.mean_expected if trust.calibration is not None else None,
    }


def _costs(costs: ServiceCosts | None) -> dict[str, Any] | None:
    """What the engine takes for a request, seconds; None where that was not learned."""
    return (
        None
        if costs is None
        else {
            "per_prompt_token": _bounded(costs.per_prompt_token),
            "per_output_token": _bounded(costs.per_output_token),
            "per_request": _bounded(costs.per_request),
            "running": costs.running,
            "completions": costs.completions,
        }
    )


def ranker_of(ranker: LoadedRanker, registry: Registry, shadows: ShadowRankers) -> dict[str, Any]:
    """A loaded ranker: what it is, and what it does here."""
    shadow = shadows.get(ranker.version)
    roles = {
        "in_service": ranker is registry.in_service,
        "shadow": shadow is not None,
        "previous": ranker is registry.previous,
    }
    return {
        "version": ranker.version,
        "role": next((role for role, has_it in roles.items() if has_it), "loaded"),
        "provider": ranker.scorer.provider,
        "precision": ranker.precision,
        "device_share": ranker.device_share,
        "cpu_products": dict(ranker.cpu_products),
        "workers": ranker.scorer.runner.workers,
        "measured_tau": ranker.measured_tau,
        "queued_prompts": ranker.scorer.queued_prompts,
        "shadow": None
        if shadow is None
        else {
            "since": CLOCK.to_wall(shadow.since),
            "scored": shadow.scored,
            "dropped": shadow.dropped,
            "completions": len(shadow.pairs),
        },
    }


def pilot_of(model: str, pilot: Switchback, pilots: LivePilots) -> dict[str, Any]:
    """A pilot, under way or ended. Of the two intervals, the one that is valid in its state."""
    plan, report = pilot.plan, pilot.report(pilots.now(model))
    return {
        "model": model,
        "state": report.state.value,
        "reason": report.reason,
        "control": plan.control.value,
        "treatment": plan.treatment.value,
        "arm": report.arm.value if report.arm is not None else None,
        "shadow": plan.shadow,
        "metric": plan.metric.value,
        "starts_at": plan.schedule.start,
        "ends_at": pilots.ends_at(model, pilot),
        "blocks": plan.schedule.blocks,
        "blocks_measured": report.blocks,
        "requests": report.counts.requests,
        "effects": [_effect(e, report.state) for e in report.effects],
    }


def _effect(effect: Effect, state: PilotState) -> dict[str, Any]:
    low, high = effect.bounds(state)
    return {
        "metric": effect.metric.value,
        "control": effect.control,
        "treatment": effect.treatment,
        "ratio": effect.ratio,
        "low": low,
        "high": _finite(high),
    }


def _wall(at: float | None) -> float | None:
    """A time of the daemon's clock as the machine's tells it."""
    return None if at is None else CLOCK.to_wall(at)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
