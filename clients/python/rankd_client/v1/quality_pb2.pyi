import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from rankd_client.v1 import completion_pb2 as _completion_pb2
from rankd_client.v1 import prediction_pb2 as _prediction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GuardMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GUARD_MODE_UNSPECIFIED: _ClassVar[GuardMode]
    GUARD_MODE_WARMING_UP: _ClassVar[GuardMode]
    GUARD_MODE_RANKED: _ClassVar[GuardMode]
    GUARD_MODE_FALLBACK: _ClassVar[GuardMode]

class AdaptationState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADAPTATION_STATE_UNSPECIFIED: _ClassVar[AdaptationState]
    ADAPTATION_STATE_LEARNING: _ClassVar[AdaptationState]
    ADAPTATION_STATE_NOT_BETTER: _ClassVar[AdaptationState]
    ADAPTATION_STATE_IN_USE: _ClassVar[AdaptationState]
    ADAPTATION_STATE_STEPPED_BACK: _ClassVar[AdaptationState]

class SavingsState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SAVINGS_STATE_UNSPECIFIED: _ClassVar[SavingsState]
    SAVINGS_STATE_LEARNING: _ClassVar[SavingsState]
    SAVINGS_STATE_IDLE: _ClassVar[SavingsState]
    SAVINGS_STATE_NO_QUEUE: _ClassVar[SavingsState]
    SAVINGS_STATE_FALLS_BACK: _ClassVar[SavingsState]
    SAVINGS_STATE_GAINS: _ClassVar[SavingsState]
    SAVINGS_STATE_NO_GAIN: _ClassVar[SavingsState]
    SAVINGS_STATE_LOSES: _ClassVar[SavingsState]

