"""OpenTelemetry's variables. Operators and platforms set them for whole clusters; rankd starts whatever they say.

OpenTelemetry ends a process for a value that it cannot read, and for a name that is not installed. Here every variable
that it would read is looked at first. What cannot be used is taken out of this process's environment, so that the
default holds, and told by its name with the remedy; never by its value, which may be a secret. Where a variable says
how or where to send, and cannot be followed, that signal is not sent at all: a guess could go to somebody else.
"""

from __future__ import annotations

import importlib.util
import math
import os
import re
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import unquote, urlsplit

SIGNALS = ("TRACES", "METRICS")
HTTP_PACKAGE = "opentelemetry.exporter.otlp.proto.http"
Check = Callable[[str], str]
"""From a value to what it must be instead; empty where it can be used."""
_HEADER = re.compile(r"[0-9a-z_.-]+")
_LONGEST_INTEGER = 18
_STATUS_CODES = {
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
}


@dataclass(slots=True)
class UsableTelemetry:
    """What is left of the variables."""

    unusable: dict[str, str] = field(default_factory=dict)
    """What was wrong, by variable."""
    off: set[str] = field(default_factory=set)
    """Signals that cannot be sent."""


def _whole(least: int, also: Iterable[str] = ()) -> Check:
    def check(value: str) -> str:
        text = value.lower()
        usable = text in also or (
            text.isascii() and text.isdigit() and len(text) <= _LONGEST_INTEGER and int(text) >= least
        )
        return "" if usable else f"must be a whole number from {least} on"

    return check


def _number(unit: str) -> Check:
    def check(value: str) -> str:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        return "" if 0 < number < math.inf else f"must be a number of {unit} above 0, without a unit"

    return check


def _share(value: str) -> str:
    try:
        return "" if 0 <= float(value) <= 1 else "must be from 0 to 1"
    except ValueError:
        return "must be a number from 0 to 1"


def _one_of(*names: str, exactly: bool = False) -> Check:
    return lambda value: "" if (value if exactly else value.lower()) in names else f"must be one of {', '.join(names)}"


def _installed(group: str) -> Check:
    def check(value: str) -> str:
        return "" if entry_points(group=group, name=value) else "names what is not installed here: install it, or unset"

    return check


def _status_codes(value: str) -> str:
    given = {name.strip().upper() for name in value.split(",") if name.strip()}
    return "" if given <= _STATUS_CODES else "must be names of gRPC statuses, separated by commas"


def _protocol(value: str) -> str:
    if value == "grpc":
        return ""
    if value != "http/protobuf":
        return "must be grpc or http/protobuf"
    try:
        found = importlib.util.find_spec(HTTP_PACKAGE)
    except ModuleNotFoundError:
        found = None
    return "" if found else "http/protobuf needs a package: pip install 'rankd[otlp-http]', or set grpc (port 4317)"


def _endpoint(value: str) -> str:
    problem = "must be a URL such as http://collector:4317"
    try:
        url = urlsplit(value)
        usable = url.scheme not in ("http", "https") or (bool(url.hostname) and (url.port is None or url.port > 0))
    except ValueError:
        return problem
    if "@" in url.netloc:
        return "must be a URL without a user and a password: OTEL_EXPORTER_OTLP_HEADERS is for credentials"
    return "" if usable and value.isascii() and value.isprintable() and " " not in value else problem


def _headers(value: str) -> str:
    for pair in value.split(","):
        name, equals, text = pair.strip().partition("=")
        name, text = unquote(name).strip().lower(), unquote(text).strip()
        usable = equals and _HEADER.fullmatch(name) and not name.endswith("-bin") and text.isascii()
        if pair.strip() and not (usable and (text.isprintable() or not text)):
            return "must be name=value pairs of ASCII, separated by commas"
    return ""


def _pem(value: str) -> str:
    try:
        content = Path(value).read_bytes()
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or 'no path'}"
    return "" if b"-----BEGIN " in content else "must be the path of a PEM file"


