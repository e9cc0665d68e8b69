"""Lets guards follow the fleet's, and says what this replica contributes."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rankd.clock import CLOCK
from rankd.fleet.learning import FleetLearning
from rankd.fleet.membership import FleetEvidence, FleetMembership, Key, ReplicaState, ReplicaWindow
from rankd.monitor.monitor import Monitor
from rankd.monitor.window import FleetStatus, Window
from rankd.quality import GuardEvidence
from rankd.settings import Settings

_LEAST_PACE = 1e-9
"""Completions per second of who has evidence, and none of late."""


@dataclass(slots=True)
class FleetFollower:
    """Between the fleet and this replica's windows."""

    fleet: FleetMembership
    monitor: Monitor
    settings: Settings
    learning: FleetLearning

    def state(self) -> ReplicaState:
        """What this replica answers its peers."""
        self.fleet.notice_pause(time.monotonic(), time.time_ns())
        now = CLOCK.now()
        windows = {(w.model, w.ranker_version): replica_window_of(w, now) for w in self.monitor.reported_windows()}
        return ReplicaState(self.fleet.instance, self.fleet.senior_since, windows, self.learning.key_id)

    @property
    def replicas(self) -> int:
        """How many replicas are in touch, this one included; may be read in any thread."""
        return 1 + len(self.fleet.live_states(time.monotonic()))

    def round_done(self) -> None:
        """Every peer was asked: decide, or follow who does."""
        monotonic, now = time.monotonic(), CLOCK.now()
        self.fleet.round_done(monotonic, time.time_ns())
        self.learning.round_done(monotonic)
        self.learning.rows.forget_old(now)
        own = {(w.model, w.ranker_version): w for w in self.monitor.reported_windows()}
        for key in {*own, *self.fleet.keys(monotonic)}:
            window = own.get(key) or self._open_window(key, now)
            if window is not None:
                self._lead_or_follow(window, key, monotonic, now)

    def _open_window(self, key: Key, now: float) -> Window | None:
        """A window for a model that only peers had reports of, where there is room."""
        if not self.settings.fleet.follow or not self.monitor.knows(key[1]):
            return None
        return self.monitor.open_window(*key, now)

    def _lead_or_follow(self, window: Window, key: Key, monotonic: float, now: float) -> None:
        self.monitor.jobs.evaluate_guard(window, now)
        leader = self.fleet.leader(replica_window_of(window, now), key, monotonic)
        peers = sum(key in state.windows for state in self.fleet.live_states(monotonic))
        follows = self.settings.fleet.follow and peers > 0
        learned = leader.windows[key].learned_in_use if follows and leader is not None else None
        self.monitor.follow_learned(window, learned, now)
        own = replica_window_of(window, now)
        if learned is not None and own.learned_in_use is not learned:
            # It cannot order by what the leader's guard decided on: nothing is learned here yet, or ever.
            follows = False
        evidence = self.fleet.evidence(own, key, monotonic, learned=own.learned_in_use if learned is None else learned)
        window.fleet = FleetStatus(
            decides=follows,
            leads=follows and leader is None,
            peers=peers,
            replicas=evidence.replicas if evidence else 0,
            tau=evidence.sums.tau(window.tracker.settings.z) if evidence else None,
        )
        if not follows:
            window.fleet_completions = {}
        elif leader is not None:
            window.fleet_completions = {}
            self.monitor.adopt(window, leader.windows[key].standing, now)
        elif evidence is not None and self._due(window, evidence):
            window.fleet_completions = evidence.completions
            cohort = evidence.sums.as_cohort(window.tracker.settings.guard_z)
            # Of prompts alone this replica decides on its own reports, a sample of the fleet's; the others follow.
            prompts = window.evidence.prompts if window.evidence is not None else None
            found = GuardEvidence(now, sum(evidence.completions.values()), cohort, prompts=prompts)
            self.monitor.apply_evidence(window, found, now)

    def _due(self, window: Window, evidence: FleetEvidence) -> bool:
        """Whether enough has ended anywhere since the last decision; who was not there then counts from now."""
        if not window.fleet_completions:
            return True
        new = 0
        for instance, completions in evidence.completions.items():
            new += max(0, completions - window.fleet_completions.setdefault(instance, completions))
        return new >= self.settings.guard.every


def replica_window_of(window: Window, now: float) -> ReplicaWindow:
    """What this replica contributes to one guard."""
    evidence = window.evidence
    return ReplicaWindow(
        # Those that the sums are of: with later ones the leader would take these for decided on, and wait for more.
        completions=window.tracker.completions if evidence is None else evidence.completions,
        pace=max(window.tracker.pace(now), _LEAST_PACE),
        sums=None if evidence is None else evidence.tau.sums,
        standing=window.guard.standing,
        learned_in_use=window.learned_in_use,
    )
