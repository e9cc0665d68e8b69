import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from rankd_client.v1 import prediction_pb2 as _prediction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RankItem(_message.Message):
    __slots__ = ("request_id", "prompt", "prediction", "arrival_time", "max_token_count", "generated_token_count", "prompt_token_count", "deadline", "overtaken_count", "priority_class", "tenant", "running", "cached_prompt_token_count", "shape")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    ARRIVAL_TIME_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    OVERTAKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_CLASS_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    CACHED_PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    prompt: str
    prediction: _prediction_pb2.Prediction
    arrival_time: _timestamp_pb2.Timestamp
    max_token_count: int
    generated_token_count: int
    prompt_token_count: int
    deadline: _timestamp_pb2.Timestamp
    overtaken_count: int
    priority_class: int
    tenant: str
    running: bool
    cached_prompt_token_count: int
    shape: RequestShape
    def __init__(self, request_id: _Optional[str] = ..., prompt: _Optional[str] = ..., prediction: _Optional[_Union[_prediction_pb2.Prediction, _Mapping]] = ..., arrival_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., max_token_count: _Optional[int] = ..., generated_token_count: _Optional[int] = ..., prompt_token_count: _Optional[int] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., overtaken_count: _Optional[int] = ..., priority_class: _Optional[int] = ..., tenant: _Optional[str] = ..., running: bool = ..., cached_prompt_token_count: _Optional[int] = ..., shape: _Optional[_Union[RequestShape, _Mapping]] = ...) -> None: ...

class RequestShape(_message.Message):
    __slots__ = ("message_count", "tool_count", "last_role", "tool_choice", "response_format", "reasoning_effort", "thinking_token_budget", "choice_count", "stop_count", "step")
    MESSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOOL_COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_ROLE_FIELD_NUMBER: _ClassVar[int]
    TOOL_CHOICE_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FORMAT_FIELD_NUMBER: _ClassVar[int]
    REASONING_EFFORT_FIELD_NUMBER: _ClassVar[int]
    THINKING_TOKEN_BUDGET_FIELD_NUMBER: _ClassVar[int]
    CHOICE_COUNT_FIELD_NUMBER: _ClassVar[int]
    STOP_COUNT_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    message_count: int
    tool_count: int
    last_role: str
    tool_choice: str
    response_format: str
    reasoning_effort: str
    thinking_token_budget: int
    choice_count: int
    stop_count: int
    step: str
    def __init__(self, message_count: _Optional[int] = ..., tool_count: _Optional[int] = ..., last_role: _Optional[str] = ..., tool_choice: _Optional[str] = ..., response_format: _Optional[str] = ..., reasoning_effort: _Optional[str] = ..., thinking_token_budget: _Optional[int] = ..., choice_count: _Optional[int] = ..., stop_count: _Optional[int] = ..., step: _Optional[str] = ...) -> None: ...

class RankRequest(_message.Message):
    __slots__ = ("model", "now", "items", "policy", "ranker_version", "tenants", "backlog_request_count", "objective")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    BACKLOG_REQUEST_COUNT_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    model: str
    now: _timestamp_pb2.Timestamp
    items: _containers.RepeatedCompositeFieldContainer[RankItem]
    policy: _prediction_pb2.Policy
    ranker_version: str
    tenants: _containers.RepeatedCompositeFieldContainer[TenantService]
    backlog_request_count: int
    objective: _prediction_pb2.Objective
    def __init__(self, model: _Optional[str] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., items: _Optional[_Iterable[_Union[RankItem, _Mapping]]] = ..., policy: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., ranker_version: _Optional[str] = ..., tenants: _Optional[_Iterable[_Union[TenantService, _Mapping]]] = ..., backlog_request_count: _Optional[int] = ..., objective: _Optional[_Union[_prediction_pb2.Objective, str]] = ...) -> None: ...

class TenantService(_message.Message):
    __slots__ = ("tenant", "served_token_count", "weight")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SERVED_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    tenant: str
    served_token_count: float
    weight: float
    def __init__(self, tenant: _Optional[str] = ..., served_token_count: _Optional[float] = ..., weight: _Optional[float] = ...) -> None: ...

class RankedItem(_message.Message):
    __slots__ = ("request_id", "index", "serving_key", "prediction", "reason", "needs_prompt")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SERVING_KEY_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    NEEDS_PROMPT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    index: int
    serving_key: int
    prediction: _prediction_pb2.Prediction
    reason: _prediction_pb2.FallbackReason
    needs_prompt: bool
    def __init__(self, request_id: _Optional[str] = ..., index: _Optional[int] = ..., serving_key: _Optional[int] = ..., prediction: _Optional[_Union[_prediction_pb2.Prediction, _Mapping]] = ..., reason: _Optional[_Union[_prediction_pb2.FallbackReason, str]] = ..., needs_prompt: bool = ...) -> None: ...