_SAMPLERS = _one_of(*(p + s for s in ("always_on", "always_off", "traceidratio") for p in ("", "parentbased_")))
_LIMIT, _COUNT = _whole(0, also=("",)), _whole(1)
_TUNING: dict[str, Check] = {
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _LIMIT,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _LIMIT,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_LINK_COUNT_LIMIT": _LIMIT,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_BSP_SCHEDULE_DELAY": _COUNT,
    "OTEL_BSP_EXPORT_TIMEOUT": _COUNT,
    "OTEL_BSP_MAX_QUEUE_SIZE": _COUNT,
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": _COUNT,
    "OTEL_METRIC_EXPORT_INTERVAL": _number("milliseconds"),
    "OTEL_METRIC_EXPORT_TIMEOUT": _number("milliseconds"),
    "OTEL_METRICS_EXEMPLAR_FILTER": _one_of("always_on", "always_off", "trace_based", exactly=True),
    "OTEL_TRACES_SAMPLER": _SAMPLERS,
    "OTEL_TRACES_SAMPLER_ARG": _share,
    "OTEL_PYTHON_METER_PROVIDER": _installed("opentelemetry_meter_provider"),
    "OTEL_PYTHON_TRACER_PROVIDER": _installed("opentelemetry_tracer_provider"),
    "OTEL_PYTHON_CONTEXT": _installed("opentelemetry_context"),
    "OTEL_PYTHON_EXPORTER_OTLP_GRPC_RETRYABLE_ERROR_CODES": _status_codes,
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": _one_of("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": _one_of(
        "explicit_bucket_histogram", "base2_exponential_bucket_histogram"
    ),
}
"""Where they cannot be used their default is. The sampler's argument is of the samplers that take a share."""
_OTLP_TUNING: dict[str, Check] = {
    "TIMEOUT": _number("seconds"),
    "COMPRESSION": _one_of("gzip", "none"),
}
_OTLP_DELIVERY: dict[str, Check] = {
    "PROTOCOL": _protocol,
    "ENDPOINT": _endpoint,
    "HEADERS": _headers,
    "CERTIFICATE": _pem,
    "CLIENT_KEY": _pem,
    "CLIENT_CERTIFICATE": _pem,
}
_LISTS: dict[str, tuple[Check, str]] = {
    "OTEL_PROPAGATORS": (
        _one_of("tracecontext", "baggage", "none", exactly=True),
        "rankd reads and sends tracecontext (W3C) only: add it where traces begin",
    ),
    "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": (
        lambda value: "" if value == "*" else _installed("opentelemetry_resource_detector")(value),
        "names what is not installed here: install it, or unset",
    ),
    "OTEL_RESOURCE_ATTRIBUTES": (
        lambda value: "" if value.partition("=")[1] and value.partition("=")[0].strip() else "no pair",
        "must be name=value pairs, separated by commas",
    ),
}
"""Checked item by item; those that can be used stay."""


def mend_environment(environment: MutableMapping[str, str] = os.environ) -> UsableTelemetry:
    """Take out of the environment what OpenTelemetry could not use, or would end the process for."""
    found = UsableTelemetry()
    for name in [n for n, value in environment.items() if n.startswith("OTEL_") and not value.strip()]:
        if _TUNING.get(name) is not _LIMIT:  # of a limit, that there is none
            del environment[name]  # by the specification as if it were not set
    _mend_lists(environment, found)
    if "traceidratio" not in environment.get("OTEL_TRACES_SAMPLER", "").lower():
        environment.pop("OTEL_TRACES_SAMPLER_ARG", None)
    for name, check in _TUNING.items():
        _mend(environment, found, name, check)
    _mend_batches(environment, found)
    _mend_otlp(environment, found)
    for signal in SIGNALS:
        known = ("otlp", "none", "prometheus") if signal == "METRICS" else ("otlp", "none")
        name = f"OTEL_{signal}_EXPORTER"
        given = {item.strip().lower() for item in environment.get(name, "").split(",") if item.strip()}
        if given - set(known):
            found.unusable[name] = f"rankd has the exporters {', '.join(known)} only"
    return found


def _mend(environment: MutableMapping[str, str], found: UsableTelemetry, name: str, check: Check) -> bool:
    """Check a variable, and take it out where it cannot be used; whether it could."""
    value = environment.get(name)
    problem = "" if value is None else check(value.strip())
    if problem:
        found.unusable[name] = problem
        del environment[name]
    return not problem


def _mend_lists(environment: MutableMapping[str, str], found: UsableTelemetry) -> None:
    for name, (check, problem) in _LISTS.items():
        if name not in environment:
            continue
        items = [item.strip() for item in environment[name].split(",") if item.strip()]
        usable = [item for item in items if not check(item)]
        if len(usable) < len(items):
            found.unusable[name] = problem
            environment[name] = ",".join(usable)
            if not usable:
                del environment[name]


def _mend_batches(environment: MutableMapping[str, str], found: UsableTelemetry) -> None:
    """A batch of spans can be no longer than their queue."""
    queue = int(environment.get("OTEL_BSP_MAX_QUEUE_SIZE", "2048"))
    name = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
    if int(environment.get(name, "512")) > queue:
        if name in environment:
            found.unusable[name] = f"is above OTEL_BSP_MAX_QUEUE_SIZE, which is {queue}: raise that one too"
        environment[name] = str(queue)


def _mend_otlp(environment: MutableMapping[str, str], found: UsableTelemetry) -> None:
    for part, signals in (("", SIGNALS), *((f"{signal}_", (signal,)) for signal in SIGNALS)):
        for what, check in _OTLP_TUNING.items():
            _mend(environment, found, f"OTEL_EXPORTER_OTLP_{part}{what}", check)
        name = f"OTEL_EXPORTER_OTLP_{part}COMPRESSION"
        if environment.get(name, "").strip().lower() == "none":
            del environment[name]  # the specification's name for it, which the exporter does not know
        for what, check in _OTLP_DELIVERY.items():
            if not _mend(environment, found, f"OTEL_EXPORTER_OTLP_{part}{what}", check):
                found.off.update(signals)
        provider = f"OTEL_PYTHON_EXPORTER_OTLP_GRPC_{part}CREDENTIAL_PROVIDER"
        if not _mend(environment, found, provider, _installed("opentelemetry_otlp_credential_provider")):
            found.off.update(signals)
