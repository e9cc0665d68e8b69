"""types → proto for the registry's history."""

from __future__ import annotations

from typing import Any

from rankd_client.v1 import admin_pb2, quality_pb2

from rankd.registry.comparison import ComparisonVerdict, EvidenceKind
from rankd.registry.history import HistoryStep, RankerChoice, ServiceHistory, StepEvidence, StepKind
from rankd.transport.convert.comparison import EVIDENCE_TO_PROTO, VERDICT_TO_PROTO
from rankd.transport.convert.request import timestamp

MOST_STEPS_TOLD = 100
_KINDS = {
    StepKind.PROMOTED: admin_pb2.SERVICE_STEP_KIND_PROMOTED,
    StepKind.ROLLED_BACK: admin_pb2.SERVICE_STEP_KIND_ROLLED_BACK,
}
_CHOICES = {
    RankerChoice.SETTING: quality_pb2.RANKER_CHOICE_SETTING,
    RankerChoice.PROMOTED: quality_pb2.RANKER_CHOICE_PROMOTED,
    RankerChoice.FALLEN_BACK: quality_pb2.RANKER_CHOICE_FALLEN_BACK,
    RankerChoice.BUNDLED: quality_pb2.RANKER_CHOICE_BUNDLED,
}
_VERDICTS = {verdict.value: VERDICT_TO_PROTO[verdict] for verdict in ComparisonVerdict}
_EVIDENCE = {kind.value: EVIDENCE_TO_PROTO[kind] for kind in EvidenceKind}


def steps_of(history: ServiceHistory) -> list[admin_pb2.ServiceStep]:
    """The newest steps, the newest last."""
    return [_step(step) for step in history.recent(MOST_STEPS_TOLD)]


def _step(step: HistoryStep) -> admin_pb2.ServiceStep:
    return admin_pb2.ServiceStep(
        time=timestamp(step.at),
        kind=_KINDS[step.kind],
        ranker_version=step.ranker_version,
        path=step.path,
        before_ranker_version=step.before,
        caller=step.by,
        host=step.host,
        forced=step.forced,
        evidence=None if step.evidence is None else _evidence_of(step.evidence),
    )


def _evidence_of(evidence: StepEvidence) -> admin_pb2.ServiceStepEvidence:
    out = admin_pb2.ServiceStepEvidence(
        verdict=_VERDICTS.get(evidence.verdict, admin_pb2.VERDICT_UNSPECIFIED),
        evidence=_EVIDENCE.get(evidence.kind, admin_pb2.EVIDENCE_UNSPECIFIED),
        completion_count=evidence.completions,
    )
    if evidence.tau_difference is not None and evidence.low is not None and evidence.high is not None:
        out.tau_difference.CopyFrom(
            quality_pb2.Estimate(value=evidence.tau_difference, low=evidence.low, high=evidence.high)
        )
    return out


def choice_fields(history: ServiceHistory) -> dict[str, Any]:
    """What ServiceStatus says of the choice of the ranker in service."""
    last, began = history.last, history.beginning
    return {
        "promoted_ranker_version": "" if last is None else last.ranker_version,
        "ranker_choice": quality_pb2.RANKER_CHOICE_UNSPECIFIED if began is None else _CHOICES[began.choice],
        "unusable_ranker_versions": [] if began is None else [version for version, _ in began.unusable],
    }