class LatencyMeasure(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATENCY_MEASURE_UNSPECIFIED: _ClassVar[LatencyMeasure]
    LATENCY_MEASURE_END_TO_END: _ClassVar[LatencyMeasure]
    LATENCY_MEASURE_FIRST_TOKEN: _ClassVar[LatencyMeasure]
    LATENCY_MEASURE_PER_TOKEN: _ClassVar[LatencyMeasure]

class LatencyStatistic(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LATENCY_STATISTIC_UNSPECIFIED: _ClassVar[LatencyStatistic]
    LATENCY_STATISTIC_MEAN: _ClassVar[LatencyStatistic]
    LATENCY_STATISTIC_P50: _ClassVar[LatencyStatistic]
    LATENCY_STATISTIC_P90: _ClassVar[LatencyStatistic]
    LATENCY_STATISTIC_P99: _ClassVar[LatencyStatistic]

class RankerChoice(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RANKER_CHOICE_UNSPECIFIED: _ClassVar[RankerChoice]
    RANKER_CHOICE_SETTING: _ClassVar[RankerChoice]
    RANKER_CHOICE_PROMOTED: _ClassVar[RankerChoice]
    RANKER_CHOICE_FALLEN_BACK: _ClassVar[RankerChoice]
    RANKER_CHOICE_BUNDLED: _ClassVar[RankerChoice]
GUARD_MODE_UNSPECIFIED: GuardMode
GUARD_MODE_WARMING_UP: GuardMode
GUARD_MODE_RANKED: GuardMode
GUARD_MODE_FALLBACK: GuardMode
ADAPTATION_STATE_UNSPECIFIED: AdaptationState
ADAPTATION_STATE_LEARNING: AdaptationState
ADAPTATION_STATE_NOT_BETTER: AdaptationState
ADAPTATION_STATE_IN_USE: AdaptationState
ADAPTATION_STATE_STEPPED_BACK: AdaptationState
SAVINGS_STATE_UNSPECIFIED: SavingsState
SAVINGS_STATE_LEARNING: SavingsState
SAVINGS_STATE_IDLE: SavingsState
SAVINGS_STATE_NO_QUEUE: SavingsState
SAVINGS_STATE_FALLS_BACK: SavingsState
SAVINGS_STATE_GAINS: SavingsState
SAVINGS_STATE_NO_GAIN: SavingsState
SAVINGS_STATE_LOSES: SavingsState
LATENCY_MEASURE_UNSPECIFIED: LatencyMeasure
LATENCY_MEASURE_END_TO_END: LatencyMeasure
LATENCY_MEASURE_FIRST_TOKEN: LatencyMeasure
LATENCY_MEASURE_PER_TOKEN: LatencyMeasure
LATENCY_STATISTIC_UNSPECIFIED: LatencyStatistic
LATENCY_STATISTIC_MEAN: LatencyStatistic
LATENCY_STATISTIC_P50: LatencyStatistic
LATENCY_STATISTIC_P90: LatencyStatistic
LATENCY_STATISTIC_P99: LatencyStatistic
RANKER_CHOICE_UNSPECIFIED: RankerChoice
RANKER_CHOICE_SETTING: RankerChoice
RANKER_CHOICE_PROMOTED: RankerChoice
RANKER_CHOICE_FALLEN_BACK: RankerChoice
RANKER_CHOICE_BUNDLED: RankerChoice

class Estimate(_message.Message):
    __slots__ = ("value", "low", "high")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    value: float
    low: float
    high: float
    def __init__(self, value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class GuardStatus(_message.Message):
    __slots__ = ("mode", "ranking", "reason", "since", "pinned_until", "transition_count")
    MODE_FIELD_NUMBER: _ClassVar[int]
    RANKING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    PINNED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    TRANSITION_COUNT_FIELD_NUMBER: _ClassVar[int]
    mode: GuardMode
    ranking: bool
    reason: str
    since: _timestamp_pb2.Timestamp
    pinned_until: _timestamp_pb2.Timestamp
    transition_count: int
    def __init__(self, mode: _Optional[_Union[GuardMode, str]] = ..., ranking: bool = ..., reason: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pinned_until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., transition_count: _Optional[int] = ...) -> None: ...

class FleetStatus(_message.Message):
    __slots__ = ("followed", "leading", "peer_count", "replica_count", "tau")
    FOLLOWED_FIELD_NUMBER: _ClassVar[int]
    LEADING_FIELD_NUMBER: _ClassVar[int]
    PEER_COUNT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_COUNT_FIELD_NUMBER: _ClassVar[int]
    TAU_FIELD_NUMBER: _ClassVar[int]
    followed: bool
    leading: bool
    peer_count: int
    replica_count: int
    tau: Estimate
    def __init__(self, followed: bool = ..., leading: bool = ..., peer_count: _Optional[int] = ..., replica_count: _Optional[int] = ..., tau: _Optional[_Union[Estimate, _Mapping]] = ...) -> None: ...

class Quality(_message.Message):
    __slots__ = ("model", "ranker_version", "tau", "finished_tau", "realised_gain", "head_tau", "tail_tau", "decided_pair_share", "horizon_token_count", "cohort_size", "window_size", "comparable_pair_count", "progress_seen", "completion_count", "open_count", "guard", "fleet", "work_tau", "prompt_work_tau", "realised_work_gain", "adaptation", "learned_in_use", "progress_report_count")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    TAU_FIELD_NUMBER: _ClassVar[int]
    FINISHED_TAU_FIELD_NUMBER: _ClassVar[int]
    REALISED_GAIN_FIELD_NUMBER: _ClassVar[int]
    HEAD_TAU_FIELD_NUMBER: _ClassVar[int]
    TAIL_TAU_FIELD_NUMBER: _ClassVar[int]
    DECIDED_PAIR_SHARE_FIELD_NUMBER: _ClassVar[int]
    HORIZON_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COHORT_SIZE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_SIZE_FIELD_NUMBER: _ClassVar[int]
    COMPARABLE_PAIR_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_SEEN_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    OPEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    GUARD_FIELD_NUMBER: _ClassVar[int]
    FLEET_FIELD_NUMBER: _ClassVar[int]
    WORK_TAU_FIELD_NUMBER: _ClassVar[int]
    PROMPT_WORK_TAU_FIELD_NUMBER: _ClassVar[int]
    REALISED_WORK_GAIN_FIELD_NUMBER: _ClassVar[int]
    ADAPTATION_FIELD_NUMBER: _ClassVar[int]
    LEARNED_IN_USE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_REPORT_COUNT_FIELD_NUMBER: _ClassVar[int]
    model: str
    ranker_version: str
    tau: Estimate
    finished_tau: Estimate
    realised_gain: Estimate
    head_tau: float
    tail_tau: float
    decided_pair_share: float
    horizon_token_count: int
    cohort_size: int
    window_size: int
    comparable_pair_count: int
    progress_seen: bool
    completion_count: int
    open_count: int
    guard: GuardStatus
    fleet: FleetStatus
    work_tau: Estimate
    prompt_work_tau: Estimate
    realised_work_gain: Estimate
    adaptation: Adaptation
    learned_in_use: bool
    progress_report_count: int
    def __init__(self, model: _Optional[str] = ..., ranker_version: _Optional[str] = ..., tau: _Optional[_Union[Estimate, _Mapping]] = ..., finished_tau: _Optional[_Union[Estimate, _Mapping]] = ..., realised_gain: _Optional[_Union[Estimate, _Mapping]] = ..., head_tau: _Optional[float] = ..., tail_tau: _Optional[float] = ..., decided_pair_share: _Optional[float] = ..., horizon_token_count: _Optional[int] = ..., cohort_size: _Optional[int] = ..., window_size: _Optional[int] = ..., comparable_pair_count: _Optional[int] = ..., progress_seen: bool = ..., completion_count: _Optional[int] = ..., open_count: _Optional[int] = ..., guard: _Optional[_Union[GuardStatus, _Mapping]] = ..., fleet: _Optional[_Union[FleetStatus, _Mapping]] = ..., work_tau: _Optional[_Union[Estimate, _Mapping]] = ..., prompt_work_tau: _Optional[_Union[Estimate, _Mapping]] = ..., realised_work_gain: _Optional[_Union[Estimate, _Mapping]] = ..., adaptation: _Optional[_Union[Adaptation, _Mapping]] = ..., learned_in_use: bool = ..., progress_report_count: _Optional[int] = ...) -> None: ...

class Adaptation(_message.Message):
    __slots__ = ("state", "completion_count", "compared_count", "base_tau", "learned_tau", "difference", "since", "switch_count", "left_out_count")
    STATE_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPARED_COUNT_FIELD_NUMBER: _ClassVar[int]
    BASE_TAU_FIELD_NUMBER: _ClassVar[int]
    LEARNED_TAU_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    SWITCH_COUNT_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_COUNT_FIELD_NUMBER: _ClassVar[int]
    state: AdaptationState
    completion_count: int
    compared_count: int
    base_tau: Estimate
    learned_tau: Estimate
    difference: Estimate
    since: _timestamp_pb2.Timestamp
    switch_count: int
    left_out_count: int
    def __init__(self, state: _Optional[_Union[AdaptationState, str]] = ..., completion_count: _Optional[int] = ..., compared_count: _Optional[int] = ..., base_tau: _Optional[_Union[Estimate, _Mapping]] = ..., learned_tau: _Optional[_Union[Estimate, _Mapping]] = ..., difference: _Optional[_Union[Estimate, _Mapping]] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., switch_count: _Optional[int] = ..., left_out_count: _Optional[int] = ...) -> None: ...

class CalibrationKnot(_message.Message):
    __slots__ = ("score", "expected_token_count", "p50_token_count", "p90_token_count")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    P50_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    P90_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    score: float
    expected_token_count: float
    p50_token_count: float
    p90_token_count: float
    def __init__(self, score: _Optional[float] = ..., expected_token_count: _Optional[float] = ..., p50_token_count: _Optional[float] = ..., p90_token_count: _Optional[float] = ...) -> None: ...

class PolicyInForce(_message.Message):
    __slots__ = ("model", "ranker_version", "policy", "reason", "patience_per_token", "calibration", "mean_expected_token_count", "dial", "objective", "costs", "outcomes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    MEAN_EXPECTED_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    DIAL_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    COSTS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    model: str
    ranker_version: str
    policy: _prediction_pb2.Policy
    reason: _prediction_pb2.FallbackReason
    patience_per_token: _duration_pb2.Duration
    calibration: _containers.RepeatedCompositeFieldContainer[CalibrationKnot]
    mean_expected_token_count: float
    dial: Dial
    objective: _prediction_pb2.Objective
    costs: ServiceCosts
    outcomes: _containers.RepeatedCompositeFieldContainer[ObjectiveOutcome]
    def __init__(self, model: _Optional[str] = ..., ranker_version: _Optional[str] = ..., policy: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., reason: _Optional[_Union[_prediction_pb2.FallbackReason, str]] = ..., patience_per_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., calibration: _Optional[_Iterable[_Union[CalibrationKnot, _Mapping]]] = ..., mean_expected_token_count: _Optional[float] = ..., dial: _Optional[_Union[Dial, _Mapping]] = ..., objective: _Optional[_Union[_prediction_pb2.Objective, str]] = ..., costs: _Optional[_Union[ServiceCosts, _Mapping]] = ..., outcomes: _Optional[_Iterable[_Union[ObjectiveOutcome, _Mapping]]] = ...) -> None: ...

class ServiceCosts(_message.Message):
    __slots__ = ("seconds_per_prompt_token", "seconds_per_output_token", "seconds_per_request", "running_request_count", "prompt_token_cost", "completion_count")
    SECONDS_PER_PROMPT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SECONDS_PER_OUTPUT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    SECONDS_PER_REQUEST_FIELD_NUMBER: _ClassVar[int]
    RUNNING_REQUEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COST_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    seconds_per_prompt_token: Estimate
    seconds_per_output_token: Estimate
    seconds_per_request: Estimate
    running_request_count: float
    prompt_token_cost: float
    completion_count: int
    def __init__(self, seconds_per_prompt_token: _Optional[_Union[Estimate, _Mapping]] = ..., seconds_per_output_token: _Optional[_Union[Estimate, _Mapping]] = ..., seconds_per_request: _Optional[_Union[Estimate, _Mapping]] = ..., running_request_count: _Optional[float] = ..., prompt_token_cost: _Optional[float] = ..., completion_count: _Optional[int] = ...) -> None: ...

class ObjectiveOutcome(_message.Message):
    __slots__ = ("objective", "patience_per_token", "mean_ratio", "p99_ratio", "first_token_ratio", "slo_share", "arrival_slo_share", "backlog_share")
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MEAN_RATIO_FIELD_NUMBER: _ClassVar[int]
    P99_RATIO_FIELD_NUMBER: _ClassVar[int]
    FIRST_TOKEN_RATIO_FIELD_NUMBER: _ClassVar[int]
    SLO_SHARE_FIELD_NUMBER: _ClassVar[int]
    ARRIVAL_SLO_SHARE_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_SHARE_FIELD_NUMBER: _ClassVar[int]
    objective: _prediction_pb2.Objective
    patience_per_token: _duration_pb2.Duration
    mean_ratio: float
    p99_ratio: float
    first_token_ratio: float
    slo_share: float
    arrival_slo_share: float
    backlog_share: float
    def __init__(self, objective: _Optional[_Union[_prediction_pb2.Objective, str]] = ..., patience_per_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., mean_ratio: _Optional[float] = ..., p99_ratio: _Optional[float] = ..., first_token_ratio: _Optional[float] = ..., slo_share: _Optional[float] = ..., arrival_slo_share: _Optional[float] = ..., backlog_share: _Optional[float] = ...) -> None: ...

class Dial(_message.Message):
    __slots__ = ("policy", "trust", "patience_per_token", "backlog_share", "max_patience_per_token", "age_exponent", "risk", "wait_cap", "wait_cap_backlog_share", "overtake_cap", "class_step", "pace_per_token", "fair_tenants", "prompt_weight", "running_first", "tokens_per_second", "mean_wait", "tuned_patience_per_token", "prompt_token_cost", "objective", "class_objectives", "mean_work_token_count", "ignores_lengths", "pace_per_prompt_token", "learned_pace_per_token", "prompt_token_cost_is_learned")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    TRUST_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_SHARE_FIELD_NUMBER: _ClassVar[int]
    MAX_PATIENCE_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AGE_EXPONENT_FIELD_NUMBER: _ClassVar[int]
    RISK_FIELD_NUMBER: _ClassVar[int]
    WAIT_CAP_FIELD_NUMBER: _ClassVar[int]
    WAIT_CAP_BACKLOG_SHARE_FIELD_NUMBER: _ClassVar[int]
    OVERTAKE_CAP_FIELD_NUMBER: _ClassVar[int]
    CLASS_STEP_FIELD_NUMBER: _ClassVar[int]
    PACE_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FAIR_TENANTS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIRST_FIELD_NUMBER: _ClassVar[int]
    TOKENS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MEAN_WAIT_FIELD_NUMBER: _ClassVar[int]
    TUNED_PATIENCE_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COST_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    CLASS_OBJECTIVES_FIELD_NUMBER: _ClassVar[int]
    MEAN_WORK_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    IGNORES_LENGTHS_FIELD_NUMBER: _ClassVar[int]
    PACE_PER_PROMPT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LEARNED_PACE_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COST_IS_LEARNED_FIELD_NUMBER: _ClassVar[int]
    policy: _prediction_pb2.Policy
    trust: float
    patience_per_token: _duration_pb2.Duration
    backlog_share: float
    max_patience_per_token: _duration_pb2.Duration
    age_exponent: float
    risk: float
    wait_cap: _duration_pb2.Duration
    wait_cap_backlog_share: float
    overtake_cap: int
    class_step: _duration_pb2.Duration
    pace_per_token: _duration_pb2.Duration
    fair_tenants: bool
    prompt_weight: float
    running_first: bool
    tokens_per_second: float
    mean_wait: _duration_pb2.Duration
    tuned_patience_per_token: _duration_pb2.Duration
    prompt_token_cost: float
    objective: _prediction_pb2.Objective
    class_objectives: _containers.RepeatedCompositeFieldContainer[ClassObjective]
    mean_work_token_count: float
    ignores_lengths: bool
    pace_per_prompt_token: _duration_pb2.Duration
    learned_pace_per_token: _duration_pb2.Duration
    prompt_token_cost_is_learned: bool
    def __init__(self, policy: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., trust: _Optional[float] = ..., patience_per_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., backlog_share: _Optional[float] = ..., max_patience_per_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., age_exponent: _Optional[float] = ..., risk: _Optional[float] = ..., wait_cap: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., wait_cap_backlog_share: _Optional[float] = ..., overtake_cap: _Optional[int] = ..., class_step: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., pace_per_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., fair_tenants: bool = ..., prompt_weight: _Optional[float] = ..., running_first: bool = ..., tokens_per_second: _Optional[float] = ..., mean_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., tuned_patience_per_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., prompt_token_cost: _Optional[float] = ..., objective: _Optional[_Union[_prediction_pb2.Objective, str]] = ..., class_objectives: _Optional[_Iterable[_Union[ClassObjective, _Mapping]]] = ..., mean_work_token_count: _Optional[float] = ..., ignores_lengths: bool = ..., pace_per_prompt_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., learned_pace_per_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., prompt_token_cost_is_learned: bool = ...) -> None: ...

class ClassObjective(_message.Message):
    __slots__ = ("priority_class", "objective", "policy", "tuned_patience_per_token")
    PRIORITY_CLASS_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    TUNED_PATIENCE_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    priority_class: int
    objective: _prediction_pb2.Objective
    policy: _prediction_pb2.Policy
    tuned_patience_per_token: _duration_pb2.Duration
    def __init__(self, priority_class: _Optional[int] = ..., objective: _Optional[_Union[_prediction_pb2.Objective, str]] = ..., policy: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., tuned_patience_per_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ModelPlacement(_message.Message):
    __slots__ = ("precision", "device_share", "cpu_products")
    class CpuProductsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_SHARE_FIELD_NUMBER: _ClassVar[int]
    CPU_PRODUCTS_FIELD_NUMBER: _ClassVar[int]
    precision: str
    device_share: float
    cpu_products: _containers.ScalarMap[str, int]
    def __init__(self, precision: _Optional[str] = ..., device_share: _Optional[float] = ..., cpu_products: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Savings(_message.Message):
    __slots__ = ("model", "state", "from_time", "to_time", "completion_count", "queued_share", "latencies", "payers", "slower_share", "slower_by_seconds", "total_saved_seconds", "total_since", "total_completion_count", "last_completion_time")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_SHARE_FIELD_NUMBER: _ClassVar[int]
    LATENCIES_FIELD_NUMBER: _ClassVar[int]
    PAYERS_FIELD_NUMBER: _ClassVar[int]
    SLOWER_SHARE_FIELD_NUMBER: _ClassVar[int]
    SLOWER_BY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SAVED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SINCE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_COMPLETION_TIME_FIELD_NUMBER: _ClassVar[int]
    model: str
    state: SavingsState
    from_time: _timestamp_pb2.Timestamp
    to_time: _timestamp_pb2.Timestamp
    completion_count: int
    queued_share: float
    latencies: _containers.RepeatedCompositeFieldContainer[SavedLatency]
    payers: _containers.RepeatedCompositeFieldContainer[Payer]
    slower_share: float
    slower_by_seconds: float
    total_saved_seconds: Estimate
    total_since: _timestamp_pb2.Timestamp
    total_completion_count: int
    last_completion_time: _timestamp_pb2.Timestamp
    def __init__(self, model: _Optional[str] = ..., state: _Optional[_Union[SavingsState, str]] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., to_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completion_count: _Optional[int] = ..., queued_share: _Optional[float] = ..., latencies: _Optional[_Iterable[_Union[SavedLatency, _Mapping]]] = ..., payers: _Optional[_Iterable[_Union[Payer, _Mapping]]] = ..., slower_share: _Optional[float] = ..., slower_by_seconds: _Optional[float] = ..., total_saved_seconds: _Optional[_Union[Estimate, _Mapping]] = ..., total_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., total_completion_count: _Optional[int] = ..., last_completion_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SavedLatency(_message.Message):
    __slots__ = ("measure", "statistic", "observed_seconds", "arrival_order_seconds", "saved_seconds")
    MEASURE_FIELD_NUMBER: _ClassVar[int]
    STATISTIC_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    ARRIVAL_ORDER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SAVED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    measure: LatencyMeasure
    statistic: LatencyStatistic
    observed_seconds: float
    arrival_order_seconds: float
    saved_seconds: Estimate
    def __init__(self, measure: _Optional[_Union[LatencyMeasure, str]] = ..., statistic: _Optional[_Union[LatencyStatistic, str]] = ..., observed_seconds: _Optional[float] = ..., arrival_order_seconds: _Optional[float] = ..., saved_seconds: _Optional[_Union[Estimate, _Mapping]] = ...) -> None: ...

class Payer(_message.Message):
    __slots__ = ("label", "completion_count", "saved_seconds")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    SAVED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    label: str
    completion_count: int
    saved_seconds: Estimate
    def __init__(self, label: _Optional[str] = ..., completion_count: _Optional[int] = ..., saved_seconds: _Optional[_Union[Estimate, _Mapping]] = ...) -> None: ...

class PilotInForce(_message.Message):
    __slots__ = ("model", "running", "control", "treatment", "ratios", "shadow", "end_time")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    TREATMENT_FIELD_NUMBER: _ClassVar[int]
    RATIOS_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    model: str
    running: bool
    control: _prediction_pb2.Policy
    treatment: _prediction_pb2.Policy
    ratios: _containers.RepeatedCompositeFieldContainer[PilotRatio]
    shadow: bool
    end_time: _timestamp_pb2.Timestamp
    def __init__(self, model: _Optional[str] = ..., running: bool = ..., control: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., treatment: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., ratios: _Optional[_Iterable[_Union[PilotRatio, _Mapping]]] = ..., shadow: bool = ..., end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class PilotRatio(_message.Message):
    __slots__ = ("statistic", "ratio")
    STATISTIC_FIELD_NUMBER: _ClassVar[int]
    RATIO_FIELD_NUMBER: _ClassVar[int]
    statistic: LatencyStatistic
    ratio: Estimate
    def __init__(self, statistic: _Optional[_Union[LatencyStatistic, str]] = ..., ratio: _Optional[_Union[Estimate, _Mapping]] = ...) -> None: ...

class ServiceStatus(_message.Message):
    __slots__ = ("rankd_version", "ranker_version", "provider", "started_at", "rank_call_count", "item_count", "unscored_item_count", "scored_prompt_count", "cached_prompt_count", "queued_prompt_count", "failed_batch_count", "draining", "failing_files", "placement", "worker_count", "completion_count", "progress_report_count", "promoted_ranker_version", "ranker_choice", "unusable_ranker_versions", "recently_placed")
    RANKD_VERSION_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    RANK_CALL_COUNT_FIELD_NUMBER: _ClassVar[int]
    ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNSCORED_ITEM_COUNT_FIELD_NUMBER: _ClassVar[int]
    SCORED_PROMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_PROMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_PROMPT_COUNT_FIELD_NUMBER: _ClassVar[int]
    FAILED_BATCH_COUNT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    FAILING_FILES_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    WORKER_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_REPORT_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMOTED_RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    RANKER_CHOICE_FIELD_NUMBER: _ClassVar[int]
    UNUSABLE_RANKER_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    RECENTLY_PLACED_FIELD_NUMBER: _ClassVar[int]
    rankd_version: str
    ranker_version: str
    provider: str
    started_at: _timestamp_pb2.Timestamp
    rank_call_count: int
    item_count: int
    unscored_item_count: int
    scored_prompt_count: int
    cached_prompt_count: int
    queued_prompt_count: int
    failed_batch_count: int
    draining: bool
    failing_files: _containers.RepeatedScalarFieldContainer[str]
    placement: ModelPlacement
    worker_count: int
    completion_count: int
    progress_report_count: int
    promoted_ranker_version: str
    ranker_choice: RankerChoice
    unusable_ranker_versions: _containers.RepeatedScalarFieldContainer[str]
    recently_placed: _completion_pb2.PlacedRequests
    def __init__(self, rankd_version: _Optional[str] = ..., ranker_version: _Optional[str] = ..., provider: _Optional[str] = ..., started_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., rank_call_count: _Optional[int] = ..., item_count: _Optional[int] = ..., unscored_item_count: _Optional[int] = ..., scored_prompt_count: _Optional[int] = ..., cached_prompt_count: _Optional[int] = ..., queued_prompt_count: _Optional[int] = ..., failed_batch_count: _Optional[int] = ..., draining: bool = ..., failing_files: _Optional[_Iterable[str]] = ..., placement: _Optional[_Union[ModelPlacement, _Mapping]] = ..., worker_count: _Optional[int] = ..., completion_count: _Optional[int] = ..., progress_report_count: _Optional[int] = ..., promoted_ranker_version: _Optional[str] = ..., ranker_choice: _Optional[_Union[RankerChoice, str]] = ..., unusable_ranker_versions: _Optional[_Iterable[str]] = ..., recently_placed: _Optional[_Union[_completion_pb2.PlacedRequests, _Mapping]] = ...) -> None: ...

class GetQualityRequest(_message.Message):
    __slots__ = ("model", "ranker_version")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    model: str
    ranker_version: str
    def __init__(self, model: _Optional[str] = ..., ranker_version: _Optional[str] = ...) -> None: ...

class GetQualityResponse(_message.Message):
    __slots__ = ("qualities", "policies", "service", "savings", "pilots")
    QUALITIES_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SAVINGS_FIELD_NUMBER: _ClassVar[int]
    PILOTS_FIELD_NUMBER: _ClassVar[int]
    qualities: _containers.RepeatedCompositeFieldContainer[Quality]
    policies: _containers.RepeatedCompositeFieldContainer[PolicyInForce]
    service: ServiceStatus
    savings: _containers.RepeatedCompositeFieldContainer[Savings]
    pilots: _containers.RepeatedCompositeFieldContainer[PilotInForce]
    def __init__(self, qualities: _Optional[_Iterable[_Union[Quality, _Mapping]]] = ..., policies: _Optional[_Iterable[_Union[PolicyInForce, _Mapping]]] = ..., service: _Optional[_Union[ServiceStatus, _Mapping]] = ..., savings: _Optional[_Iterable[_Union[Savings, _Mapping]]] = ..., pilots: _Optional[_Iterable[_Union[PilotInForce, _Mapping]]] = ...) -> None: ...

class WatchQualityRequest(_message.Message):
    __slots__ = ("model", "ranker_version", "interval")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    model: str
    ranker_version: str
    interval: _duration_pb2.Duration
    def __init__(self, model: _Optional[str] = ..., ranker_version: _Optional[str] = ..., interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchQualityResponse(_message.Message):
    __slots__ = ("qualities", "policies", "service", "savings", "pilots")
    QUALITIES_FIELD_NUMBER: _ClassVar[int]
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SAVINGS_FIELD_NUMBER: _ClassVar[int]
    PILOTS_FIELD_NUMBER: _ClassVar[int]
    qualities: _containers.RepeatedCompositeFieldContainer[Quality]
    policies: _containers.RepeatedCompositeFieldContainer[PolicyInForce]
    service: ServiceStatus
    savings: _containers.RepeatedCompositeFieldContainer[Savings]
    pilots: _containers.RepeatedCompositeFieldContainer[PilotInForce]
    def __init__(self, qualities: _Optional[_Iterable[_Union[Quality, _Mapping]]] = ..., policies: _Optional[_Iterable[_Union[PolicyInForce, _Mapping]]] = ..., service: _Optional[_Union[ServiceStatus, _Mapping]] = ..., savings: _Optional[_Iterable[_Union[Savings, _Mapping]]] = ..., pilots: _Optional[_Iterable[_Union[PilotInForce, _Mapping]]] = ...) -> None: ...

class GetFleetShareRequest(_message.Message):
    __slots__ = ("learned", "learned_everything")
    LEARNED_FIELD_NUMBER: _ClassVar[int]
    LEARNED_EVERYTHING_FIELD_NUMBER: _ClassVar[int]
    learned: LearnedCursor
    learned_everything: LearnedCursor
    def __init__(self, learned: _Optional[_Union[LearnedCursor, _Mapping]] = ..., learned_everything: _Optional[_Union[LearnedCursor, _Mapping]] = ...) -> None: ...

class LearnedCursor(_message.Message):
    __slots__ = ("instance", "sequence")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    instance: str
    sequence: int
    def __init__(self, instance: _Optional[str] = ..., sequence: _Optional[int] = ...) -> None: ...

class LearnedCompletion(_message.Message):
    __slots__ = ("model", "ranker_version", "score", "features", "output_token_count", "complete", "source", "age_seconds", "instance", "sequence", "arrival_age_seconds")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ARRIVAL_AGE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    model: str
    ranker_version: str
    score: float
    features: bytes
    output_token_count: int
    complete: bool
    source: int
    age_seconds: float
    instance: str
    sequence: int
    arrival_age_seconds: float
    def __init__(self, model: _Optional[str] = ..., ranker_version: _Optional[str] = ..., score: _Optional[float] = ..., features: _Optional[bytes] = ..., output_token_count: _Optional[int] = ..., complete: bool = ..., source: _Optional[int] = ..., age_seconds: _Optional[float] = ..., instance: _Optional[str] = ..., sequence: _Optional[int] = ..., arrival_age_seconds: _Optional[float] = ...) -> None: ...

class GetFleetShareResponse(_message.Message):
    __slots__ = ("instance", "senior_since", "shares", "learned", "learned_until", "learned_key_id", "more_learned")
    INSTANCE_FIELD_NUMBER: _ClassVar[int]
    SENIOR_SINCE_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    LEARNED_FIELD_NUMBER: _ClassVar[int]
    LEARNED_UNTIL_FIELD_NUMBER: _ClassVar[int]
    LEARNED_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    MORE_LEARNED_FIELD_NUMBER: _ClassVar[int]
    instance: str
    senior_since: _timestamp_pb2.Timestamp
    shares: _containers.RepeatedCompositeFieldContainer[FleetShare]
    learned: _containers.RepeatedCompositeFieldContainer[LearnedCompletion]
    learned_until: LearnedCursor
    learned_key_id: bytes
    more_learned: bool
    def __init__(self, instance: _Optional[str] = ..., senior_since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., shares: _Optional[_Iterable[_Union[FleetShare, _Mapping]]] = ..., learned: _Optional[_Iterable[_Union[LearnedCompletion, _Mapping]]] = ..., learned_until: _Optional[_Union[LearnedCursor, _Mapping]] = ..., learned_key_id: _Optional[bytes] = ..., more_learned: bool = ...) -> None: ...

class FleetShare(_message.Message):
    __slots__ = ("model", "ranker_version", "completion_count", "completions_per_second", "sums", "standing", "learned_in_use")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_COUNT_FIELD_NUMBER: _ClassVar[int]
    COMPLETIONS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    SUMS_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    LEARNED_IN_USE_FIELD_NUMBER: _ClassVar[int]
    model: str
    ranker_version: str
    completion_count: int
    completions_per_second: float
    sums: CohortSums
    standing: GuardStanding
    learned_in_use: bool
    def __init__(self, model: _Optional[str] = ..., ranker_version: _Optional[str] = ..., completion_count: _Optional[int] = ..., completions_per_second: _Optional[float] = ..., sums: _Optional[_Union[CohortSums, _Mapping]] = ..., standing: _Optional[_Union[GuardStanding, _Mapping]] = ..., learned_in_use: bool = ...) -> None: ...

class CohortSums(_message.Message):
    __slots__ = ("size", "known_count", "decided_pair_share", "horizon_token_count", "means", "covariance", "doubt")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    KNOWN_COUNT_FIELD_NUMBER: _ClassVar[int]
    DECIDED_PAIR_SHARE_FIELD_NUMBER: _ClassVar[int]
    HORIZON_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    MEANS_FIELD_NUMBER: _ClassVar[int]
    COVARIANCE_FIELD_NUMBER: _ClassVar[int]
    DOUBT_FIELD_NUMBER: _ClassVar[int]
    size: int
    known_count: float
    decided_pair_share: float
    horizon_token_count: int
    means: _containers.RepeatedScalarFieldContainer[float]
    covariance: _containers.RepeatedScalarFieldContainer[float]
    doubt: float
    def __init__(self, size: _Optional[int] = ..., known_count: _Optional[float] = ..., decided_pair_share: _Optional[float] = ..., horizon_token_count: _Optional[int] = ..., means: _Optional[_Iterable[float]] = ..., covariance: _Optional[_Iterable[float]] = ..., doubt: _Optional[float] = ...) -> None: ...

class PromptStanding(_message.Message):
    __slots__ = ("proven", "better", "tau_low")
    PROVEN_FIELD_NUMBER: _ClassVar[int]
    BETTER_FIELD_NUMBER: _ClassVar[int]
    TAU_LOW_FIELD_NUMBER: _ClassVar[int]
    proven: bool
    better: bool
    tau_low: float
    def __init__(self, proven: bool = ..., better: bool = ..., tau_low: _Optional[float] = ...) -> None: ...

class GuardStanding(_message.Message):
    __slots__ = ("mode", "age", "cause", "stay", "recovered_age", "relapse_count", "tau_low", "prompts")
    MODE_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    STAY_FIELD_NUMBER: _ClassVar[int]
    RECOVERED_AGE_FIELD_NUMBER: _ClassVar[int]
    RELAPSE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TAU_LOW_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    mode: GuardMode
    age: _duration_pb2.Duration
    cause: str
    stay: _duration_pb2.Duration
    recovered_age: _duration_pb2.Duration
    relapse_count: int
    tau_low: float
    prompts: PromptStanding
    def __init__(self, mode: _Optional[_Union[GuardMode, str]] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., cause: _Optional[str] = ..., stay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., recovered_age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., relapse_count: _Optional[int] = ..., tau_low: _Optional[float] = ..., prompts: _Optional[_Union[PromptStanding, _Mapping]] = ...) -> None: ...
