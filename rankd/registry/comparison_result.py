"""What a comparison of two rankers is asked, and what it says."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from rankd_client.calibration import Calibration

from rankd.quality.statistics.paired_comparison import PairedComparison
from rankd.registry.judgement_levels import Level


class EvidenceKind(enum.Enum):
    """What a comparison rests on."""

    COMPLETION_LOG = "completion_log"
    SHADOW_SCORES = "shadow_scores"


class ComparisonVerdict(enum.Enum):
    """What a comparison says of the candidate."""

    BETTER = "better"
    NOT_BETTER = "not_better"
    TOO_FEW_COMPLETIONS = "too_few_completions"
    TOO_FEW_DECIDED_PAIRS = "too_few_decided_pairs"
    TOO_FEW_UNSEEN_COMPLETIONS = "too_few_unseen_completions"
    """Without those that a ranker may have been made of; the shadow judges on new ones."""


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """How to compare."""

    margin: float
    min_completions: int
    model: str | None = None
    evidence: EvidenceKind | None = None
    """None: the completion log where it holds enough, else shadow scores."""
    trust_older: bool = False
    """Let completions count that ended before the files of a candidate which does not say what it was made of."""


@dataclass(frozen=True, slots=True)
class ExcludedCompletions:
    """Completions of the log that a judgement left out, each under the first reason that holds."""

    trained: int = 0
    """Their prompts are among the rows of the candidate or of the ranker in service."""
    learned: int = 0
    """Ended while a daemon learned what was baked into one of them."""
    older: int = 0
    """Ended before the files of the candidate were written, which does not say what it was made of."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.trained + self.learned + self.older


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """A candidate against the ranker in service."""

    candidate: str
    incumbent: str
    verdict: ComparisonVerdict
    evidence: EvidenceKind | None
    options: ComparisonOptions
    statistics: PairedComparison | None
    """None where no completion was scored by both."""
    log_completions: int
    shadow_completions: int
    older_completions: int
    """Of those judged, ended before the candidate's files were written, and trusted all the same."""
    excluded: ExcludedCompletions
    level: Level | None
    """What the verdict asked for; None where it did not come to that."""
    calibrations: dict[str, Calibration]
    """By served model: the candidate's map from score to length, refined by what was compared."""
