"""proto ⇄ types for comparisons of rankers: options in, figures out. On the wire one is a Judgement."""

from __future__ import annotations

from rankd_client.v1 import admin_pb2

from rankd.quality.statistics.paired_comparison import SampleFigures
from rankd.registry.comparison import ComparisonOptions, ComparisonResult, ComparisonVerdict, EvidenceKind
from rankd.settings import LimitsSection, PromotionSection
from rankd.transport.convert.adaptation import estimate_of
from rankd.transport.convert.request import Violations, name_of

EVIDENCE_TO_PROTO = {
    EvidenceKind.COMPLETION_LOG: admin_pb2.EVIDENCE_COMPLETION_LOG,
    EvidenceKind.SHADOW_SCORES: admin_pb2.EVIDENCE_SHADOW_SCORES,
}
_EVIDENCE: dict[int, EvidenceKind] = {v: k for k, v in EVIDENCE_TO_PROTO.items()}
VERDICT_TO_PROTO = {
    ComparisonVerdict.BETTER: admin_pb2.VERDICT_BETTER,
    ComparisonVerdict.NOT_BETTER: admin_pb2.VERDICT_NOT_BETTER,
    ComparisonVerdict.TOO_FEW_COMPLETIONS: admin_pb2.VERDICT_TOO_FEW_COMPLETIONS,
    ComparisonVerdict.TOO_FEW_DECIDED_PAIRS: admin_pb2.VERDICT_TOO_FEW_DECIDED_PAIRS,
    ComparisonVerdict.TOO_FEW_UNSEEN_COMPLETIONS: admin_pb2.VERDICT_TOO_FEW_UNSEEN_COMPLETIONS,
}
LEAST_COMPLETIONS = 50


def options_of(
    message: admin_pb2.JudgeOptions,
    field: str,
    settings: PromotionSection,
    limits: LimitsSection,
    violations: Violations,
) -> ComparisonOptions:
    """How to compare; what is not given is as the daemon is set."""
    margin = settings.margin
    if message.HasField("margin"):
        margin = message.margin
        if not -1 <= margin <= 1:
            violations.add(f"{field}.margin", "must be a difference in tau, -1 to 1")
    least = message.min_completion_count or settings.min_completions
    if not LEAST_COMPLETIONS <= least <= settings.max_completions:
        violations.add(
            f"{field}.min_completion_count",
            f"must be {LEAST_COMPLETIONS} to promotion.max_completions = {settings.max_completions}",
        )
    evidence = None
    if message.evidence != admin_pb2.EVIDENCE_UNSPECIFIED:
        evidence = _EVIDENCE.get(message.evidence)
        if evidence is None:
            violations.add(
                f"{field}.evidence", "must be EVIDENCE_COMPLETION_LOG or EVIDENCE_SHADOW_SCORES, or be left out"
            )
    model = name_of(message.model, f"{field}.model", limits, violations) if message.HasField("model") else None
    return ComparisonOptions(margin, least, model, evidence, message.trust_older_completions)


def judgement_of(comparison: ComparisonResult) -> admin_pb2.Judgement:
    """A comparison as proto."""
    out = admin_pb2.Judgement(
        verdict=VERDICT_TO_PROTO[comparison.verdict],
        candidate=admin_pb2.RankerFigures(ranker_version=comparison.candidate),
        in_service=admin_pb2.RankerFigures(ranker_version=comparison.incumbent),
        margin=comparison.options.margin,
        min_completion_count=comparison.options.min_completions,
        log_completion_count=comparison.log_completions,
        shadow_completion_count=comparison.shadow_completions,
        older_completion_count=comparison.older_completions,
        trained_completion_count=comparison.excluded.trained,
        learned_completion_count=comparison.excluded.learned,
        undeclared_completion_count=comparison.excluded.older,
    )
    if comparison.level is not None:
        out.try_count, out.error_level = comparison.level.tries, comparison.level.error
    if comparison.evidence is not None:
        out.evidence = EVIDENCE_TO_PROTO[comparison.evidence]
    figures = comparison.statistics
    if figures is None:
        return out
    _fill(out.candidate, figures.candidate)
    _fill(out.in_service, figures.incumbent)
    if figures.tau_difference is not None:
        out.tau_difference.CopyFrom(estimate_of(figures.tau_difference))
    if figures.strict_difference is not None and comparison.level is not None:
        out.strict_low = figures.strict_difference.low
    if figures.gain_difference is not None:
        out.realised_gain_difference.CopyFrom(estimate_of(figures.gain_difference))
    out.completion_count = figures.size
    out.censored_count = figures.censored
    out.decided_pair_share = figures.decided_pair_share or 0.0
    return out


def _fill(out: admin_pb2.RankerFigures, figures: SampleFigures) -> None:
    if figures.tau is not None:
        out.tau.CopyFrom(estimate_of(figures.tau))
    if figures.realised_gain is not None:
        out.realised_gain.CopyFrom(estimate_of(figures.realised_gain))
