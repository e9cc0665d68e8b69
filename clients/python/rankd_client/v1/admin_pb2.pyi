import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from rankd_client.v1 import quality_pb2 as _quality_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Ranker(_message.Message):
    __slots__ = ("ranker_version", "in_service", "previous", "provider", "path", "measured_tau")
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    IN_SERVICE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    PROVIDER_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    MEASURED_TAU_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    in_service: bool
    previous: bool
    provider: str
    path: str
    measured_tau: float
    def __init__(self, ranker_version: _Optional[str] = ..., in_service: bool = ..., previous: bool = ..., provider: _Optional[str] = ..., path: _Optional[str] = ..., measured_tau: _Optional[float] = ...) -> None: ...

class ListRankersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListRankersResponse(_message.Message):
    __slots__ = ("rankers",)
    RANKERS_FIELD_NUMBER: _ClassVar[int]
    rankers: _containers.RepeatedCompositeFieldContainer[Ranker]
    def __init__(self, rankers: _Optional[_Iterable[_Union[Ranker, _Mapping]]] = ...) -> None: ...

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

class PromoteRankerRequest(_message.Message):
    __slots__ = ("ranker_version",)
    RANKER_VERSION_FIELD_NUMBER: _ClassVar[int]
    ranker_version: str
    def __init__(self, ranker_version: _Optional[str] = ...) -> None: ...

class PromoteRankerResponse(_message.Message):
    __slots__ = ("ranker",)
    RANKER_FIELD_NUMBER: _ClassVar[int]
    ranker: Ranker
    def __init__(self, ranker: _Optional[_Union[Ranker, _Mapping]] = ...) -> None: ...

class RollbackRankerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

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
