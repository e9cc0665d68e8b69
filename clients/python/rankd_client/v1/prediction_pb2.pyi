import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Policy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    POLICY_UNSPECIFIED: _ClassVar[Policy]
    POLICY_FCFS: _ClassVar[Policy]
    POLICY_SCORE: _ClassVar[Policy]
    POLICY_DUE: _ClassVar[Policy]
    POLICY_AGED: _ClassVar[Policy]
    POLICY_BOOST: _ClassVar[Policy]
    POLICY_LONGEST: _ClassVar[Policy]

class Objective(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OBJECTIVE_UNSPECIFIED: _ClassVar[Objective]
    OBJECTIVE_TAIL: _ClassVar[Objective]
    OBJECTIVE_BALANCED: _ClassVar[Objective]
    OBJECTIVE_MEAN: _ClassVar[Objective]
    OBJECTIVE_SLO: _ClassVar[Objective]
    OBJECTIVE_MAKESPAN: _ClassVar[Objective]
    OBJECTIVE_FIRST: _ClassVar[Objective]

class FallbackReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FALLBACK_REASON_UNSPECIFIED: _ClassVar[FallbackReason]
    FALLBACK_REASON_DEADLINE: _ClassVar[FallbackReason]
    FALLBACK_REASON_OVERLOADED: _ClassVar[FallbackReason]
    FALLBACK_REASON_RANKER_UNAVAILABLE: _ClassVar[FallbackReason]
    FALLBACK_REASON_GUARD: _ClassVar[FallbackReason]
    FALLBACK_REASON_REQUESTED: _ClassVar[FallbackReason]
    FALLBACK_REASON_NEEDS_PROMPT: _ClassVar[FallbackReason]
POLICY_UNSPECIFIED: Policy
POLICY_FCFS: Policy
POLICY_SCORE: Policy
POLICY_DUE: Policy
POLICY_AGED: Policy
POLICY_BOOST: Policy
POLICY_LONGEST: Policy
OBJECTIVE_UNSPECIFIED: Objective
OBJECTIVE_TAIL: Objective
OBJECTIVE_BALANCED: Objective
OBJECTIVE_MEAN: Objective
OBJECTIVE_SLO: Objective
OBJECTIVE_MAKESPAN: Objective
OBJECTIVE_FIRST: Objective
FALLBACK_REASON_UNSPECIFIED: FallbackReason
FALLBACK_REASON_DEADLINE: FallbackReason
FALLBACK_REASON_OVERLOADED: FallbackReason
FALLBACK_REASON_RANKER_UNAVAILABLE: FallbackReason
FALLBACK_REASON_GUARD: FallbackReason
FALLBACK_REASON_REQUESTED: FallbackReason
FALLBACK_REASON_NEEDS_PROMPT: FallbackReason

class ShadowScore(_message.Message):
    __slots__ = ("ranker_version", "score")
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    score: float
    def __init__(self, ranker_version: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("score", "ranker_version", "scored_at", "expected_token_count", "p50_token_count", "p90_token_count", "shadow_scores", "pilot_slot", "key_id", "signature", "tenant", "features", "learned_score")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCORED_AT_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    P50_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    P90_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    SHADOW_SCORES_FIELD_NUMBER: _ClassVar[int]
    PILOT_SLOT_FIELD_NUMBER: _ClassVar[int]
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    LEARNED_SCORE_FIELD_NUMBER: _ClassVar[int]
    score: float
    ranker_version: str
    scored_at: _timestamp_pb2.Timestamp
    expected_token_count: float
    p50_token_count: float
    p90_token_count: float
    shadow_scores: _containers.RepeatedCompositeFieldContainer[ShadowScore]
    pilot_slot: int
    key_id: str
    signature: bytes
    tenant: str
    features: bytes
    learned_score: float
    def __init__(self, score: _Optional[float] = ..., ranker_version: _Optional[str] = ..., scored_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expected_token_count: _Optional[float] = ..., p50_token_count: _Optional[float] = ..., p90_token_count: _Optional[float] = ..., shadow_scores: _Optional[_Iterable[_Union[ShadowScore, _Mapping]]] = ..., pilot_slot: _Optional[int] = ..., key_id: _Optional[str] = ..., signature: _Optional[bytes] = ..., tenant: _Optional[str] = ..., features: _Optional[bytes] = ..., learned_score: _Optional[float] = ...) -> None: ...
