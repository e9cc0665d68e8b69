"""What is known of one served model and ranker version, and how it stands in a fleet."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from rankd_client.calibration import Calibration

from rankd.adaptation import Adaptation
from rankd.monitor.load import ModelLoad
from rankd.monitor.trust import Trust
from rankd.quality import Guard, GuardEvidence, Interval, QualityEstimate, QualityTracker, TenantShares, Transition

_MOST_CHANGES = 64


@dataclass(frozen=True, slots=True)
class FleetStatus:
    """How a guard relates to the fleet's."""

    decides: bool
    """The fleet does, not this replica's own evidence."""
    leads: bool
    """This replica does so, for all."""
    peers: int
    """Replicas in touch, this one not counted, that have a window of its model and ranker version."""
    replicas: int
    """Whose evidence counts, this one included."""
    tau: Interval | None
    """Theirs together."""


@dataclass(slots=True, eq=False)
class Window:
    """All that is known of one served model and ranker version. Each is equal to itself only."""

    model: str
    ranker_version: str
    tracker: QualityTracker
    guard: Guard
    measured: bool
    """The manifest carries a measured tau."""
    prior: Calibration | None
    """The manifest's."""
    base_calibration: Calibration | None
    """From the ranker's own scores to lengths: the prior refined by completions."""
    load: ModelLoad = field(default_factory=ModelLoad)
    shares: TenantShares = field(default_factory=TenantShares)
    """Whose reports it was learned from."""
    adaptation: Adaptation | None = None
    """What is learned of its traffic beside the ranker; None where nothing is. What it wants is not in use yet."""
    learned_calibration: Calibration | None = None
    """From learned scores to lengths; there is one wherever these are in use."""
    learned_shares: TenantShares = field(default_factory=TenantShares)
    """Whose completions it is learned from, those that peers tell of included, by hashes of tenants."""
    restored_at: float = -math.inf
    """When the snapshot was written that it was restored from: completions of before may be in what it learned."""
    reason: str = "no_evidence"
    transitions: int = 0
    changes: deque[Transition] = field(default_factory=lambda: deque(maxlen=_MOST_CHANGES))
    """The last changes of its guard, the oldest first."""
    used_at: float = 0.0
    """Its last report, or when an operator last pinned its guard, by the daemon's clock."""
    refit_at: int = 0
    """Completions when the calibration was last learned, or began to be."""
    estimate: QualityEstimate | None = None
    estimated_at: int = -1
    """Completions at the time of the estimate."""
    evidence: GuardEvidence | None = None
    """This replica's own, as last evaluated: peers get its sums."""
    fleet: FleetStatus | None = None
    """None where there are no peers."""
    trusted: tuple[object, Trust] | None = None
    """The trust that was last asked for, and what it rested on."""
    fleet_completions: dict[str, int] = field(default_factory=dict)
    """Completions by replica when this one last decided on the fleet's evidence; empty where another one leads."""

    @property
    def learned_in_use(self) -> bool:
        """Whether learned scores order, rather than the ranker's own."""
        return self.tracker.learned_in_use

    @property
    def trust_basis(self) -> tuple[object, ...]:
        """All that trust in it rests on, beside the settings; what changes by itself, its load, has one identity."""
        calibrations = self.base_calibration, self.learned_calibration
        return *self.guard.basis, self.guard, self.load, self.adaptation, self.learned_in_use, *calibrations

    @property
    def calibration(self) -> Calibration | None:
        """From the scores in use to lengths."""
        return self.learned_calibration if self.learned_in_use else self.base_calibration

    def use_learned(self, learned: bool) -> None:
        """Let learned scores order, or the ranker's own; nothing that was found of the others is evidence then."""
        assert not learned or self.learned_calibration is not None
        self.tracker.use_learned(learned)
        self.guard.scores_changed(better=learned)
        self.evidence = None
