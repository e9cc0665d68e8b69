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
    InvalidRequestError,
    NotFoundError,
    PilotError,
    ProviderError,
    QuotaError,
    UnavailableError,
)
from rankd.transport.convert import to_duration

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
    if isinstance(error, InvalidRequestError):
        violations = [BadRequest.FieldViolation(field=v.field, description=v.description) for v in error.violations]
        return _failure(
            grpc.StatusCode.INVALID_ARGUMENT, str(error), "INVALID_FIELD", BadRequest(field_violations=violations)
        )
    if isinstance(error, NotFoundError):
        return _failure(grpc.StatusCode.NOT_FOUND, str(error), "NOT_FOUND")
    if isinstance(error, QuotaError):
        retry = RetryInfo(retry_delay=to_duration(error.retry_after))
        return _failure(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error), "RATE_LIMITED", retry)
    if isinstance(error, UnavailableError):
        retry = RetryInfo(retry_delay=to_duration(error.retry_after))
        return _failure(grpc.StatusCode.UNAVAILABLE, str(error), "NOT_SERVING", retry)
    if isinstance(error, ArtifactError | ProviderError | PilotError):
        reason = "PILOT_UNDER_WAY" if isinstance(error, PilotError) else "RANKER_UNUSABLE"
        return _failure(grpc.StatusCode.FAILED_PRECONDITION, str(error), reason)
    return None


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
