"""How long the stages of a request took of late."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable


class StageTimes:
    """How long each stage took of late. Called in any thread: to append to a deque is one step."""

    _MOST = 2048

    def __init__(self) -> None:
        """Start without any."""
        self._seconds: dict[str, deque[float]] = {}

    def add(self, stage: str, seconds: float) -> None:
        """Note one."""
        recent = self._seconds.get(stage)
        if recent is None:
            recent = self._seconds.setdefault(stage, deque(maxlen=self._MOST))
        recent.append(seconds)

    def quantiles(self, stages: Iterable[str]) -> list[dict[str, float | int | str | None]]:
        """p50, p90 and p99 of each stage's last times, seconds; None for a stage that was not reached yet."""
        out = []
        for stage in stages:
            known = sorted(self._seconds[stage].copy()) if stage in self._seconds else []
            shown = {f"p{q}": known[(len(known) - 1) * q // 100] if known else None for q in (50, 90, 99)}
            out.append({"stage": stage, "recent": len(known), **shown})
        return out
