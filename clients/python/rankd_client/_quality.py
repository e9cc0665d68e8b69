"""Quality answers as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rankd_client._messages import enum_name, seconds_of
from rankd_client._pilot_in_force import PilotInForce, pilot_in_force_of
from rankd_client._placed import Placed, placed_of
from rankd_client._placement import ModelPlacement, model_placement_of
from rankd_client._policy import PolicyInForce, policy_in_force
from rankd_client._savings import Savings, savings_of
from rankd_client._values import Estimate, estimate_of
from rankd_client.v1 import quality_pb2


@dataclass(frozen=True, slots=True)
class GuardState:
    """The guard of one model and ranker version. Times in seconds since the epoch."""

    mode: str
    """A lower-case word of the proto's ``GuardMode``."""
    ranking: bool
    """Whether queues are ranked in this mode."""
    reason: str
    """Why it is in this mode, a lower-case word."""
    since: float | None
    pinned_until: float | None
    """None: not pinned."""
    transitions: int
    """Changes of mode since the daemon started."""


@dataclass(frozen=True, slots=True)
class FleetState:
    """How a guard stands to the fleet's, where replicas tell each other.

    ``followed``: the fleet's evidence decides, and not the replica's own. ``leading``: this replica decides for all.
    ``peers`` are heard, ``replicas`` (this one included) have evidence in ``tau``.
    """

    followed: bool
    leading: bool
    peers: int
    replicas: int
    tau: Estimate | None


@dataclass(frozen=True, slots=True)
class LearnedQuality:
    """Where what was learned of a model's traffic stands, and what it is worth; None where too few completions tell.

    ``state``: learning, not_better, in_use, stepped_back. ``since`` in seconds since the epoch; None: since the start.
    """

    state: str
    completions: int
    """Learned from, as far as they are not forgotten."""
    compared: int
    """Recent ones behind the figures; each was predicted before it was learned from."""
    base_tau: Estimate | None
    """Of the ranker's own scores."""
    learned_tau: Estimate | None
    difference: Estimate | None
    """The second less the first, paired."""
    since: float | None
    switches: int
    """How often it was taken into use or stepped back."""
    left_out: int
    """Completions that were not learned from: their predictions came back without features, too many waited, or their
    tenant's reports contradict those of the others."""


@dataclass(frozen=True, slots=True)
class ModelQuality:
    """Live quality of one ranker version on one served model; None where it is undefined."""

    model: str
    ranker_version: str
    tau: Estimate | None
    """Kendall's tau-b between score and length over the requests that arrived in the window, censoring taken into
    account. -1 to 1, 1 is a perfect order."""
    finished_tau: Estimate | None
    """The same over finished requests only; biased where long ones still wait."""
    realised_gain: Estimate | None
    """Share of the mean-latency gain of a perfect order: 1 perfect, 0 random."""
    head_tau: float | None
    """tau-b among requests no longer than the window's median."""
    tail_tau: float | None
    """tau-b among those longer than it."""
    decided_pair_share: float
    """Of the pairs behind ``tau``, those whose order is known rather than estimated, 0 to 1."""
    horizon_tokens: int
    """Lengths are compared up to this many output tokens in ``tau``."""
    cohort_size: int
    """Requests behind ``tau``."""
    window_size: int
    """Requests behind ``finished_tau``."""
    progress_seen: bool
    """Whether progress of unfinished requests is reported; without it ``tau`` cannot see them."""
    completions: int
    """Taken: reports of requests that ended, those of a restored window included."""
    open: int
    """Requests last reported as waiting or running."""
    guard: GuardState
    fleet: FleetState | None = None
    """None where there are no peers."""
    work_tau: Estimate | None = None
    """As ``tau``, between expected and realised work, which is prompts and answers: what the guard decides on. The same
    as ``tau`` where no prompt is known to cost anything."""
    prompt_work_tau: Estimate | None = None
    """As ``work_tau``, where every answer is expected to be of average length: how prompts alone order."""
    realised_work_gain: Estimate | None = None
    """As ``realised_gain``, of expected against realised work."""
    learned: LearnedQuality | None = None
    """What was learned of this traffic beside the ranker; None where nothing is."""
    learned_in_use: bool = False
    """Whether all figures here are of what was learned, which orders, rather than of the ranker's own scores."""
    progress_reports: int = 0
    """Taken, of requests that waited or ran; not among ``completions``."""


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """The daemon itself. Counts since its start; ``started_at`` in seconds since the epoch."""

    rankd_version: str
    ranker_version: str
    """Of the ranker in service, as ``name@version``."""
    provider: str
    """Where it runs: ``cuda`` or ``cpu``."""
    started_at: float
    rank_calls: int
    """Answered."""
    items: int
    """In them."""
    unscored_items: int
    """Of these, without a score."""
    scored_prompts: int
    """That the model has read."""
    cached_prompts: int
    """Found in the score cache, or queued already."""
    queued_prompts: int
    """Waiting now to be read."""
    failed_batches: int
    draining: bool
    """A shutdown began."""
    failing_files: tuple[str, ...] = ()
    """Settings whose file cannot be read, or is wrong: what it held before is in force, a withdrawn token included."""
    placement: ModelPlacement = field(default_factory=ModelPlacement)
    """Where the model of the ranker in service really runs."""
    workers: int = 0
    """Batches that the ranker in service reads at the same time; 0 of a daemon that does not say."""
    completions: int = 0
    """Accepted: reports of requests that ended."""
    progress_reports: int = 0
    """Accepted, of requests that waited or ran."""
    promoted: str = ""
    """What the registry's history says is in service, as ``name@version``; empty where nothing was promoted."""
    ranker_choice: str = ""
    """Why the daemon began with its ranker: setting, promoted, fallen_back or bundled; empty where it does not say."""
    unusable_rankers: tuple[str, ...] = ()
    """Promoted rankers that could not be loaded at the start."""
    recently_placed: Placed = field(default_factory=Placed)
    """How engines' requests were placed in the last five minutes, as plug-ins and proxies tell."""


