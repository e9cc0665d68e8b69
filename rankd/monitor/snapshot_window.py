"""A window as plain values and columns, and back. A file that was written to by others restores nothing that cannot be.

Times in a file are the machine's clock's, which outlives the process; a window's are the daemon's own.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import CostEstimate, Objective, ObjectiveOutcome, ServiceCosts

from rankd.adaptation import ImplausibleError
from rankd.clock import CLOCK
from rankd.monitor.load import ModelLoad
from rankd.monitor.monitor import Monitor
from rankd.monitor.snapshot_saving import restore_total, save_total
from rankd.monitor.tracker_settings import feature_key_id, quality_settings
from rankd.monitor.window import Window
from rankd.quality import GuardReason
from rankd.quality.serialise import (
    Saved,
    can_be,
    moment,
    number,
    restore_guard,
    restore_tracker,
    save_guard,
    save_tracker,
)
from rankd.quality.values import MAX_TOKENS
from rankd.settings import Settings

_LEARNED = "learned"
_REASONS = frozenset(("no_evidence", "judged", *(reason.value for reason in GuardReason)))
_MOST_KNOTS = 4096
_MOST_PATIENCE = 1e6
"""Seconds per token, as ``order.max_patience_per_token`` has it."""
_MOST_RATIO = 1e6
_RATIOS = ("mean_ratio", "p99_ratio", "first_token_ratio")
_SHARES = ("slo_share", "arrival_slo_share")


def save_window(window: Window, key_id: str = "") -> Saved:
    """Copy a window; ``key_id`` says what the features of its completions are hashed with."""
    ahead = CLOCK.offset()
    tracker = save_tracker(window.tracker, ahead)
    learned = None if window.adaptation is None else window.adaptation.save(ahead)
    columns = {} if learned is None else {f"{_LEARNED}/{name}": column for name, column in learned.columns.items()}
    return Saved(
        tracker.columns | columns,
        {
            "model": window.model,
            "ranker_version": window.ranker_version,
            "reason": window.reason,
            "used_at": max(0.0, window.used_at + ahead),
            "patience": None,  # read by a rankd from before there were objectives, to which this may be rolled back
            "outcomes": {objective.value: asdict(outcome) for objective, outcome in window.load.outcomes.items()},
            "costs": None if window.load.costs is None else asdict(window.load.costs),
            "mean_prompt": window.load.mean_prompt,
            "prompt_cost": window.load.prompt_cost,
            "queued": window.load.queued,
            "saved": save_total(window.load.saving, ahead),
            "guard": save_guard(window.guard, ahead),
            # A rankd from before anything was learned finds the ranker's own map here.
            "calibration": _saved_calibration(window.base_calibration),
            _LEARNED: learned
            and {
                "key_id": key_id,
                "in_use": window.learned_in_use,
                "calibration": _saved_calibration(window.learned_calibration),
                "head": learned.scalars,
            },
            "tracker": tracker.scalars,
        },
    )


def restore_window(monitor: Monitor, settings: Settings, saved: Saved, ahead: float) -> Window:
    """A window as it was, followed by nobody yet; without what was learned where that is implausible.

    Args:
        monitor: what knows its ranker.
        settings: the daemon's.
        saved: what ``save_window`` gave, as it was read.
        ahead: seconds that the clock of saved times is ahead of the daemon's.

    Raises:
        ValueError: what was saved cannot be.
        KeyError: something is missing.
    """
    try:
        return _restored(monitor, settings, saved, ahead, saved.scalars.get(_LEARNED))
    except ImplausibleError:
        return _restored(monitor, settings, saved, ahead, None)


def _restored(monitor: Monitor, settings: Settings, saved: Saved, ahead: float, learned: Any) -> Window:
    """A window with ``learned`` of what was saved: None where nothing was learned, or before anything could be.

    Raises:
        ValueError: what was saved cannot be.
        KeyError: something is missing.
    """
    fields, now = saved.scalars, CLOCK.now()
    base = monitor.base(str(fields["ranker_version"]))
    if not settings.adapt.enabled or (learned and learned["key_id"] != feature_key_id(settings, base.ranker_version)):
        learned = None
    tracker = restore_tracker(
        quality_settings(settings), Saved(saved.columns, fields["tracker"]), now, ahead, learned=learned is not None
    )
    window = monitor.new_window(_name(fields["model"], settings), base.ranker_version, tracker)
    reason = fields["reason"]
    if reason not in _REASONS:
        raise ValueError("reason: none that a guard gives")
    if restore_guard(window.guard, fields["guard"], now, ahead):
        window.reason = reason
    window.used_at = min(moment(fields["used_at"]) - ahead, now)
    if fields["calibration"] is not None:
        window.base_calibration = _calibration(fields["calibration"], settings.limits.max_token_count)
    if learned is not None:
        _restore_learned(window, Saved(saved.columns, learned), settings, ahead)
    if bool((fields.get(_LEARNED) or {}).get("in_use")) is not window.learned_in_use:
        window.guard.scores_changed(better=False)  # it stood where it did because of other scores
    window.refit_at = tracker.completions
    restore_load(window.load, fields, ahead)
    return window


def writable(saved: Saved) -> bool:
    """Whether a window's values are all numbers that a file can hold, and that are read again."""
    try:
        json.dumps(saved.scalars, allow_nan=False)
    except ValueError:
        return False
    return can_be(saved.columns)


