"""Requests that cannot be decoded are the caller's fault, and said to be so.

grpc answers INTERNAL to bytes that are no message of the method's type. Here the deserialiser gives a ``Malformed``
instead of raising, and the interceptor answers INVALID_ARGUMENT.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc


class Malformed:
    """Stands for a request that could not be decoded."""


MALFORMED = Malformed()


def tolerant(handler: grpc.RpcMethodHandler) -> grpc.RpcMethodHandler:
    """A method handler whose deserialiser never raises."""
    decode = handler.request_deserializer
    if decode is None:
        return handler
    return handler._replace(request_deserializer=_never_raising(decode))


def _never_raising(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def deserialise(data: bytes) -> Any:
        try:
            return decode(data)
        except Exception:  # noqa: BLE001 - protobuf's own choice of exceptions differs by implementation
            return MALFORMED

    return deserialise