@dataclass(frozen=True, slots=True)
class QualityReport:
    """All that a daemon says of its quality."""

    service: ServiceStatus
    qualities: tuple[ModelQuality, ...]
    policies: tuple[PolicyInForce, ...]
    savings: tuple[Savings, ...] = ()
    """What ranking did to each served model's traffic lately; empty of a daemon that does not say."""
    pilots: tuple[PilotInForce, ...] = ()
    """Pilots under way, and the last one that ended of each other model."""


def report_of(answer: Any) -> QualityReport:
    """A GetQuality or WatchQuality answer."""
    service = answer.service
    return QualityReport(
        service=ServiceStatus(
            rankd_version=service.rankd_version,
            ranker_version=service.ranker_version,
            provider=service.provider,
            started_at=seconds_of(service.started_at),
            rank_calls=service.rank_call_count,
            items=service.item_count,
            unscored_items=service.unscored_item_count,
            scored_prompts=service.scored_prompt_count,
            cached_prompts=service.cached_prompt_count,
            queued_prompts=service.queued_prompt_count,
            failed_batches=service.failed_batch_count,
            draining=service.draining,
            failing_files=tuple(service.failing_files),
            placement=model_placement_of(service.placement),
            workers=service.worker_count,
            completions=service.completion_count,
            progress_reports=service.progress_report_count,
            promoted=service.promoted_ranker_version,
            ranker_choice=enum_name(quality_pb2.RankerChoice, service.ranker_choice, "RANKER_CHOICE_"),
            unusable_rankers=tuple(service.unusable_ranker_versions),
            recently_placed=placed_of(service.recently_placed),
        ),
        qualities=tuple(_quality(q) for q in answer.qualities),
        policies=tuple(policy_in_force(p) for p in answer.policies),
        pilots=tuple(map(pilot_in_force_of, answer.pilots)),
        savings=tuple(savings_of(s) for s in answer.savings),
    )


def _quality(q: quality_pb2.Quality) -> ModelQuality:
    return ModelQuality(
        model=q.model,
        ranker_version=q.ranker_version,
        tau=estimate_of(q, "tau"),
        finished_tau=estimate_of(q, "finished_tau"),
        realised_gain=estimate_of(q, "realised_gain"),
        head_tau=q.head_tau if q.HasField("head_tau") else None,
        tail_tau=q.tail_tau if q.HasField("tail_tau") else None,
        decided_pair_share=q.decided_pair_share,
        horizon_tokens=q.horizon_token_count,
        cohort_size=q.cohort_size,
        window_size=q.window_size,
        progress_seen=q.progress_seen,
        completions=q.completion_count,
        open=q.open_count,
        guard=_guard(q.guard),
        fleet=_fleet(q.fleet) if q.HasField("fleet") else None,
        work_tau=estimate_of(q, "work_tau"),
        prompt_work_tau=estimate_of(q, "prompt_work_tau"),
        realised_work_gain=estimate_of(q, "realised_work_gain"),
        learned=learned_quality_of(q.adaptation) if q.HasField("adaptation") else None,
        learned_in_use=q.learned_in_use,
        progress_reports=q.progress_report_count,
    )


def _fleet(fleet: quality_pb2.FleetStatus) -> FleetState:
    return FleetState(fleet.followed, fleet.leading, fleet.peer_count, fleet.replica_count, estimate_of(fleet, "tau"))


def learned_quality_of(message: quality_pb2.Adaptation) -> LearnedQuality:
    """Where it stands, as plain values."""
    return LearnedQuality(
        state=enum_name(quality_pb2.AdaptationState, message.state, "ADAPTATION_STATE_"),
        completions=message.completion_count,
        compared=message.compared_count,
        base_tau=estimate_of(message, "base_tau"),
        learned_tau=estimate_of(message, "learned_tau"),
        difference=estimate_of(message, "difference"),
        since=seconds_of(message.since) if message.HasField("since") else None,
        switches=message.switch_count,
        left_out=message.left_out_count,
    )


def _guard(guard: quality_pb2.GuardStatus) -> GuardState:
    return GuardState(
        mode=enum_name(quality_pb2.GuardMode, guard.mode, "GUARD_MODE_", "mode_"),
        ranking=guard.ranking,
        reason=guard.reason,
        since=seconds_of(guard.since) if guard.HasField("since") else None,
        pinned_until=seconds_of(guard.pinned_until) if guard.HasField("pinned_until") else None,
        transitions=guard.transition_count,
    )
