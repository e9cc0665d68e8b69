"""What the guard decides on: how well a short recent cohort was put in order by what it was ordered by."""

from __future__ import annotations

from dataclasses import dataclass, field

from rankd.quality.censoring.cohort_tau import cohort_tau
from rankd.quality.statistics.cohort import Cohort
from rankd.quality.statistics.cohort_sums import CohortTau
from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.leave_one_tenant_out import TenantSensitivity, leave_one_tenant_out, without_each
from rankd.quality.values import QualitySettings
from rankd.quality.work import WorkCohorts, WorkModel, tau_difference, tau_differences_without, work_cohorts


@dataclass(frozen=True, slots=True)
class PromptEvidence:
    """How prompts alone order: as if every answer were expected to be of average length."""

    tau: CohortTau
    """Theirs against realised work."""
    without: tuple[float, ...]
    """As it is without each tenant that brought much of the cohort, where the others are enough for one."""
    difference: Interval | None
    """Tau of expected work less theirs, paired."""
    differences_without: tuple[float, ...]
    """Its value without each such tenant."""


@dataclass(frozen=True, slots=True)
class GuardEvidence:
    """What the guard decides on: the censoring-aware tau of a short recent cohort."""

    at: float
    completions: int
    """Final reports accepted so far."""
    tau: CohortTau
    """Of expected against realised work; where no prompt costs anything, of scores against lengths."""
    without: tuple[float, ...] = ()
    """Tau as it is without each tenant that brought much of the cohort, where the others are enough for one."""
    left_out: float = 0.0
    """Share of the cohort that ``tau`` leaves out, since one tenant's reports contradict those of the others."""
    prompts: PromptEvidence | None = None
    """None where no prompt is known to cost anything."""
    learned: bool = False
    """Whether it is of learned scores; False: of the ranker's own."""


@dataclass(frozen=True, slots=True)
class GuardSnapshot:
    """A copy of the guard's cohort, to be evaluated in any thread."""

    at: float
    settings: QualitySettings
    completions: int
    cohort: Cohort
    work: WorkModel = field(default_factory=WorkModel)
    learned: bool = False
    """Whether the cohort is of learned scores."""

    def evaluate(self) -> GuardEvidence:
        """Compute the evidence: some 4 ms where much is imputed, 1 ms where all is decided.

        Up to twice as much again for each tenant that brought a notable share, of which there are twenty at most, and
        two to three times all of that where prompts cost something.
        """
        works = work_cohorts(self.cohort, self.work)
        weighed = leave_one_tenant_out(self.cohort if works is None else works.expected, self._tau_of)
        prompts = None if works is None else self._of_prompts(works, weighed)
        return GuardEvidence(
            self.at, self.completions, weighed.tau, weighed.without, weighed.left_out, prompts, self.learned
        )

    def _tau_of(self, cohort: Cohort) -> CohortTau:
        return cohort_tau(cohort, self.settings.horizon, self.settings.guard_z, self.settings.min_cohort)

    def _of_prompts(self, works: WorkCohorts, weighed: TenantSensitivity) -> PromptEvidence:
        """The same of prompts alone, of whom the other figure is: who contradicts the others there is left out here."""
        if weighed.outlier:
            works = works.without(weighed.outlier)
        return PromptEvidence(
            self._tau_of(works.prompts),
            without_each(works.prompts, self._tau_of),
            tau_difference(works, self.settings.horizon, self.settings.guard_z),
            tau_differences_without(works, self.settings.horizon),
        )