def _restore_learned(window: Window, saved: Saved, settings: Settings, ahead: float) -> None:
    """Put back what was learned beside the ranker, and whether it orders.

    Raises:
        ValueError: it cannot be.
        KeyError: something is missing.
    """
    assert window.adaptation is not None
    fields, prefix = saved.scalars, f"{_LEARNED}/"
    columns = {n.removeprefix(prefix): column for n, column in saved.columns.items() if n.startswith(prefix)}
    window.adaptation.restore(Saved(columns, fields["head"]), CLOCK.now(), ahead)
    if fields["calibration"] is not None:
        window.learned_calibration = _calibration(fields["calibration"], settings.limits.max_token_count)
    if fields["in_use"] is True and window.learned_calibration is not None and window.adaptation.in_use:
        window.tracker.use_learned(True)


def _name(value: Any, settings: Settings) -> str:
    # A lone surrogate cannot be sent to anybody: encoding it fails with a ValueError.
    if not isinstance(value, str) or len(value.encode()) > settings.limits.max_name_bytes:
        raise ValueError("model: a name is expected")
    return value


def _saved_calibration(calibration: Calibration | None) -> dict[str, Any] | None:
    if calibration is None:
        return None
    return {
        "knots": [[k.score, k.expected, k.p50, k.p90] for k in calibration.knots],
        "mean_expected": calibration.mean_expected,
    }


def _calibration(fields: dict[str, Any], most_tokens: float) -> Calibration:
    if len(fields["knots"]) > _MOST_KNOTS:
        raise ValueError("knots: too many")

    def quantile(value: Any) -> float | None:
        return None if value is None else _within(value, most_tokens)

    knots = tuple(
        Knot(number(score), _within(expected, most_tokens), quantile(p50), quantile(p90))
        for score, expected, p50, p90 in fields["knots"]
    )
    return Calibration(knots, _within(fields["mean_expected"], most_tokens))


def _within(value: Any, most: float) -> float:
    """A number from 0 to ``most``, or ValueError."""
    if not 0 <= number(value) <= most:
        raise ValueError("out of range")
    return float(value)


def restore_load(load: ModelLoad, fields: dict[str, Any], ahead: float = 0.0) -> None:
    """Put back what was known of a served model's load; saved times are so many seconds ahead of the daemon's.

    Raises:
        ValueError: it cannot be.
        KeyError: something is missing.
    """
    if "outcomes" not in fields:
        return  # written before there were objectives: it is learned anew
    for name, outcome in fields["outcomes"].items():
        slo_share, by_arrival = (None if outcome[n] is None else _within(outcome[n], 1.0) for n in _SHARES)
        mean, p99, first_token = (_within(outcome[n], _MOST_RATIO) for n in _RATIOS)
        load.outcomes[Objective(name)] = ObjectiveOutcome(
            _within(outcome["patience"], _MOST_PATIENCE),
            mean,
            p99,
            first_token,
            slo_share,
            by_arrival,
            _within(outcome["backlog_share"], _MOST_RATIO),
        )
    restore_total(load.saving, fields.get("saved"), ahead)
    load.mean_prompt = _within(fields["mean_prompt"], MAX_TOKENS)
    load.prompt_cost = _within(fields["prompt_cost"], _MOST_RATIO)
    load.queued = int(_within(fields["queued"], MAX_TOKENS))
    if (costs := fields["costs"]) is not None:
        load.costs = ServiceCosts(
            per_prompt_token=_estimate(costs["per_prompt_token"]),
            per_output_token=_estimate(costs["per_output_token"]),
            per_request=_estimate(costs["per_request"]),
            running=max(_within(costs["running"], MAX_TOKENS), 1.0),
            completions=int(_within(costs["completions"], MAX_TOKENS)),
        )


def _estimate(fields: dict[str, Any]) -> CostEstimate:
    return CostEstimate(*(_within(fields[bound], _MOST_PATIENCE) for bound in ("value", "low", "high")))
