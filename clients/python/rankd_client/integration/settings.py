"""Settings of an integration: environment variables of the engine's process."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rankd_client import TlsConfig
from rankd_client._connection import shown_to
from rankd_client._token import Token
from rankd_client.integration.request_terms import TermSources
from rankd_client.integration.term_settings import (
    header_name,
    header_name_or_none,
    member_path,
    service_tiers,
    tenant_key,
)
from rankd_client.ordering import Objective

logger = logging.getLogger("rankd_client.integration")

_warned: set[tuple[str, str]] = set()

INTEGRATION_VARIABLES = (
    "RANKD_TARGET",
    "RANKD_TIMEOUT",
    "RANKD_HOLD_IDLE",
    "RANKD_HOLD_SHARE",
    "RANKD_HOLD_MOST",
    "RANKD_MODEL",
    "RANKD_OBJECTIVE",
    "RANKD_CLIENT_PRIORITY",
    "RANKD_MAX_BODY_BYTES",
    "RANKD_TLS_ROOTS",
    "RANKD_TLS_CERTIFICATE",
    "RANKD_TLS_PRIVATE_KEY",
    "RANKD_TOKEN",
    "RANKD_TOKEN_FILE",
    "RANKD_PLAINTEXT_TOKEN",
    "RANKD_WEB_PROXY",
    "RANKD_SERVICE_TIERS",
    "RANKD_CLASS_HEADER",
    "RANKD_TENANT_HEADER",
    "RANKD_TENANT_FIELD",
    "RANKD_TENANT_KEY_FILE",
    "RANKD_DEADLINE_HEADER",
    "RANKD_OBJECTIVE_HEADER",
    "RANKD_STEP_HEADER",
    "RANKD_STEP_FIELD",
)
"""What ``IntegrationSettings.from_environment`` reads. The daemon refuses variables that nobody reads."""

CLIENT_PRIORITIES = ("keep", "ignore")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class IntegrationSettings:
    """Where the daemon is and what to ask it.

    ``timeout`` in seconds bounds what a request may be held up by asking, always. None follows the queue: a score may
    take ``hold_share`` of what requests wait anyway, at least ``hold_idle`` and at most ``hold_most`` seconds.

    ``client_priority`` says what becomes of a priority that a client sent itself: ``keep`` or ``ignore``. A body over
    ``max_body_bytes`` is not read. ``token``, ``token_file``, ``plaintext_token`` and ``web_proxy`` are as for
    :class:`rankd_client.RankClient`. ``objective`` is what this engine's queue is ordered for; None is the daemon's.
    """

    target: str = "127.0.0.1:50051"
    timeout: float | None = None
    hold_idle: float = 0.05
    hold_share: float = 0.5
    hold_most: float = 2.0
    model: str = ""
    client_priority: str = "keep"
    max_body_bytes: int = 4 * 2**20
    tls: TlsConfig | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    plaintext_token: bool = False
    web_proxy: bool = False
    terms: TermSources = field(default_factory=TermSources)
    """Where requests say their class, tenant, step, deadline and objective."""
    objective: Objective | None = None

    @property
    def connection(self) -> dict[str, Any]:
        """What every client is made with."""
        return {
            "target": self.target,
            "model": self.model,
            "timeout": self.hold_most if self.timeout is None else self.timeout,
            "tls": self.tls,
            "token": self.token,
            "token_file": self.token_file,
            "plaintext_token": self.plaintext_token,
            "web_proxy": self.web_proxy,
        }

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> IntegrationSettings:
        """Read ``RANKD_TARGET``, ``RANKD_TIMEOUT``, ``RANKD_MODEL`` and the others that docs/guides/vllm.md lists.

        Raises:
            ValueError: one has a value that it cannot have; the message names it.
        """
        default = cls()
        read = cls(
            target=environment.get("RANKD_TARGET") or default.target,
            timeout=_read(environment, "RANKD_TIMEOUT", _seconds, default.timeout),
            hold_idle=_read(environment, "RANKD_HOLD_IDLE", _seconds, default.hold_idle),
            hold_share=_read(environment, "RANKD_HOLD_SHARE", _share, default.hold_share),
            hold_most=_read(environment, "RANKD_HOLD_MOST", _seconds, default.hold_most),
            model=environment.get("RANKD_MODEL", ""),
            client_priority=_read(environment, "RANKD_CLIENT_PRIORITY", _client_priority, default.client_priority),
            max_body_bytes=_read(environment, "RANKD_MAX_BODY_BYTES", _bytes, default.max_body_bytes),
            tls=_tls(environment),
            token=environment.get("RANKD_TOKEN", "").strip() or None,
            token_file=_read(environment, "RANKD_TOKEN_FILE", Path, None),
            plaintext_token=_read(environment, "RANKD_PLAINTEXT_TOKEN", _flag, default.plaintext_token),
            web_proxy=_read(environment, "RANKD_WEB_PROXY", _flag, default.web_proxy),
            terms=_terms(environment, default.terms),
            objective=_read(environment, "RANKD_OBJECTIVE", _objective, default.objective),
        )
        if read.hold_idle > read.hold_most:
            raise ValueError("RANKD_HOLD_IDLE: must be at most RANKD_HOLD_MOST; for one bound always set RANKD_TIMEOUT")
        try:
            reader = shown_to(read.target, web_proxy=read.web_proxy)
            Token(read.token, read.token_file, target=reader, tls=read.tls, plaintext=read.plaintext_token)
        except ValueError as error:
            raise ValueError(f"RANKD_TOKEN, RANKD_TOKEN_FILE, RANKD_PLAINTEXT_TOKEN: {error}") from None
        return read


def _read(environment: Mapping[str, str], name: str, parse: Callable[[str], _T], default: _T) -> _T:
    text = environment.get(name, "").strip()
    if not text:
        return default
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _terms(environment: Mapping[str, str], default: TermSources) -> TermSources:
    return TermSources(
        service_tiers=_read(environment, "RANKD_SERVICE_TIERS", service_tiers, default.service_tiers),
        class_header=_read(environment, "RANKD_CLASS_HEADER", header_name, default.class_header),
        tenant_header=_read(environment, "RANKD_TENANT_HEADER", header_name, default.tenant_header),
        tenant_field=_read(environment, "RANKD_TENANT_FIELD", member_path, default.tenant_field),
        tenant_key=_read(environment, "RANKD_TENANT_KEY_FILE", tenant_key, default.tenant_key),
        deadline_header=_read(environment, "RANKD_DEADLINE_HEADER", header_name, default.deadline_header),
        objective_header=_read(environment, "RANKD_OBJECTIVE_HEADER", header_name, default.objective_header),
        step_header=_read(environment, "RANKD_STEP_HEADER", header_name_or_none, default.step_header),
        step_field=_read(environment, "RANKD_STEP_FIELD", member_path, default.step_field),
    )


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 60:
        raise ValueError(f"must be seconds above 0 and at most 60, not {text!r}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ValueError(f"must be a share from 0 to 1, not {text!r}")
    return value


def _bytes(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"must be a number of bytes, not {text!r}")
    return int(text)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"must be true or false, not {text!r}")
    return text == "true"


def _objective(text: str) -> Objective:
    try:
        return Objective(text)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(one.value for one in Objective)}, not {text!r}") from None


def _client_priority(text: str) -> str:
    if text not in CLIENT_PRIORITIES:
        raise ValueError(f"must be one of {', '.join(CLIENT_PRIORITIES)}, not {text!r}")
    return text


def _tls(environment: Mapping[str, str]) -> TlsConfig | None:
    """TLS where one of its files is named; ``RANKD_TLS_ROOTS=system`` trusts the system's roots."""
    names = ("RANKD_TLS_ROOTS", "RANKD_TLS_CERTIFICATE", "RANKD_TLS_PRIVATE_KEY")
    if not any(environment.get(name, "").strip() for name in names):
        return None
    return TlsConfig(*(_read(environment, name, _content, None) for name in names))


def _content(path: str) -> bytes | None:
    if path == "system":
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None


def log_under(parent: str) -> None:
    """Hand log lines to an engine's logger: in a vLLM server only that one has handlers."""
    logger.parent = logging.getLogger(parent)


def warn_once(what: str, error: Exception) -> None:
    """Warn of a failure, once for each kind: what fails at every iteration must not flood the log."""
    kind = (what, type(error).__name__)
    if kind not in _warned:
        _warned.add(kind)
        logger.warning("rankd: %s (%s)", *kind)
