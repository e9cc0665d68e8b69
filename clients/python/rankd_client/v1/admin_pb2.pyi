import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from rankd_client.v1 import prediction_pb2 as _prediction_pb2
from rankd_client.v1 import quality_pb2 as _quality_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Evidence(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVIDENCE_UNSPECIFIED: _ClassVar[Evidence]
    EVIDENCE_COMPLETION_LOG: _ClassVar[Evidence]
    EVIDENCE_SHADOW_SCORES: _ClassVar[Evidence]

class Verdict(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_UNSPECIFIED: _ClassVar[Verdict]
    VERDICT_BETTER: _ClassVar[Verdict]
    VERDICT_NOT_BETTER: _ClassVar[Verdict]
    VERDICT_TOO_FEW_COMPLETIONS: _ClassVar[Verdict]
    VERDICT_TOO_FEW_DECIDED_PAIRS: _ClassVar[Verdict]
    VERDICT_TOO_FEW_UNSEEN_COMPLETIONS: _ClassVar[Verdict]

class ServiceStepKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVICE_STEP_KIND_UNSPECIFIED: _ClassVar[ServiceStepKind]
    SERVICE_STEP_KIND_PROMOTED: _ClassVar[ServiceStepKind]
    SERVICE_STEP_KIND_ROLLED_BACK: _ClassVar[ServiceStepKind]

class PilotState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PILOT_STATE_UNSPECIFIED: _ClassVar[PilotState]
    PILOT_STATE_PLANNED: _ClassVar[PilotState]
    PILOT_STATE_RUNNING: _ClassVar[PilotState]
    PILOT_STATE_STOPPED: _ClassVar[PilotState]
    PILOT_STATE_FINISHED: _ClassVar[PilotState]
    PILOT_STATE_CANCELLED: _ClassVar[PilotState]
    PILOT_STATE_NO_TRAFFIC: _ClassVar[PilotState]
    PILOT_STATE_UNMEASURED: _ClassVar[PilotState]

class PilotMetric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PILOT_METRIC_UNSPECIFIED: _ClassVar[PilotMetric]
    PILOT_METRIC_MEAN: _ClassVar[PilotMetric]
    PILOT_METRIC_P50: _ClassVar[PilotMetric]
    PILOT_METRIC_P90: _ClassVar[PilotMetric]
    PILOT_METRIC_P99: _ClassVar[PilotMetric]
EVIDENCE_UNSPECIFIED: Evidence
EVIDENCE_COMPLETION_LOG: Evidence
EVIDENCE_SHADOW_SCORES: Evidence
VERDICT_UNSPECIFIED: Verdict
VERDICT_BETTER: Verdict
VERDICT_NOT_BETTER: Verdict
VERDICT_TOO_FEW_COMPLETIONS: Verdict
VERDICT_TOO_FEW_DECIDED_PAIRS: Verdict
VERDICT_TOO_FEW_UNSEEN_COMPLETIONS: Verdict
SERVICE_STEP_KIND_UNSPECIFIED: ServiceStepKind
SERVICE_STEP_KIND_PROMOTED: ServiceStepKind
SERVICE_STEP_KIND_ROLLED_BACK: ServiceStepKind
PILOT_STATE_UNSPECIFIED: PilotState
PILOT_STATE_PLANNED: PilotState
PILOT_STATE_RUNNING: PilotState
PILOT_STATE_STOPPED: PilotState
PILOT_STATE_FINISHED: PilotState
PILOT_STATE_CANCELLED: PilotState
PILOT_STATE_NO_TRAFFIC: PilotState
PILOT_STATE_UNMEASURED: PilotState
PILOT_METRIC_UNSPECIFIED: PilotMetric
PILOT_METRIC_MEAN: PilotMetric
PILOT_METRIC_P50: PilotMetric
PILOT_METRIC_P90: PilotMetric
PILOT_METRIC_P99: PilotMetric

class GetLearnedRequest(_message.Message):
    __slots__ = ("model", "ranker_version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    ranker_version: str
    def __init__(self, model: _Optional[str] = ..., ranker_version: _Optional[str] = ...) -> None: ...

class GetLearnedResponse(_message.Message):
    __slots__ = ("ranker_version", "path", "head", "adaptation", "calibration", "mean_expected_token_count")
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    ADAPTATION_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    MEAN_EXPECTED_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    path: str
    head: bytes
    adaptation: _quality_pb2.Adaptation
    calibration: _containers.RepeatedCompositeFieldContainer[_quality_pb2.CalibrationKnot]
    mean_expected_token_count: float
    def __init__(self, ranker_version: _Optional[str] = ..., path: _Optional[str] = ..., head: _Optional[bytes] = ..., adaptation: _Optional[_Union[_quality_pb2.Adaptation, _Mapping]] = ..., calibration: _Optional[_Iterable[_Union[_quality_pb2.CalibrationKnot, _Mapping]]] = ..., mean_expected_token_count: _Optional[float] = ...) -> None: ...

class ForgetLearnedRequest(_message.Message):
    __slots__ = ("model", "ranker_version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    ranker_version: str
    def __init__(self, model: _Optional[str] = ..., ranker_version: _Optional[str] = ...) -> None: ...

class ForgetLearnedResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Ranker(_message.Message):
    __slots__ = ("ranker_version", "in_service", "previous", "provider", "path", "measured_tau", "shadow", "placement")
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    IN_SERVICE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MEASURED_TAU_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    in_service: bool
    previous: bool
    provider: str
    path: str
    measured_tau: float
    shadow: ShadowProgress
    placement: _quality_pb2.ModelPlacement
    def __init__(self, ranker_version: _Optional[str] = ..., in_service: bool = ..., previous: bool = ..., provider: _Optional[str] = ..., path: _Optional[str] = ..., measured_tau: _Optional[float] = ..., shadow: _Optional[_Union[ShadowProgress, _Mapping]] = ..., placement: _Optional[_Union[_quality_pb2.ModelPlacement, _Mapping]] = ...) -> None: ...

class ShadowProgress(_message.Message):
    __slots__ = ("since", "scored_count", "completion_count", "dropped_count")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    SCORED_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    DROPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    scored_count: int
    completion_count: int
    dropped_count: int
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., scored_count: _Optional[int] = ..., completion_count: _Optional[int] = ..., dropped_count: _Optional[int] = ...) -> None: ...

class JudgeOptions(_message.Message):
    __slots__ = ("model", "margin", "min_completion_count", "evidence", "trust_older_completions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    MIN_COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    TRUST_OLDER_COMPLETIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    margin: float
    min_completion_count: int
    evidence: Evidence
    trust_older_completions: bool
    def __init__(self, model: _Optional[str] = ..., margin: _Optional[float] = ..., min_completion_count: _Optional[int] = ..., evidence: _Optional[_Union[Evidence, str]] = ..., trust_older_completions: bool = ...) -> None: ...

class RankerFigures(_message.Message):
    __slots__ = ("ranker_version", "tau", "realised_gain")
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    TAU_FIELD_NUMBER: _ClassVar[int]
    REALISED_GAIN_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    tau: _quality_pb2.Estimate
    realised_gain: _quality_pb2.Estimate
    def __init__(self, ranker_version: _Optional[str] = ..., tau: _Optional[_Union[_quality_pb2.Estimate, _Mapping]] = ..., realised_gain: _Optional[_Union[_quality_pb2.Estimate, _Mapping]] = ...) -> None: ...

class Judgement(_message.Message):
    __slots__ = ("verdict", "evidence", "candidate", "in_service", "tau_difference", "realised_gain_difference", "completion_count", "censored_count", "decided_pair_share", "margin", "min_completion_count", "log_completion_count", "shadow_completion_count", "older_completion_count", "trained_completion_count", "learned_completion_count", "undeclared_completion_count", "try_count", "error_level", "strict_low")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATE_FIELD_NUMBER: _ClassVar[int]
    IN_SERVICE_FIELD_NUMBER: _ClassVar[int]
    TAU_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    REALISED_GAIN_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    CENSORED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DECIDED_PAIR_SHARE_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    MIN_COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    LOG_COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    SHADOW_COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    OLDER_COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRAINED_COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    LEARNED_COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNDECLARED_COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    TRY_COUNT_FIELD_NUMBER: _ClassVar[int]
    ERROR_LEVEL_FIELD_NUMBER: _ClassVar[int]
    STRICT_LOW_FIELD_NUMBER: _ClassVar[int]
    verdict: Verdict
    evidence: Evidence
    candidate: RankerFigures
    in_service: RankerFigures
    tau_difference: _quality_pb2.Estimate
    realised_gain_difference: _quality_pb2.Estimate
    completion_count: int
    censored_count: int
    decided_pair_share: float
    margin: float
    min_completion_count: int
    log_completion_count: int
    shadow_completion_count: int
    older_completion_count: int
    trained_completion_count: int
    learned_completion_count: int
    undeclared_completion_count: int
    try_count: int
    error_level: float
    strict_low: float
    def __init__(self, verdict: _Optional[_Union[Verdict, str]] = ..., evidence: _Optional[_Union[Evidence, str]] = ..., candidate: _Optional[_Union[RankerFigures, _Mapping]] = ..., in_service: _Optional[_Union[RankerFigures, _Mapping]] = ..., tau_difference: _Optional[_Union[_quality_pb2.Estimate, _Mapping]] = ..., realised_gain_difference: _Optional[_Union[_quality_pb2.Estimate, _Mapping]] = ..., completion_count: _Optional[int] = ..., censored_count: _Optional[int] = ..., decided_pair_share: _Optional[float] = ..., margin: _Optional[float] = ..., min_completion_count: _Optional[int] = ..., log_completion_count: _Optional[int] = ..., shadow_completion_count: _Optional[int] = ..., older_completion_count: _Optional[int] = ..., trained_completion_count: _Optional[int] = ..., learned_completion_count: _Optional[int] = ..., undeclared_completion_count: _Optional[int] = ..., try_count: _Optional[int] = ..., error_level: _Optional[float] = ..., strict_low: _Optional[float] = ...) -> None: ...

class ListRankersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRankersResponse(_message.Message):
    __slots__ = ("rankers", "registry_path", "history", "rollback_ranker_version", "history_trouble")
    RANKERS_FIELD_NUMBER: _ClassVar[int]
    REGISTRY_PATH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    ROLLBACK_RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    HISTORY_TROUBLE_FIELD_NUMBER: _ClassVar[int]
    rankers: _containers.RepeatedCompositeFieldContainer[Ranker]
    registry_path: str
    history: _containers.RepeatedCompositeFieldContainer[ServiceStep]
    rollback_ranker_version: str
    history_trouble: str
    def __init__(self, rankers: _Optional[_Iterable[_Union[Ranker, _Mapping]]] = ..., registry_path: _Optional[str] = ..., history: _Optional[_Iterable[_Union[ServiceStep, _Mapping]]] = ..., rollback_ranker_version: _Optional[str] = ..., history_trouble: _Optional[str] = ...) -> None: ...

class ServiceStep(_message.Message):
    __slots__ = ("time", "kind", "ranker_version", "path", "before_ranker_version", "caller", "host", "forced", "evidence")
    TIME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    BEFORE_RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    FORCED_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    time: _timestamp_pb2.Timestamp
    kind: ServiceStepKind
    ranker_version: str
    path: str
    before_ranker_version: str
    caller: str
    host: str
    forced: bool
    evidence: ServiceStepEvidence
    def __init__(self, time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., kind: _Optional[_Union[ServiceStepKind, str]] = ..., ranker_version: _Optional[str] = ..., path: _Optional[str] = ..., before_ranker_version: _Optional[str] = ..., caller: _Optional[str] = ..., host: _Optional[str] = ..., forced: bool = ..., evidence: _Optional[_Union[ServiceStepEvidence, _Mapping]] = ...) -> None: ...

class ServiceStepEvidence(_message.Message):
    __slots__ = ("verdict", "evidence", "completion_count", "tau_difference")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    TAU_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    verdict: Verdict
    evidence: Evidence
    completion_count: int
    tau_difference: _quality_pb2.Estimate
    def __init__(self, verdict: _Optional[_Union[Verdict, str]] = ..., evidence: _Optional[_Union[Evidence, str]] = ..., completion_count: _Optional[int] = ..., tau_difference: _Optional[_Union[_quality_pb2.Estimate, _Mapping]] = ...) -> None: ...

class LoadRankerRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class LoadRankerResponse(_message.Message):
    __slots__ = ("ranker",)
    RANKER_FIELD_NUMBER: _ClassVar[int]
    ranker: Ranker
    def __init__(self, ranker: _Optional[_Union[Ranker, _Mapping]] = ...) -> None: ...

class UnloadRankerRequest(_message.Message):
    __slots__ = ("ranker_version",)
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    def __init__(self, ranker_version: _Optional[str] = ...) -> None: ...

class UnloadRankerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StartShadowRequest(_message.Message):
    __slots__ = ("ranker_version",)
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    def __init__(self, ranker_version: _Optional[str] = ...) -> None: ...

class StartShadowResponse(_message.Message):
    __slots__ = ("ranker",)
    RANKER_FIELD_NUMBER: _ClassVar[int]
    ranker: Ranker
    def __init__(self, ranker: _Optional[_Union[Ranker, _Mapping]] = ...) -> None: ...

class StopShadowRequest(_message.Message):
    __slots__ = ("ranker_version",)
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    def __init__(self, ranker_version: _Optional[str] = ...) -> None: ...

class StopShadowResponse(_message.Message):
    __slots__ = ("ranker",)
    RANKER_FIELD_NUMBER: _ClassVar[int]
    ranker: Ranker
    def __init__(self, ranker: _Optional[_Union[Ranker, _Mapping]] = ...) -> None: ...

class JudgeRankerRequest(_message.Message):
    __slots__ = ("ranker_version", "options")
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    options: JudgeOptions
    def __init__(self, ranker_version: _Optional[str] = ..., options: _Optional[_Union[JudgeOptions, _Mapping]] = ...) -> None: ...

class JudgeRankerResponse(_message.Message):
    __slots__ = ("scored_count", "total_count", "judgement")
    SCORED_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COUNT_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENT_FIELD_NUMBER: _ClassVar[int]
    scored_count: int
    total_count: int
    judgement: Judgement
    def __init__(self, scored_count: _Optional[int] = ..., total_count: _Optional[int] = ..., judgement: _Optional[_Union[Judgement, _Mapping]] = ...) -> None: ...

class PromoteRankerRequest(_message.Message):
    __slots__ = ("ranker_version", "only_if_better")
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ONLY_IF_BETTER_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    only_if_better: JudgeOptions
    def __init__(self, ranker_version: _Optional[str] = ..., only_if_better: _Optional[_Union[JudgeOptions, _Mapping]] = ...) -> None: ...

class PromoteRankerResponse(_message.Message):
    __slots__ = ("ranker", "promoted", "judgement")
    RANKER_FIELD_NUMBER: _ClassVar[int]
    PROMOTED_FIELD_NUMBER: _ClassVar[int]
    JUDGEMENT_FIELD_NUMBER: _ClassVar[int]
    ranker: Ranker
    promoted: bool
    judgement: Judgement
    def __init__(self, ranker: _Optional[_Union[Ranker, _Mapping]] = ..., promoted: bool = ..., judgement: _Optional[_Union[Judgement, _Mapping]] = ...) -> None: ...

class RollbackRankerRequest(_message.Message):
    __slots__ = ("ranker_version",)
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    def __init__(self, ranker_version: _Optional[str] = ...) -> None: ...

class RollbackRankerResponse(_message.Message):
    __slots__ = ("ranker",)
    RANKER_FIELD_NUMBER: _ClassVar[int]
    ranker: Ranker
    def __init__(self, ranker: _Optional[_Union[Ranker, _Mapping]] = ...) -> None: ...

class PinGuardRequest(_message.Message):
    __slots__ = ("model", "ranker_version", "mode", "duration")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    model: str
    ranker_version: str
    mode: _quality_pb2.GuardMode
    duration: _duration_pb2.Duration
    def __init__(self, model: _Optional[str] = ..., ranker_version: _Optional[str] = ..., mode: _Optional[_Union[_quality_pb2.GuardMode, str]] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class PinGuardResponse(_message.Message):
    __slots__ = ("guard",)
    GUARD_FIELD_NUMBER: _ClassVar[int]
    guard: _quality_pb2.GuardStatus
    def __init__(self, guard: _Optional[_Union[_quality_pb2.GuardStatus, _Mapping]] = ...) -> None: ...

class UnpinGuardRequest(_message.Message):
    __slots__ = ("model", "ranker_version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    ranker_version: str
    def __init__(self, model: _Optional[str] = ..., ranker_version: _Optional[str] = ...) -> None: ...

class UnpinGuardResponse(_message.Message):
    __slots__ = ("guard",)
    GUARD_FIELD_NUMBER: _ClassVar[int]
    guard: _quality_pb2.GuardStatus
    def __init__(self, guard: _Optional[_Union[_quality_pb2.GuardStatus, _Mapping]] = ...) -> None: ...

class PilotEffect(_message.Message):
    __slots__ = ("metric", "control_seconds", "treatment_seconds", "ratio", "low", "high", "sequence_low", "sequence_high", "horizon_block_count")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    CONTROL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TREATMENT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_LOW_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_HIGH_FIELD_NUMBER: _ClassVar[int]
    HORIZON_BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    metric: PilotMetric
    control_seconds: float
    treatment_seconds: float
    ratio: float
    low: float
    high: float
    sequence_low: float
    sequence_high: float
    horizon_block_count: int
    def __init__(self, metric: _Optional[_Union[PilotMetric, str]] = ..., control_seconds: _Optional[float] = ..., treatment_seconds: _Optional[float] = ..., ratio: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., sequence_low: _Optional[float] = ..., sequence_high: _Optional[float] = ..., horizon_block_count: _Optional[int] = ...) -> None: ...

class PilotStatus(_message.Message):
    __slots__ = ("model", "control", "treatment", "slot", "washout", "block_count", "shadow", "harm_tolerance", "metric", "seed", "start_time", "state", "reason", "policy", "slot_count", "measured_block_count", "skipped_block_count", "request_count", "unfinished_count", "gave_up_count", "crossed_count", "late_count", "unmeasured_count", "answer_count", "overridden_count", "effects")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    TREATMENT_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    WASHOUT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    HARM_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SLOT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEASURED_BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNFINISHED_COUNT_FIELD_NUMBER: _ClassVar[int]
    GAVE_UP_COUNT_FIELD_NUMBER: _ClassVar[int]
    CROSSED_COUNT_FIELD_NUMBER: _ClassVar[int]
    LATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNMEASURED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ANSWER_COUNT_FIELD_NUMBER: _ClassVar[int]
    OVERRIDDEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    EFFECTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    control: _prediction_pb2.Policy
    treatment: _prediction_pb2.Policy
    slot: _duration_pb2.Duration
    washout: _duration_pb2.Duration
    block_count: int
    shadow: bool
    harm_tolerance: float
    metric: PilotMetric
    seed: int
    start_time: _timestamp_pb2.Timestamp
    state: PilotState
    reason: str
    policy: _prediction_pb2.Policy
    slot_count: int
    measured_block_count: int
    skipped_block_count: int
    request_count: int
    unfinished_count: int
    gave_up_count: int
    crossed_count: int
    late_count: int
    unmeasured_count: int
    answer_count: int
    overridden_count: int
    effects: _containers.RepeatedCompositeFieldContainer[PilotEffect]
    def __init__(self, model: _Optional[str] = ..., control: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., treatment: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., slot: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., washout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., block_count: _Optional[int] = ..., shadow: bool = ..., harm_tolerance: _Optional[float] = ..., metric: _Optional[_Union[PilotMetric, str]] = ..., seed: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[PilotState, str]] = ..., reason: _Optional[str] = ..., policy: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., slot_count: _Optional[int] = ..., measured_block_count: _Optional[int] = ..., skipped_block_count: _Optional[int] = ..., request_count: _Optional[int] = ..., unfinished_count: _Optional[int] = ..., gave_up_count: _Optional[int] = ..., crossed_count: _Optional[int] = ..., late_count: _Optional[int] = ..., unmeasured_count: _Optional[int] = ..., answer_count: _Optional[int] = ..., overridden_count: _Optional[int] = ..., effects: _Optional[_Iterable[_Union[PilotEffect, _Mapping]]] = ...) -> None: ...

class StartPilotRequest(_message.Message):
    __slots__ = ("model", "control", "treatment", "slot", "washout", "block_count", "shadow", "harm_tolerance", "metric", "seed", "start_time", "only_model")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    TREATMENT_FIELD_NUMBER: _ClassVar[int]
    SLOT_FIELD_NUMBER: _ClassVar[int]
    WASHOUT_FIELD_NUMBER: _ClassVar[int]
    BLOCK_COUNT_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    HARM_TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    ONLY_MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    control: _prediction_pb2.Policy
    treatment: _prediction_pb2.Policy
    slot: _duration_pb2.Duration
    washout: _duration_pb2.Duration
    block_count: int
    shadow: bool
    harm_tolerance: float
    metric: PilotMetric
    seed: int
    start_time: _timestamp_pb2.Timestamp
    only_model: bool
    def __init__(self, model: _Optional[str] = ..., control: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., treatment: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., slot: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., washout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., block_count: _Optional[int] = ..., shadow: bool = ..., harm_tolerance: _Optional[float] = ..., metric: _Optional[_Union[PilotMetric, str]] = ..., seed: _Optional[int] = ..., start_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., only_model: bool = ...) -> None: ...

class StartPilotResponse(_message.Message):
    __slots__ = ("pilot",)
    PILOT_FIELD_NUMBER: _ClassVar[int]
    pilot: PilotStatus
    def __init__(self, pilot: _Optional[_Union[PilotStatus, _Mapping]] = ...) -> None: ...

class GetPilotRequest(_message.Message):
    __slots__ = ("model", "only_model")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ONLY_MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    only_model: bool
    def __init__(self, model: _Optional[str] = ..., only_model: bool = ...) -> None: ...

class GetPilotResponse(_message.Message):
    __slots__ = ("pilot",)
    PILOT_FIELD_NUMBER: _ClassVar[int]
    pilot: PilotStatus
    def __init__(self, pilot: _Optional[_Union[PilotStatus, _Mapping]] = ...) -> None: ...

class StopPilotRequest(_message.Message):
    __slots__ = ("model", "only_model")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ONLY_MODEL_FIELD_NUMBER: _ClassVar[int]
    model: str
    only_model: bool
    def __init__(self, model: _Optional[str] = ..., only_model: bool = ...) -> None: ...

class StopPilotResponse(_message.Message):
    __slots__ = ("pilot",)
    PILOT_FIELD_NUMBER: _ClassVar[int]
    pilot: PilotStatus
    def __init__(self, pilot: _Optional[_Union[PilotStatus, _Mapping]] = ...) -> None: ...
