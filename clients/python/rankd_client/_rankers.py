"""Rankers of a daemon and how they compare, in plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rankd_client._messages import enum_name, seconds_of
from rankd_client._placement import ModelPlacement, model_placement_of
from rankd_client._values import Estimate, estimate_of
from rankd_client.v1 import admin_pb2

EvidenceName = Literal["completion_log", "shadow_scores"]


_EVIDENCE = {
    "completion_log": admin_pb2.EVIDENCE_COMPLETION_LOG,
    "shadow_scores": admin_pb2.EVIDENCE_SHADOW_SCORES,
}


@dataclass(frozen=True, slots=True)
class ShadowState:
    """How far a shadow has come; ``since`` in seconds since the epoch."""

    since: float
    scored: int
    completions: int
    dropped: int


@dataclass(frozen=True, slots=True)
class RankerInfo:
    """A ranker that the daemon holds."""

    ranker_version: str
    """As ``name@version``."""
    in_service: bool
    previous: bool
    """Whether a rollback would return to it."""
    provider: str
    """Where it runs: ``cuda`` or ``cpu``."""
    path: str
    """Its directory on the daemon's machine."""
    measured_tau: float | None
    """tau-b as its manifest has it; None where it has none."""
    shadow: ShadowState | None
    """None while it does not score in the shadow."""
    placement: ModelPlacement = field(default_factory=ModelPlacement)
    """Where its model really runs."""


@dataclass(frozen=True, slots=True)
class RankerStepEvidence:
    """What a promotion rested on; names as in :class:`Judgement`."""

    verdict: str
    evidence: str
    completions: int
    tau_difference: Estimate | None


@dataclass(frozen=True, slots=True)
class RankerStep:
    """A ranker came into service in another one's place; ``at`` in seconds since the epoch."""

    at: float
    kind: str
    """promoted or rolled_back."""
    ranker_version: str
    path: str
    """Relative to the registry, ``bundled:NAME`` for one that comes with rankd, or absolute."""
    before: str
    """In service until then; empty for none."""
    caller: str
    """The credential's name; empty where callers have none."""
    host: str
    """Of the daemon."""
    forced: bool
    """Promoted whatever the verdict was."""
    evidence: RankerStepEvidence | None
    """None where nothing was judged."""


@dataclass(frozen=True, slots=True)
class Rankers:
    """All of them, the one in service first; ``registry`` is a path on the daemon's machine, empty for none."""

    rankers: tuple[RankerInfo, ...]
    registry: str
    history: tuple[RankerStep, ...] = ()
    """The newest steps of the registry's history, the newest last."""
    rollback_to: str = ""
    """What a rollback would return to, loaded or not; empty for nothing."""
    history_trouble: str = ""
    """Why the history does not say what is in service; empty where it does."""


@dataclass(frozen=True, slots=True)
class RankerFigures:
    """One ranker on the completions of a judgement; None where undefined."""

    ranker_version: str
    tau: Estimate | None
    realised_gain: Estimate | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A candidate against the ranker in service on the same completions; differences are candidate less the other.

    ``verdict``: better, not_better, too_few_completions, too_few_decided_pairs, too_few_unseen_completions.
    ``evidence``: completion_log, shadow_scores, or empty where there was nothing.
    """

    verdict: str
    evidence: str
    candidate: RankerFigures
    in_service: RankerFigures
    tau_difference: Estimate | None
    realised_gain_difference: Estimate | None
    completions: int
    """Judged."""
    censored: int
    """Of these, cut short: the length is a lower bound."""
    decided_pair_share: float
    """Of the pairs within a served model, those whose order is known, 0 to 1."""
    margin: float
    """Applied; of tau."""
    min_completions: int
    """Applied."""
    log_completions: int
    """With a prompt, that the completion log had to offer."""
    shadow_completions: int
    """With a shadow score."""
    older_completions: int
    """Of those judged, ended before the candidate's files were written, and trusted: trained on, they flatter it."""
    trained_completions: int = 0
    """Left out: their prompts are among the rows that one of the rankers was made of."""
    learned_completions: int = 0
    """Left out: they ended while a daemon learned what was baked into one of the rankers."""
    undeclared_completions: int = 0
    """Left out: the candidate does not say what it was made of, and they ended before its files were written."""
    tries: int = 0
    """Judgements so far on completions that these overlap with, this one included; 0 without a verdict."""
    error_level: float = 0.0
    """One-sided, of ``strict_low``."""
    strict_low: float | None = None
    """The lower bound of ``tau_difference`` at that level, which must be above ``margin``; None: undefined."""

    @property
    def excluded_completions(self) -> int:
        """Left out in all."""
        return self.trained_completions + self.learned_completions + self.undeclared_completions