class RankResponse(_message.Message):
    __slots__ = ("items", "policy", "reason", "ranker_version", "unscored_count", "patience_per_token", "objective", "prompt_token_cost")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    UNSCORED_COUNT_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COST_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[RankedItem]
    policy: _prediction_pb2.Policy
    reason: _prediction_pb2.FallbackReason
    ranker_version: str
    unscored_count: int
    patience_per_token: _duration_pb2.Duration
    objective: _prediction_pb2.Objective
    prompt_token_cost: float
    def __init__(self, items: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., policy: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., reason: _Optional[_Union[_prediction_pb2.FallbackReason, str]] = ..., ranker_version: _Optional[str] = ..., unscored_count: _Optional[int] = ..., patience_per_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., objective: _Optional[_Union[_prediction_pb2.Objective, str]] = ..., prompt_token_cost: _Optional[float] = ...) -> None: ...

class RankStreamOptions(_message.Message):
    __slots__ = ("model", "policy", "ranker_version", "objective")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    model: str
    policy: _prediction_pb2.Policy
    ranker_version: str
    objective: _prediction_pb2.Objective
    def __init__(self, model: _Optional[str] = ..., policy: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., ranker_version: _Optional[str] = ..., objective: _Optional[_Union[_prediction_pb2.Objective, str]] = ...) -> None: ...

class RankStreamProgress(_message.Message):
    __slots__ = ("request_id", "generated_token_count", "running", "overtaken_count")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    GENERATED_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    OVERTAKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    generated_token_count: int
    running: bool
    overtaken_count: int
    def __init__(self, request_id: _Optional[str] = ..., generated_token_count: _Optional[int] = ..., running: bool = ..., overtaken_count: _Optional[int] = ...) -> None: ...

class RankStreamRequest(_message.Message):
    __slots__ = ("options", "now", "arrived", "progressed", "gone_request_ids", "max_wait", "sequence", "tenants")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    ARRIVED_FIELD_NUMBER: _ClassVar[int]
    PROGRESSED_FIELD_NUMBER: _ClassVar[int]
    GONE_REQUEST_IDS_FIELD_NUMBER: _ClassVar[int]
    MAX_WAIT_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    options: RankStreamOptions
    now: _timestamp_pb2.Timestamp
    arrived: _containers.RepeatedCompositeFieldContainer[RankItem]
    progressed: _containers.RepeatedCompositeFieldContainer[RankStreamProgress]
    gone_request_ids: _containers.RepeatedScalarFieldContainer[str]
    max_wait: _duration_pb2.Duration
    sequence: int
    tenants: _containers.RepeatedCompositeFieldContainer[TenantService]
    def __init__(self, options: _Optional[_Union[RankStreamOptions, _Mapping]] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., arrived: _Optional[_Iterable[_Union[RankItem, _Mapping]]] = ..., progressed: _Optional[_Iterable[_Union[RankStreamProgress, _Mapping]]] = ..., gone_request_ids: _Optional[_Iterable[str]] = ..., max_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., sequence: _Optional[int] = ..., tenants: _Optional[_Iterable[_Union[TenantService, _Mapping]]] = ...) -> None: ...

class RankStreamResponse(_message.Message):
    __slots__ = ("sequence", "request_ids", "changed_items", "policy", "reason", "ranker_version", "unscored_count", "patience_per_token", "objective", "prompt_token_cost")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_IDS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    UNSCORED_COUNT_FIELD_NUMBER: _ClassVar[int]
    PATIENCE_PER_TOKEN_FIELD_NUMBER: _ClassVar[int]
    OBJECTIVE_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COST_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    request_ids: _containers.RepeatedScalarFieldContainer[str]
    changed_items: _containers.RepeatedCompositeFieldContainer[RankedItem]
    policy: _prediction_pb2.Policy
    reason: _prediction_pb2.FallbackReason
    ranker_version: str
    unscored_count: int
    patience_per_token: _duration_pb2.Duration
    objective: _prediction_pb2.Objective
    prompt_token_cost: float
    def __init__(self, sequence: _Optional[int] = ..., request_ids: _Optional[_Iterable[str]] = ..., changed_items: _Optional[_Iterable[_Union[RankedItem, _Mapping]]] = ..., policy: _Optional[_Union[_prediction_pb2.Policy, str]] = ..., reason: _Optional[_Union[_prediction_pb2.FallbackReason, str]] = ..., ranker_version: _Optional[str] = ..., unscored_count: _Optional[int] = ..., patience_per_token: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., objective: _Optional[_Union[_prediction_pb2.Objective, str]] = ..., prompt_token_cost: _Optional[float] = ...) -> None: ...
