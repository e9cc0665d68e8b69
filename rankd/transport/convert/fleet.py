"""What replicas tell each other, as proto and back. Times travel as ages: replicas' clocks need not agree."""

from __future__ import annotations

import math
from typing import Any

from google.protobuf.duration_pb2 import Duration
from rankd_client.v1 import quality_pb2

from rankd.fleet.membership import Key, ReplicaState, ReplicaWindow
from rankd.quality import GuardReason, GuardStanding
from rankd.quality.prompt_judgement import PromptStanding
from rankd.quality.serialise import MOST_COMPLETIONS
from rankd.quality.statistics.cohort_sums import CohortSums
from rankd.quality.values import MAX_TOKENS
from rankd.transport.convert.quality import MODE_TO_PROTO
from rankd.transport.convert.request import to_duration

_MODES = {number: mode for mode, number in MODE_TO_PROTO.items()}
LONGEST_AGE = 3e9
"""Seconds; an age beyond is a mistake."""
_MOST_PACE = 1e6
"""Completions per second of one replica; what its evidence weighs."""
_MOST_SIZE = 2**20
"""Requests in one cohort."""
MOST_NAME_BYTES = 65536
_KEY_ID_BYTES = 8
MOST_INSTANCE = 64
"""Characters of what a replica calls itself."""


def to_proto(state: ReplicaState, now: float) -> quality_pb2.GetFleetShareResponse:
    """A replica's state as proto; ``now`` in seconds by the clock of its times."""
    out = quality_pb2.GetFleetShareResponse(instance=state.instance, learned_key_id=state.learned_key_id)
    out.senior_since.FromNanoseconds(state.senior_since)
    for (model, ranker_version), share in state.windows.items():
        added = out.shares.add(
            model=model,
            ranker_version=ranker_version,
            completion_count=share.completions,
            completions_per_second=share.pace,
            standing=_standing(share.standing, now),
            learned_in_use=share.learned_in_use,
        )
        if share.sums is not None:
            added.sums.CopyFrom(_sums(share.sums))
    return out


def _sums(sums: CohortSums) -> quality_pb2.CohortSums:
    return quality_pb2.CohortSums(
        size=sums.size,
        known_count=sums.known,
        decided_pair_share=sums.decided,
        horizon_token_count=sums.horizon,
        means=sums.means,
        covariance=sums.covariance,
        doubt=sums.doubt,
    )


def _standing(standing: GuardStanding, now: float) -> quality_pb2.GuardStanding:
    return quality_pb2.GuardStanding(
        mode=MODE_TO_PROTO[standing.mode],
        age=_age(standing.since, now),
        cause=standing.cause.value if standing.cause else "",
        stay=to_duration(standing.stay),
        recovered_age=_age(standing.recovered_at, now),
        relapse_count=min(standing.relapses, 60),
        tau_low=standing.tau_low,
        prompts=quality_pb2.PromptStanding(
            proven=standing.prompts.proven, better=standing.prompts.better, tau_low=standing.prompts.tau_low
        ),
    )


def _age(at: float, now: float) -> Duration | None:
    return to_duration(max(0.0, now - at)) if math.isfinite(at) else None


def from_proto(message: quality_pb2.GetFleetShareResponse, now: float, most: int) -> ReplicaState:
    """A peer's state, at most ``most`` shares of it; one that cannot be is left out.

    Raises:
        ValueError: it is no state of a replica.
    """
    if not 1 <= len(message.instance) <= MOST_INSTANCE or message.senior_since.seconds < 0:
        raise ValueError("instance")
    shares: dict[Key, ReplicaWindow] = {}
    for share in message.shares[:most]:
        if max(len(share.model.encode()), len(share.ranker_version.encode())) > MOST_NAME_BYTES:
            continue
        try:
            shares[share.model, share.ranker_version] = ReplicaWindow(
                completions=int(_within(share.completion_count, 0, MOST_COMPLETIONS)),
                pace=_within(share.completions_per_second, 0.0, _MOST_PACE),
                # Of what has no known length there is no tau to add up: it would only dilute everybody's.
                sums=_read_sums(share.sums) if share.sums.known_count else None,
                standing=_read_standing(share.standing, now),
                learned_in_use=share.learned_in_use,
            )
        except (ValueError, KeyError):
            continue
    key_id = message.learned_key_id if len(message.learned_key_id) == _KEY_ID_BYTES else b""
    return ReplicaState(message.instance, message.senior_since.ToNanoseconds(), shares, key_id)


def _read_sums(sums: quality_pb2.CohortSums) -> CohortSums:
    if len(sums.means) != 3 or len(sums.covariance) != 9:
        raise ValueError("sums")
    agree, (score, length) = _within(sums.means[0], -1.0, 1.0), (_within(x, 0.0, 1.0) for x in sums.means[1:])
    return CohortSums(
        size=int(_within(sums.size, 2, _MOST_SIZE)),
        known=_within(sums.known_count, 0.0, float(sums.size)),
        decided=_within(sums.decided_pair_share, 0.0, 1.0),
        horizon=int(_within(sums.horizon_token_count, 1, MAX_TOKENS)),
        means=(agree, score, length),
        covariance=tuple(_within(x, -1e3, 1e3) for x in sums.covariance),
        doubt=_within(sums.doubt, 0.0, 1e3),
    )


def _read_standing(standing: quality_pb2.GuardStanding, now: float) -> GuardStanding:
    read = GuardStanding(
        mode=_MODES[standing.mode],
        since=_read_age(standing, "age", now),
        cause=GuardReason(standing.cause) if standing.cause else None,
        stay=_seconds(standing.stay),
        recovered_at=_read_age(standing, "recovered_age", now),
        relapses=min(standing.relapse_count, 60),
        tau_low=_tau_low(standing),
        prompts=PromptStanding(standing.prompts.proven, standing.prompts.better, _tau_low(standing.prompts)),
    )
    read.check()
    return read


def _tau_low(message: quality_pb2.GuardStanding | quality_pb2.PromptStanding) -> float | None:
    return _within(message.tau_low, -1.0, 1.0) if message.HasField("tau_low") else None


def _read_age(message: Any, name: str, now: float) -> float:
    return now - _seconds(getattr(message, name)) if message.HasField(name) else -math.inf


def _seconds(duration: Duration) -> float:
    return _within(duration.seconds + duration.nanos * 1e-9, 0.0, LONGEST_AGE)


def _within(value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError("out of range")
    return value
