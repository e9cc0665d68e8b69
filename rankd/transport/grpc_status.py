"""Domain errors as gRPC statuses with ``google.rpc`` details. The only place that knows both."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from rankd.errors import (
    ArtifactError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    PilotError,
    ProviderError,
    QuotaError,
    UnauthenticatedError,
    UnavailableError,
)
from rankd.transport.convert.request import to_duration

DOMAIN = "rankd.dev"
BUG_TEXT = "internal error in rankd; its log has the trace"


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call fails."""

    code: grpc.StatusCode
    text: str
    trailers: tuple[tuple[str, bytes], ...]


def failure_of(error: Exception) -> Failure | None:
    """The status of a domain error; None for anything else, which is a bug."""
    details: list[Message] = []
    match error:
        case InvalidRequestError():
            code, reason = grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"
            violations = [BadRequest.FieldViolation(field=v.field, description=v.description) for v in error.violations]
            details = [BadRequest(field_violations=violations)]
        case NotFoundError():
            code, reason = grpc.StatusCode.NOT_FOUND, "NOT_FOUND"
        case UnauthenticatedError():
            code, reason = grpc.StatusCode.UNAUTHENTICATED, error.reason
        case ForbiddenError():
            code, reason = grpc.StatusCode.PERMISSION_DENIED, error.reason
        case QuotaError():
            code, reason = grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"
            details = [RetryInfo(retry_delay=to_duration(error.retry_after))]
        case UnavailableError():
            code, reason = grpc.StatusCode.UNAVAILABLE, "NOT_SERVING"
            details = [RetryInfo(retry_delay=to_duration(error.retry_after))]
        case PilotError():
            code, reason = grpc.StatusCode.FAILED_PRECONDITION, "PILOT_UNDER_WAY"
        case ArtifactError() | ProviderError():
            code, reason = grpc.StatusCode.FAILED_PRECONDITION, "RANKER_UNUSABLE"
        case _:
            return None
    return _failure(code, str(error), reason, *details)


def bug() -> Failure:
    """The status of a bug: always the same text."""
    return _failure(grpc.StatusCode.INTERNAL, BUG_TEXT, "BUG")


def not_implemented() -> Failure:
    """The status of a method that the contract has and this daemon has not; without details, as grpc's own."""
    return Failure(grpc.StatusCode.UNIMPLEMENTED, "this daemon does not implement the method", ())


def _failure(code: grpc.StatusCode, text: str, reason: str, *details: Message) -> Failure:
    status = Status(code=code.value[0], message=text)
    for detail in (ErrorInfo(reason=reason, domain=DOMAIN), *details):
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return Failure(code, text, (("grpc-status-details-bin", status.SerializeToString()),))
