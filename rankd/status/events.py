"""What happened to what orders, for marks on charts: pilots, rankers that came into service, fallbacks.

An event is a time, a kind and names; no text that anybody wrote is in it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rankd.clock import CLOCK
from rankd.monitor.window import Window
from rankd.pilot import PilotState, Switchback
from rankd.registry.history import HistoryStep
from rankd.types import GuardMode

Event = dict[str, Any]
"""``at`` (seconds since the epoch), ``kind``, ``model``, ``ranker_version``, ``previous``, ``reason``, ``control``,
``treatment``; None where it has none."""
_OPEN = {PilotState.PLANNED, PilotState.RUNNING}


class EventRecord:
    """Notes pilots that begin and end, by looking about once a second; all else is known elsewhere."""

    def __init__(self, most: int) -> None:
        """Nothing happened yet.

        Args:
            most: events that are kept, and told; older ones are forgotten.
        """
        self._most = most
        self._seen: deque[Event] = deque(maxlen=most)
        self._pilots: dict[str, tuple[Switchback, PilotState]] = {}

    def look(self, now: float, pilots: Sequence[tuple[str, Switchback]]) -> None:
        """Note what changed since the last look.

        Args:
            now: by the daemon's clock.
            pilots: each served model's pilot, ended ones included.
        """
        at = CLOCK.to_wall(now)
        for model, pilot in pilots:
            self._seen.extend(self._changes(model, pilot, at))
        self._pilots = {model: (pilot, pilot.state) for model, pilot in pilots}

    def _changes(self, model: str, pilot: Switchback, at: float) -> Iterator[Event]:
        """The steps of a pilot since the last look: it may have begun and ended meanwhile."""
        known, state = self._pilots.get(model, (None, PilotState.PLANNED))
        if known is not pilot:
            state = PilotState.PLANNED
        arms = {"control": pilot.plan.control.value, "treatment": pilot.plan.treatment.value}
        if state is PilotState.PLANNED and pilot.state is not PilotState.PLANNED:
            yield event(min(at, pilot.plan.schedule.start), "pilot_began", model=model, **arms)
        if state in _OPEN and pilot.state not in _OPEN:
            yield event(at, "pilot_ended", model=model, reason=pilot.state.value, **arms)

    def told(self, windows: Iterable[Window], steps: Iterable[HistoryStep]) -> list[Event]:
        """The latest events, the oldest first.

        Args:
            windows: whose guards fell back and came back.
            steps: promotions and rollbacks.
        """
        happened = [*self._seen.copy(), *itertools.chain.from_iterable(map(fallbacks, windows)), *map(service, steps)]
        return sorted(happened, key=lambda e: float(e["at"]))[max(0, len(happened) - self._most) :]


def fallbacks(window: Window) -> Iterator[Event]:
    """When a window's guard fell back and came back, as far as it remembers."""
    for change in window.changes.copy():
        if GuardMode.FALLBACK in (change.origin, change.to):
            kind = "fallback_began" if change.to is GuardMode.FALLBACK else "fallback_ended"
            about = {"model": window.model, "ranker_version": window.ranker_version, "reason": change.reason.value}
            yield event(CLOCK.to_wall(change.at), kind, **about)


def service(step: HistoryStep) -> Event:
    """When a ranker came into service in another one's place."""
    return event(step.at, step.kind.value, ranker_version=step.ranker_version, previous=step.before or None)


def event(at: float, kind: str, **about: str | None) -> Event:
    """An event with all its fields."""
    names = ("model", "ranker_version", "previous", "reason", "control", "treatment")
    return {"at": at, "kind": kind, **{name: about.get(name) for name in names}}
