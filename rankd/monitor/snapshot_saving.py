"""The running total of saved seconds as plain values, and back."""

from __future__ import annotations

from typing import Any

from rankd.monitor.saving import SavingHistory
from rankd.quality import Interval
from rankd.quality.savings.values import SavedTotal
from rankd.quality.serialise import MOST_COMPLETIONS, moment, number

_MOST_SECONDS = 1e15


def save_total(saving: SavingHistory, ahead: float) -> dict[str, Any] | None:
    """Copy it; times as the machine's clock tells them, which is so many seconds ahead."""
    if (total := saving.total) is None:
        return None
    return {
        "since": max(0.0, total.since + ahead),
        "until": max(0.0, total.until + ahead),
        "seconds": [total.seconds.value, total.seconds.low, total.seconds.high],
        "completions": total.completions,
    }


def restore_total(saving: SavingHistory, fields: dict[str, Any] | None, ahead: float) -> None:
    """Put it back; None where none was saved, as before there was one.

    Raises:
        ValueError: it cannot be.
        KeyError: something is missing.
    """
    if fields is None:
        return
    value, low, high = (number(bound) for bound in fields["seconds"])
    completions = number(fields["completions"])
    since, until = moment(fields["since"]), moment(fields["until"])
    if not -_MOST_SECONDS <= low <= value <= high <= _MOST_SECONDS or since > until:
        raise ValueError("saved: out of range")
    if not 0 <= completions <= MOST_COMPLETIONS:
        raise ValueError("saved: no number of completions")
    saving.total = SavedTotal(since - ahead, until - ahead, Interval(value, low, high), int(completions))
