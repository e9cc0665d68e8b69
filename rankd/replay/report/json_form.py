"""A replay as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rankd.replay.report.front import FrontPoint
from rankd.replay.report.metrics import PolicyFigures
from rankd.replay.report.report import ReplayReport
from rankd.replay.report.verdict import ReplayVerdict, verdict


def as_json(report: ReplayReport) -> dict[str, Any]:
    """Everything, with stable keys: durations are seconds, or engine steps where ``engine.steps``."""
    found, facts = verdict(report), report.facts
    return {
        "verdict": {"kind": found.kind, "text": found.text},
        "recommendation": _recommendation(report, found),
        "policy": report.policy,
        "objective": report.plan.objective,
        "trace": {
            "name": facts.name,
            "requests": facts.requests,
            "span": facts.span,
            "arrivals": facts.arrivals,
            "offered_load": facts.load,
            "capacity_per_second": facts.capacity,
            "input_tokens_mean": facts.input_mean,
            "cached_share": facts.cached,
            "output_tokens": {"mean": facts.output_mean, "p50": facts.output_p50, "p99": facts.output_p99},
        },
        "engine": {"steps": report.steps, **asdict(report.plan.cost)},
        "scores": asdict(report.source),
        "learned": None if report.learned is None else asdict(report.learned),
        "front": [asdict(point) for point in report.front],
        "policies": {f.policy: _policy(f) for f in report.figures},
        "tau_sweep": None if report.tau_sweep is None else asdict(report.tau_sweep),
        "load_sweep": None if report.load_sweep is None else asdict(report.load_sweep),
        "columns": {name: list(columns) for name, columns in report.plan.columns.items()},
        "notes": list(report.plan.notes),
        "replay_seconds": round(report.seconds, 3),
        "skipped": dict(sorted(report.plan.skipped.items())),
    }


def _recommendation(report: ReplayReport, verdict_: ReplayVerdict) -> dict[str, Any]:
    found = verdict_.recommendation
    rests = found.point or report.point(report.own)
    return {
        "objective": found.objective,
        "configured": found.configured,
        "point": None if found.point is None else asdict(found.point),
        "alternatives": [_name(point) for point in found.alternatives],
        "slo": None
        if found.target is None
        else {
            "target": found.target.target,
            "share": found.target.share,
            "shares": found.target.shares,
            "kept_by": list(found.target.kept_by),
            "kept_in_arrival_order": found.target.kept_in_arrival_order,
        },
        "rests_on": {
            "tau": report.source.tau,
            "prompt_token_cost": None if rests is None else report.of(rests.policy).prompt_cost,
            "prompt_tokens": report.facts.has_prompts,
            "cached_tokens": report.facts.cached is not None,
        },
    }


def _name(point: FrontPoint) -> str:
    return point.policy


def _policy(f: PolicyFigures) -> dict[str, Any]:
    found = asdict(f)
    del found["policy"], found["requests"]
    found["first_done"] = {str(n): seconds for n, seconds in f.first_done.items()}
    for name in ("tenants", "classes", "lengths", "prompts"):
        found[f"by_{name}"] = found.pop(name)
    return found
