"""A client span around a call, where OpenTelemetry is installed; nothing, at no cost, where it is not.

OpenTelemetry is the engine's and set up by its environment: a variable there may name what is not installed. Then the
client does without spans, and says so once to the logger ``rankd_client.tracing``; a call never fails for its span.
The trace goes along as W3C Trace Context, which is what the daemon reads, whatever ``OTEL_PROPAGATORS`` says.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from rankd_client._token import Metadata, Token

_logger = logging.getLogger("rankd_client.tracing")
# Where the engine has set up no logging, this must not come out on its stderr.
_logger.addHandler(logging.NullHandler())
_OF_OPENTELEMETRY = ("opentelemetry.context", "opentelemetry.util._providers")
"""Loggers that it complains to, with a traceback, of variables that it cannot follow."""
_PROVIDER = "OTEL_PYTHON_TRACER_PROVIDER"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep OpenTelemetry's tracebacks out of the engine's stderr, for what it loads for our sake."""
    with ExitStack() as stack:
        for logger in map(logging.getLogger, _OF_OPENTELEMETRY):
            stack.callback(setattr, logger, "disabled", logger.disabled)
            logger.disabled = True
        yield


class _Tracing:
    """What spans are made with."""

    trace: Any = None
    """The module; None where there are no spans."""
    context: Any = None
    propagator: Any = None
    _lock = threading.Lock()
    _provider_is_loaded = False
    _told = False

    def load(self) -> None:
        """Take OpenTelemetry, where it is installed and can be loaded."""
        try:
            with _quiet():
                from opentelemetry import context, trace  # noqa: PLC0415 - may be missing, or fail by its environment
                from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415
                    TraceContextTextMapPropagator,
                )
        except ImportError:
            return  # not installed, mostly
        except Exception as error:  # noqa: BLE001 - whatever it is, an engine must be able to import this
            self.give_up(error)
            return
        self.trace, self.context, self.propagator = trace, context, TraceContextTextMapPropagator()

    def give_up(self, error: Exception) -> None:
        """Make no more spans, and say so: what failed once fails at every call."""
        with self._lock:
            told, self.trace, self._told = self._told, None, True
        if told:
            return
        remedy = "see what OTEL_* variables this process has"
        if os.environ.get(_PROVIDER):
            remedy = f"see {_PROVIDER}: name a provider that is installed, or unset it"
        _logger.warning(
            "rankd: calls have no spans, as OpenTelemetry cannot be used (%s); %s", type(error).__name__, remedy
        )

    def tracer(self) -> Any:
        """The tracer of the provider in force."""
        if os.environ.get(_PROVIDER) and not self._provider_is_loaded:
            with self._lock, _quiet():  # loaded by its name, where the engine set none
                self.trace.get_tracer_provider()
                self._provider_is_loaded = True
        return self.trace.get_tracer("rankd_client")


_tracing = _Tracing()
_tracing.load()


@contextmanager
def client_span(method: str, token: Token) -> Iterator[Metadata]:
    """Give the metadata that carries trace and token to the daemon. No id, no prompt and no token is recorded."""
    trace = _tracing.trace
    if trace is None:
        yield token.metadata()
        return
    span = attached = None
    metadata = token.metadata()
    try:
        span = _tracing.tracer().start_span(
            method, kind=trace.SpanKind.CLIENT, attributes={"rpc.system.name": "grpc", "rpc.method": method}
        )
        attached = _tracing.context.attach(trace.set_span_in_context(span))
        carrier: dict[str, Any] = {}
        _tracing.propagator.inject(carrier)
        metadata = (*carrier.items(), *metadata)
    except Exception as error:  # noqa: BLE001 - a call goes on without its span
        _tracing.give_up(error)
    try:
        yield metadata
    except Exception as error:
        _note(span, trace, error)
        raise
    finally:
        if attached is not None:
            _tracing.context.detach(attached)
        if span is not None:
            with suppress(Exception):
                span.end()


def _note(span: Any, trace: Any, error: Exception) -> None:
    """Mark a span as failed; with the type alone, as a server's text may repeat a prompt."""
    if span is not None:
        with suppress(Exception):
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(trace.StatusCode.ERROR)
