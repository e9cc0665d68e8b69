"""Settings of the proxy: where it listens, whom it serves, and its limits. Asking has the settings of all engines."""

from __future__ import annotations

from enum import Enum
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from rankd.errors import ConfigError
from rankd.proxy.paths import endpoint_at_end
from rankd.settings import split_address

_DAY = 86_400.0
_FLAGS = frozenset({"upstream", "upstream_ca", "listen", "metrics", "direction", "engine_places"})


class Direction(Enum):
    """Whom an engine serves first."""

    AUTO = "auto"
    """Ask the engine."""
    LOWER_FIRST = "lower-first"
    HIGHER_FIRST = "higher-first"


class ProxySettings(BaseSettings):
    """What ``rankd proxy`` takes, by flags before ``RANKD_PROXY_*``."""

    model_config = SettingsConfigDict(
        env_prefix="RANKD_PROXY_", extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    upstream: str = Field(
        "",
        description="URL of the engine, such as http://127.0.0.1:8000; a path in it goes before those of requests, a "
        "/v1 at its end only before those that do not begin with it.",
    )
    upstream_ca: str = Field(
        "", description="PEM file of the CAs that the engine's certificate is trusted by; empty trusts the system's."
    )
    upstream_certificate: str = Field(
        "", description="PEM file of the certificate that the proxy shows to the engine, for mutual TLS."
    )
    upstream_private_key: str = Field(
        "", description="PEM file of its key, unencrypted; empty where it is in the certificate's file."
    )
    listen: str = Field("127.0.0.1:8080", description="HOST:PORT that clients connect to.")
    metrics: str = Field("127.0.0.1:9465", description="HOST:PORT of /metrics, /livez and /readyz; empty is off.")
    direction: Direction = Field(
        Direction.AUTO, description="Which priority the engine serves first; auto asks the engine."
    )
    connect_timeout: float = Field(5.0, gt=0, le=_DAY, description="Seconds for a connection to the engine.")
    answer_timeout: float = Field(
        0.0,
        ge=0,
        le=_DAY,
        description="Seconds for which the engine may send nothing, before or within an answer; 0 is without end.",
    )
    upstream_read_timeout: float = Field(
        60.0,
        gt=0,
        le=_DAY,
        description="Seconds for the engine to take some 64 KiB of a request that wait for it; beyond it 504.",
    )
    upstream_idle: float = Field(
        2.0,
        ge=0,
        le=_DAY,
        description="Seconds that an unused connection to the engine is kept; less than the engine keeps it, which for "
        "most is 5, or a request may meet a connection that is being closed. 0 is one connection for each request.",
    )
    upstream_rest: float = Field(
        0.1,
        ge=0,
        le=_DAY,
        description="Seconds that a connection to the engine rests after an answer, before it is used again: what an "
        "engine sends too much comes then, and is nobody's answer.",
    )
    client_idle: float = Field(
        75.0, gt=0, le=_DAY, description="Seconds that an unused connection of a client is kept."
    )
    drain_delay: float = Field(
        0.0, ge=0, le=_DAY, description="Seconds on SIGTERM between failing /readyz and accepting no more connections."
    )
    drain_timeout: float = Field(600.0, gt=0, le=_DAY, description="Seconds on SIGTERM for answers that are under way.")
    max_connections: int = Field(
        10_000,
        ge=1,
        le=10**6,
        description="Requests at a time, at most half as many as there are file descriptors for; beyond it they get "
        "503. Connections without a request give way, the oldest first.",
    )
    memory_bytes: int = Field(
        0,
        ge=0,
        le=2**50,
        description="Most memory for all requests under way together, bytes: bodies that are read ahead, and answers "
        "that are not taken. Of what is much one address gets half at most, one credential a third. Bodies beyond it "
        "pass unread, in arrival order; where even that does not fit, 503. 0: half of what the process may have at its "
        "start (its container, ulimit, the machine) and has not taken.",
    )
    max_header_bytes: int = Field(
        65_536,
        ge=1024,
        le=2**24,
        description="Longest header line of an engine's answer, and longest head of a client's request; beyond it 431.",
    )
    client_head_timeout: float = Field(
        20.0,
        gt=0,
        le=_DAY,
        description="Seconds for a request's head, from the connection or from its first byte; beyond it 408.",
    )
    client_body_timeout: float = Field(
        30.0,
        gt=0,
        le=_DAY,
        description="Seconds that a client may keep the proxy waiting for its request's body, all in all, and one more "
        "for each RANKD_PROXY_CLIENT_BODY_RATE bytes of it; beyond it 408.",
    )
    client_body_rate: float = Field(
        1000.0, ge=1, le=10**9, description="Bytes a second that a client's body must come with in the long run."
    )
    client_read_timeout: float = Field(
        60.0,
        gt=0,
        le=_DAY,
        description="Seconds for a client to take some 64 KiB of an answer that wait for it; beyond it, it is cut off. "
        "An answer may last as long as it likes.",
    )
    max_models: int = Field(
        16,
        ge=0,
        le=4096,
        description="Served models, as requests' bodies name them, that are ranked, reported and counted by their own "
        "names; others share a nameless one, and so do all where RANKD_MODEL names one for all. 0 is none.",
    )
    engine_places: int = Field(
        0,
        ge=0,
        le=10**6,
        description="Most requests with a priority that the engine gets at a time; others wait in the proxy, in order, "
        "and are moved when a score comes late. 0 is off: the engine gets all at once. As many as the engine runs at a "
        "time, such as vLLM's --max-num-seqs, divided by the number of proxies: fewer make its batches smaller.",
    )
    progress_every: float = Field(
        10.0, ge=0, le=_DAY, description="Seconds between two reports of requests under way; 0 is off."
    )

    @field_validator("upstream")
    @classmethod
    def _url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be the engine's URL, such as http://127.0.0.1:8000")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must be scheme, host, port and path only: clients send their own keys")
        if parts.port == 0:
            raise ValueError("must not have port 0")
        if not value.isascii():
            raise ValueError("must be ASCII: percent-encode its path")
        if endpoint := endpoint_at_end(parts.path):
            raise ValueError(f"must not name an endpoint: leave {endpoint!r} out")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _tls(self) -> Self:
        if self.upstream_private_key and not self.upstream_certificate:
            raise ValueError("RANKD_PROXY_UPSTREAM_PRIVATE_KEY needs RANKD_PROXY_UPSTREAM_CERTIFICATE")
        if (self.upstream_ca or self.upstream_certificate) and not self.upstream.startswith("https:"):
            raise ValueError("RANKD_PROXY_UPSTREAM_CA and _CERTIFICATE are of no use without https:// in --upstream")
        return self

    @field_validator("listen", "metrics")
    @classmethod
    def _address(cls, value: str) -> str:
        if value:
            split_address(value)
        return value

    @field_validator("listen")
    @classmethod
    def _needed(cls, value: str) -> str:
        if not value:
            raise ValueError("must not be empty: give HOST:PORT, such as 127.0.0.1:8080")
        return value


def load_proxy_settings(**flags: Any) -> ProxySettings:
    """Read the settings; ``flags`` that are None do not count.

    Raises:
        ConfigError: naming every wrong setting and what is wrong with it.
    """
    try:
        return ProxySettings(**{k: v for k, v in flags.items() if v is not None})
    except ValidationError as error:
        raise ConfigError("wrong settings:\n  " + "\n  ".join(_explain(e) for e in error.errors())) from None


def _explain(error: Any) -> str:
    if not error["loc"]:
        return str(error["msg"]).removeprefix("Value error, ")
    name = str(error["loc"][0])
    flag = f"--{name.replace('_', '-')}" if name in _FLAGS else ""
    names = " or ".join(filter(None, (flag, "RANKD_PROXY_" + name.upper())))
    return f"{names}: {error['msg'].removeprefix('Value error, ')}"


def proxy_settings_reference() -> list[tuple[str, str, str]]:
    """Variable, default and description of every setting."""
    return [
        (
            "RANKD_PROXY_" + name.upper(),
            str(field.default.value if isinstance(field.default, Enum) else field.default),
            field.description or "",
        )
        for name, field in ProxySettings.model_fields.items()
    ]
