"""Variables that others set and gRPC or protobuf fail by: an engine's process must not end for rankd's being in it.

Both read their variables when they are loaded, once. Where a value is one that they would end the process for, or could
not be imported with, they are loaded without it, and find their own default.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _is_protobuf(value: str) -> bool:
    """The implementations that there are; ``cpp`` is of the protobuf of old."""
    return value in ("python", "upb")


def _is_poll_strategy(value: str) -> bool:
    """Whether gRPC finds one that can wait; it takes the first that it knows."""
    known = [name for name in value.split(",") if name in ("epoll1", "poll", "all", "none")]
    return bool(known) and known[0] != "none"


def _is_asyncio_engine(value: str) -> bool:
    """An engine of old is still known by name, and cannot be started; what is no name is the default."""
    return value.upper() != "CUSTOM_IO_MANAGER"


_POLL_STRATEGY = "GRPC_POLL_STRATEGY"
_FATAL: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
    ("google.protobuf.internal.api_implementation", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", _is_protobuf),
    ("grpc._cython.cygrpc", _POLL_STRATEGY, _is_poll_strategy),
    ("grpc._cython.cygrpc", "GRPC_ASYNCIO_ENGINE", _is_asyncio_engine),
)
"""What reads a variable, the variable, and whether a value of it can be lived with."""


@contextmanager
def _without_fatal_values() -> Iterator[None]:
    taken = {}
    for module, name, is_usable in _FATAL:
        if (value := os.environ.get(name)) is not None and module not in sys.modules and not is_usable(value):
            taken[name] = os.environ.pop(name)
    try:
        yield
    finally:
        os.environ.update(taken)


def _known_too_late() -> str:
    """A variable that gRPC has read already, and will end the process for as soon as it is used; empty for none."""
    is_read = "grpc._cython.cygrpc" in sys.modules
    return _POLL_STRATEGY if is_read and not _is_poll_strategy(os.environ.get(_POLL_STRATEGY, "poll")) else ""


_TOO_LATE = _known_too_late()
_ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
"""Read whenever the system's roots are wanted."""


def fatal_variable(*, system_roots: bool) -> str:
    """A variable that gRPC would end this process for, if it were used now; empty for none."""
    if system_roots and os.path.isdir(os.environ.get(_ROOTS, "")):  # noqa: PTH112 - no part of a path, a whole one
        return _ROOTS
    return _TOO_LATE


with _without_fatal_values():
    import google.protobuf.descriptor  # noqa: F401
    import grpc  # noqa: F401