@dataclass(frozen=True, slots=True)
class JudgeOptions:
    """How to judge; what is None is as the daemon is set."""

    model: str | None = None
    margin: float | None = None
    min_completions: int | None = None
    evidence: EvidenceName | None = None
    trust_older_completions: bool = False
    """Let completions count that ended before the files of a candidate which does not say what it was made of."""

    def message(self) -> admin_pb2.JudgeOptions:
        """As proto."""
        out = admin_pb2.JudgeOptions(
            min_completion_count=self.min_completions or 0, trust_older_completions=self.trust_older_completions
        )
        if self.model is not None:
            out.model = self.model
        if self.margin is not None:
            out.margin = self.margin
        if self.evidence is not None:
            out.evidence = _EVIDENCE[self.evidence]
        return out


def rankers_of(message: admin_pb2.ListRankersResponse) -> Rankers:
    """A ListRankers answer as plain values."""
    return Rankers(
        tuple(ranker_of(r) for r in message.rankers),
        message.registry_path,
        tuple(_step(s) for s in message.history),
        message.rollback_ranker_version,
        message.history_trouble,
    )


def _step(message: admin_pb2.ServiceStep) -> RankerStep:
    evidence = None
    if message.HasField("evidence"):
        told = message.evidence
        evidence = RankerStepEvidence(
            enum_name(admin_pb2.Verdict, told.verdict, "VERDICT_"),
            enum_name(admin_pb2.Evidence, told.evidence, "EVIDENCE_"),
            told.completion_count,
            estimate_of(told, "tau_difference"),
        )
    return RankerStep(
        at=seconds_of(message.time),
        kind=enum_name(admin_pb2.ServiceStepKind, message.kind, "SERVICE_STEP_KIND_"),
        ranker_version=message.ranker_version,
        path=message.path,
        before=message.before_ranker_version,
        caller=message.caller,
        host=message.host,
        forced=message.forced,
        evidence=evidence,
    )


def judgement_of(message: admin_pb2.Judgement) -> Judgement:
    """A judgement as plain values."""
    return Judgement(
        verdict=enum_name(admin_pb2.Verdict, message.verdict, "VERDICT_"),
        evidence=enum_name(admin_pb2.Evidence, message.evidence, "EVIDENCE_"),
        candidate=_figures(message.candidate),
        in_service=_figures(message.in_service),
        tau_difference=estimate_of(message, "tau_difference"),
        realised_gain_difference=estimate_of(message, "realised_gain_difference"),
        completions=message.completion_count,
        censored=message.censored_count,
        decided_pair_share=message.decided_pair_share,
        margin=message.margin,
        min_completions=message.min_completion_count,
        log_completions=message.log_completion_count,
        shadow_completions=message.shadow_completion_count,
        older_completions=message.older_completion_count,
        trained_completions=message.trained_completion_count,
        learned_completions=message.learned_completion_count,
        undeclared_completions=message.undeclared_completion_count,
        tries=message.try_count,
        error_level=message.error_level,
        strict_low=message.strict_low if message.HasField("strict_low") else None,
    )


def _figures(message: admin_pb2.RankerFigures) -> RankerFigures:
    return RankerFigures(message.ranker_version, estimate_of(message, "tau"), estimate_of(message, "realised_gain"))


def ranker_of(message: admin_pb2.Ranker) -> RankerInfo:
    """A ranker as plain values."""
    shadow = None
    if message.HasField("shadow"):
        state = message.shadow
        since = seconds_of(state.since)
        shadow = ShadowState(since, state.scored_count, state.completion_count, state.dropped_count)
    return RankerInfo(
        ranker_version=message.ranker_version,
        in_service=message.in_service,
        previous=message.previous,
        provider=message.provider,
        path=message.path,
        measured_tau=message.measured_tau if message.HasField("measured_tau") else None,
        shadow=shadow,
        placement=model_placement_of(message.placement),
    )
