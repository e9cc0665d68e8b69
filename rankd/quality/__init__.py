"""Live quality of a ranker, and the guard that decides whether to trust it: pure, no I/O, no clock."""

from rankd.quality.arrivals import Cohort
from rankd.quality.guard import Guard
from rankd.quality.guard_state import GuardReason, GuardSettings, HealthEvidence, Standing, Transition
from rankd.quality.tenant_shares import TenantShares
from rankd.quality.tracker import GuardEvidence, GuardSnapshot, QualityTracker, Snapshot, possible
from rankd.quality.values import Bounded, CohortTau, QualityEstimate, QualitySettings, Report, Verdict

__all__ = [
    "Bounded",
    "Cohort",
    "CohortTau",
    "Guard",
    "GuardEvidence",
    "GuardReason",
    "GuardSettings",
    "GuardSnapshot",
    "HealthEvidence",
    "QualityEstimate",
    "QualitySettings",
    "QualityTracker",
    "Report",
    "Snapshot",
    "Standing",
    "TenantShares",
    "Transition",
    "Verdict",
    "possible",
]
