"""What replicas tell each other, who of them decides, and on what evidence. No I/O: ``transport/peers.py`` asks.

One replica at a time leads a guard: the one that has been up and in touch for longest. It decides on everybody's
evidence, the others stand where it stands. So a fleet agrees even where the evidence is at a threshold, which two
guards never would for long by themselves. docs/guides/fleet.md says how fast.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from rankd.quality import Standing
from rankd.quality.statistics.cohort_sums import CohortSums, combined
from rankd.settings.load import FleetSection
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
    standing: Standing
    """Times by the clock of who holds this."""


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """What one replica says."""

    instance: str
    senior_since: int
    """Nanoseconds by its own clock: compared, never subtracted."""
    shares: dict[Key, ReplicaWindow]


@dataclass(frozen=True, slots=True)
class FleetEvidence:
    """What all replicas that are heard know together."""

    replicas: int
    """How many contribute."""
    sums: CohortSums
    completions: dict[str, int]
    """Final reports by replica."""


@dataclass(slots=True)
class FleetMembership:
    """The latest word of every peer. ``now`` is monotonic seconds; ``clock`` nanoseconds since the epoch."""

    settings: FleetSection
    senior_since: int
    began: float
    instance: str = field(default_factory=lambda: secrets.token_hex(8))
    _states: dict[str, tuple[float, ReplicaState]] = field(default_factory=dict)
    _round_at: float = -1.0
    _alone: bool = True
    """Nobody is heard, or has been yet."""

    def heard(self, state: ReplicaState, now: float) -> None:
        """Take a peer's word; of more peers than are allowed, those heard last are left out."""
        if state.instance in self._states or len(self._states) < self.settings.max_peers:
            self._states[state.instance] = now, state

    def round_done(self, now: float, clock: int) -> None:
        """All peers were asked once: forget the lost ones, and notice that one is cut off, or is no longer."""
        self.awake(now, clock)
        self._round_at = now
        self._states = {i: (at, w) for i, (at, w) in self._states.items() if now - at <= self.settings.forget_after}
        if not self._states and not self._alone:
            # Others may go on without this one, and know better when they are back.
            self.senior_since = clock
        self._alone = not self._states

    def awake(self, now: float, clock: int) -> None:
        """Notice that this process stood still, or was kept from asking, so long that others forgot it."""
        last = self._round_at if self._round_at >= 0 else self.began
        if now - last > self.settings.forget_after:
            self.senior_since = clock
            self._round_at = now

    def states(self, now: float) -> list[ReplicaState]:
        """What peers said that are not lost."""
        return [w for at, w in list(self._states.values()) if now - at <= self.settings.forget_after]

    def leader(self, own: ReplicaWindow | None, key: Key, now: float) -> ReplicaState | None:
        """Who decides on a guard; None where it is this replica, or nobody is fit to.

        Whose guard has not decided anything yet comes after all whose guards have: a new fleet, or a new senior, takes
        over what is known.
        """
        fit = [w for w in self.states(now) if key in w.shares and not w.shares[key].standing.ill]
        first = min(fit, key=lambda w: (_undecided(w.shares[key]), w.senior_since, w.instance), default=None)
        if first is None or own is None or own.standing.ill:
            return first
        mine = _undecided(own), self.senior_since, self.instance
        return None if mine < (_undecided(first.shares[key]), first.senior_since, first.instance) else first

    def evidence(self, own: ReplicaWindow | None, key: Key, now: float) -> FleetEvidence | None:
        """Everybody's evidence, own included; None where no peer that is heard has any."""
        theirs = {w.instance: w.shares[key] for w in self.states(now) if key in w.shares}
        if not theirs:
            return None
        everybody = theirs | ({self.instance: own} if own is not None else {})
        parts = [(share.pace, share.sums) for share in everybody.values() if share.sums is not None and share.pace > 0]
        if not parts:
            return None
        return FleetEvidence(len(parts), combined(parts), {i: share.completions for i, share in everybody.items()})

    def keys(self, now: float) -> Iterable[Key]:
        """What peers have windows of."""
        return {key for state in self.states(now) for key in state.shares}


def _undecided(share: ReplicaWindow) -> bool:
    return share.standing.mode is GuardMode.WARMING_UP
