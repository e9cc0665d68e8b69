import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from rankd_client.v1 import prediction_pb2 as _prediction_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FinishReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FINISH_REASON_UNSPECIFIED: _ClassVar[FinishReason]
    FINISH_REASON_STOP: _ClassVar[FinishReason]
    FINISH_REASON_LENGTH: _ClassVar[FinishReason]
    FINISH_REASON_ABORTED: _ClassVar[FinishReason]
    FINISH_REASON_CANCELLED: _ClassVar[FinishReason]
    FINISH_REASON_IN_PROGRESS: _ClassVar[FinishReason]

class RejectionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REJECTION_REASON_UNSPECIFIED: _ClassVar[RejectionReason]
    REJECTION_REASON_INVALID_REQUEST_ID: _ClassVar[RejectionReason]
    REJECTION_REASON_INVALID_PREDICTION: _ClassVar[RejectionReason]
    REJECTION_REASON_UNKNOWN_RANKER_VERSION: _ClassVar[RejectionReason]
    REJECTION_REASON_IMPOSSIBLE_COUNT: _ClassVar[RejectionReason]
    REJECTION_REASON_UNKNOWN_FINISH_REASON: _ClassVar[RejectionReason]
    REJECTION_REASON_OUT_OF_ORDER: _ClassVar[RejectionReason]
    REJECTION_REASON_INVALID_TIME: _ClassVar[RejectionReason]
    REJECTION_REASON_INVALID_SIGNATURE: _ClassVar[RejectionReason]
    REJECTION_REASON_WRONG_TENANT: _ClassVar[RejectionReason]
FINISH_REASON_UNSPECIFIED: FinishReason
FINISH_REASON_STOP: FinishReason
FINISH_REASON_LENGTH: FinishReason
FINISH_REASON_ABORTED: FinishReason
FINISH_REASON_CANCELLED: FinishReason
FINISH_REASON_IN_PROGRESS: FinishReason
REJECTION_REASON_UNSPECIFIED: RejectionReason
REJECTION_REASON_INVALID_REQUEST_ID: RejectionReason
REJECTION_REASON_INVALID_PREDICTION: RejectionReason
REJECTION_REASON_UNKNOWN_RANKER_VERSION: RejectionReason
REJECTION_REASON_IMPOSSIBLE_COUNT: RejectionReason
REJECTION_REASON_UNKNOWN_FINISH_REASON: RejectionReason
REJECTION_REASON_OUT_OF_ORDER: RejectionReason
REJECTION_REASON_INVALID_TIME: RejectionReason
REJECTION_REASON_INVALID_SIGNATURE: RejectionReason
REJECTION_REASON_WRONG_TENANT: RejectionReason

class Completion(_message.Message):
    __slots__ = ("request_id", "prediction", "output_token_count", "finish_reason", "length_is_complete", "arrival_time", "queue_duration", "total_duration", "prompt_token_count", "cached_prompt_token_count")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    LENGTH_IS_COMPLETE_FIELD_NUMBER: _ClassVar[int]
    ARRIVAL_TIME_FIELD_NUMBER: _ClassVar[int]
    QUEUE_DURATION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DURATION_FIELD_NUMBER: _ClassVar[int]
    PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    CACHED_PROMPT_TOKEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    prediction: _prediction_pb2.Prediction
    output_token_count: int
    finish_reason: FinishReason
    length_is_complete: bool
    arrival_time: _timestamp_pb2.Timestamp
    queue_duration: _duration_pb2.Duration
    total_duration: _duration_pb2.Duration
    prompt_token_count: int
    cached_prompt_token_count: int
    def __init__(self, request_id: _Optional[str] = ..., prediction: _Optional[_Union[_prediction_pb2.Prediction, _Mapping]] = ..., output_token_count: _Optional[int] = ..., finish_reason: _Optional[_Union[FinishReason, str]] = ..., length_is_complete: bool = ..., arrival_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., queue_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., total_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., prompt_token_count: _Optional[int] = ..., cached_prompt_token_count: _Optional[int] = ...) -> None: ...

class ReportCompletionsRequest(_message.Message):
    __slots__ = ("model", "now", "completions", "placed")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    COMPLETIONS_FIELD_NUMBER: _ClassVar[int]
    PLACED_FIELD_NUMBER: _ClassVar[int]
    model: str
    now: _timestamp_pb2.Timestamp
    completions: _containers.RepeatedCompositeFieldContainer[Completion]
    placed: PlacedRequests
    def __init__(self, model: _Optional[str] = ..., now: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., completions: _Optional[_Iterable[_Union[Completion, _Mapping]]] = ..., placed: _Optional[_Union[PlacedRequests, _Mapping]] = ...) -> None: ...

class PlacedRequests(_message.Message):
    __slots__ = ("ranked_count", "too_late_count", "unreachable_count", "other_count")
    RANKED_COUNT_FIELD_NUMBER: _ClassVar[int]
    TOO_LATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    UNREACHABLE_COUNT_FIELD_NUMBER: _ClassVar[int]
    OTHER_COUNT_FIELD_NUMBER: _ClassVar[int]
    ranked_count: int
    too_late_count: int
    unreachable_count: int
    other_count: int
    def __init__(self, ranked_count: _Optional[int] = ..., too_late_count: _Optional[int] = ..., unreachable_count: _Optional[int] = ..., other_count: _Optional[int] = ...) -> None: ...

class RejectedCompletion(_message.Message):
    __slots__ = ("index", "reason", "description")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    index: int
    reason: RejectionReason
    description: str
    def __init__(self, index: _Optional[int] = ..., reason: _Optional[_Union[RejectionReason, str]] = ..., description: _Optional[str] = ...) -> None: ...

class ReportCompletionsResponse(_message.Message):
    __slots__ = ("accepted_count", "duplicate_count", "rejected")
    ACCEPTED_COUNT_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_COUNT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    accepted_count: int
    duplicate_count: int
    rejected: _containers.RepeatedCompositeFieldContainer[RejectedCompletion]
    def __init__(self, accepted_count: _Optional[int] = ..., duplicate_count: _Optional[int] = ..., rejected: _Optional[_Iterable[_Union[RejectedCompletion, _Mapping]]] = ...) -> None: ...
