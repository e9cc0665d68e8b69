"""What ``/status.json`` says of how the ranker in service came there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rankd.registry.history import HistoryStep, ServiceHistory

MOST_STEPS_SHOWN = 20


def service_of(history: ServiceHistory, in_service: str) -> dict[str, Any]:
    """Why the daemon began with its ranker, what the registry says is in service, and the newest steps."""
    last, began = history.last, history.beginning
    return {
        "choice": None if began is None else began.choice.value,
        "promoted": None if last is None else last.ranker_version,
        "follows_promotion": last is None or last.ranker_version == in_service,
        "unusable": [] if began is None else [{"version": v, "reason": reason} for v, reason in began.unusable],
        "history_trouble": history.trouble or None,
        "history": [_step(step) for step in history.recent(MOST_STEPS_SHOWN)],
    }


def _step(step: HistoryStep) -> dict[str, Any]:
    """Without directories and callers' names: whoever sees the page need not know them."""
    return {
        "at": step.at,
        "kind": step.kind.value,
        "version": step.ranker_version,
        "before": step.before or None,
        "forced": step.forced,
        "evidence": None if step.evidence is None else asdict(step.evidence),
    }
