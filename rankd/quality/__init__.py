"""Live quality of a ranker, and the guard that decides whether to trust it: pure, no I/O, no clock."""

from rankd.quality.guard import Guard
from rankd.quality.guard_evidence import GuardEvidence, GuardSnapshot, PromptEvidence
from rankd.quality.guard_state import GuardReason, GuardSettings, GuardStanding, HealthEvidence, Transition
from rankd.quality.statistics.cohort import Cohort
from rankd.quality.statistics.cohort_sums import CohortTau
from rankd.quality.statistics.interval import Interval
from rankd.quality.tenant_shares import TenantShares
from rankd.quality.tracker import EstimateSnapshot, QualityTracker, possible
from rankd.quality.values import UNKNOWN_PROMPT, OutcomeReport, QualityEstimate, QualitySettings, ReportVerdict
from rankd.quality.work import WorkModel

__all__ = [
    "UNKNOWN_PROMPT",
    "Cohort",
    "CohortTau",
    "EstimateSnapshot",
    "Guard",
    "GuardEvidence",
    "GuardReason",
    "GuardSettings",
    "GuardSnapshot",
    "GuardStanding",
    "HealthEvidence",
    "Interval",
    "OutcomeReport",
    "PromptEvidence",
    "QualityEstimate",
    "QualitySettings",
    "QualityTracker",
    "ReportVerdict",
    "TenantShares",
    "Transition",
    "WorkModel",
    "possible",
]
