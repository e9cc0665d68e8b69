"""What replicas exchange, who of them decides, and on what evidence. No I/O: ``transport/fleet_peers.py`` asks.

One replica at a time leads a guard: the one that has been up and in touch for longest. It decides on everybody's
evidence, the others stand where it stands. So a fleet agrees even where the evidence is at a threshold, which two
guards never would for long by themselves. docs/guides/fleet.md says how fast.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from rankd.quality import GuardStanding
from rankd.quality.statistics.cohort_sums import CohortSums, combined
from rankd.settings import FleetSection
from rankd.types import GuardMode

Key = tuple[str, str]
"""Served model and ranker version."""


@dataclass(frozen=True, slots=True)
class ReplicaWindow:
    """What one replica knows of one model and ranker version."""

    completions: int
    """Final reports taken since it started."""
    pace: float
    """Of them per second, of late; what its evidence weighs."""
    sums: CohortSums | None
    """Its guard's cohort; None where too little is known."""
    standing: GuardStanding
    """Times by this replica's clock."""
    learned_in_use: bool = False
    """Sums and standing are of what was learned, rather than of the ranker's own scores."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """What one replica answers its peers: all its windows."""

    instance: str
    senior_since: int
    """Nanoseconds by its own clock: compared, never subtracted."""
    windows: dict[Key, ReplicaWindow]
    learned_key_id: bytes = b""
    """Whose hashes its completions have; empty where it tells none to learn from."""


@dataclass(frozen=True, slots=True)
class FleetEvidence:
    """What all replicas that are in touch know together."""

    replicas: int
    """How many contribute."""
    sums: CohortSums
    completions: dict[str, int]
    """Final reports by replica."""


@dataclass(slots=True)
class FleetMembership:
    """The latest state of every peer. ``now`` is monotonic seconds; ``clock`` nanoseconds since the epoch."""

    settings: FleetSection
    senior_since: int
    began: float
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    _states: dict[str, tuple[float, ReplicaState]] = field(default_factory=dict)
    _round_at: float = -1.0
    _isolated: bool = True
    """No peer is in touch, or has been yet."""

    def receive(self, state: ReplicaState, now: float) -> None:
        """Take a peer's state; of more peers than are allowed, those that came last are left out."""
        if state.instance in self._states or len(self._states) < self.settings.max_peers:
            self._states[state.instance] = now, state

    def round_done(self, now: float, clock: int) -> None:
        """All peers were asked once: forget the lost ones, and notice that one is cut off, or is no longer."""
        self.notice_pause(now, clock)
        self._round_at = now
        self._states = {i: (at, s) for i, (at, s) in self._states.items() if now - at <= self.settings.forget_after}
        if not self._states and not self._isolated:
            # Others may go on without this one, and know better when they are back.
            self.senior_since = clock
        self._isolated = not self._states

    def notice_pause(self, now: float, clock: int) -> None:
        """Notice that this process stood still, or was kept from asking, so long that others forgot it."""
        last = self._round_at if self._round_at >= 0 else self.began
        if now - last > self.settings.forget_after:
            self.senior_since = clock
            self._round_at = now

    def live_states(self, now: float) -> list[ReplicaState]:
        """What peers said that are not lost."""
        return [s for at, s in list(self._states.values()) if now - at <= self.settings.forget_after]

    def leader(self, own: ReplicaWindow | None, key: Key, now: float) -> ReplicaState | None:
        """Who decides on a guard; None where it is this replica, or nobody can.

        Whose guard has not decided anything yet comes after all whose guards have: a new fleet, or a new senior, takes
        over what is known.
        """
        candidates = [
            s for s in self.live_states(now) if key in s.windows and not s.windows[key].standing.scoring_failed
        ]
        first = min(candidates, key=lambda s: (_undecided(s.windows[key]), s.senior_since, s.instance), default=None)
        if first is None or own is None or own.standing.scoring_failed:
            return first
        own_rank = _undecided(own), self.senior_since, self.instance
        return None if own_rank < (_undecided(first.windows[key]), first.senior_since, first.instance) else first

    def evidence(
        self, own: ReplicaWindow | None, key: Key, now: float, *, learned: bool = False
    ) -> FleetEvidence | None:
        """Everybody's evidence, own included; None where no peer that is in touch has any.

        Only of those who order by what was learned, or only of those who do not: the two have a tau each.
        """
        peers = {s.instance: s.windows[key] for s in self.live_states(now) if key in s.windows}
        if not peers:
            return None
        everybody = peers | ({self.instance: own} if own is not None else {})
        everybody = {i: w for i, w in everybody.items() if w.learned_in_use is learned}
        parts = [(w.pace, w.sums) for w in everybody.values() if w.sums is not None and w.pace > 0]
        if not parts:
            return None
        return FleetEvidence(len(parts), combined(parts), {i: w.completions for i, w in everybody.items()})

    def keys(self, now: float) -> Iterable[Key]:
        """What peers have windows of."""
        return {key for state in self.live_states(now) for key in state.windows}


def _undecided(window: ReplicaWindow) -> bool:
    return window.standing.mode is GuardMode.WARMING_UP
