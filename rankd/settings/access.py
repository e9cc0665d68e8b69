"""Who may call, how callers and the daemon prove who they are, and how much one caller may send."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from rankd.settings.section import LONGEST, Section


class LimitsSection(Section):
    """What one caller may send."""

    max_message_bytes: int = Field(
        16 * 2**20,
        ge=4096,
        le=2**31 - 1,
        description="Largest request message, bytes; a larger one gets gRPC's own RESOURCE_EXHAUSTED, without details.",
    )
    compression: bool = Field(
        False,
        description="Accept compressed requests (gzip, deflate). A few kilobytes then become up to max_message_bytes "
        "before it is known who calls. Off: UNIMPLEMENTED.",
    )
    memory_bytes: int = Field(
        0,
        ge=0,
        le=2**50,
        description="Most memory for all calls in flight together, bytes: requests, what streams keep, answers not yet "
        "read. One caller gets half of it at most, one connection a third; beyond it RESOURCE_EXHAUSTED. 0: half of "
        "what the process may have at its start (its container, ulimit, the machine) and has not taken.",
    )
    # As many as a burst of requests brings, asked about one by one: a client's further calls would wait at the client,
    # beyond their deadlines, and open its circuit breaker.
    max_concurrent_streams: int = Field(
        512,
        ge=1,
        le=2**31 - 1,
        description="Most calls under way on one connection; a client's further ones wait for these. A call that its "
        "caller took back within a second counts for a second more.",
    )
    max_items: int = Field(16384, ge=1, le=2**24, description="Most items in one queue or one report.")
    max_prompt_bytes: int = Field(2**20, ge=1, le=2**31 - 1, description="Longest prompt, UTF-8 bytes.")
    max_request_id_bytes: int = Field(256, ge=1, le=2**16, description="Longest request id, UTF-8 bytes.")
    max_name_bytes: int = Field(256, ge=1, le=2**16, description="Longest model or ranker name, UTF-8 bytes.")
    max_token_count: int = Field(
        10_000_000, ge=1, le=2**32 - 1, description="Largest believable output length, tokens."
    )
    max_request_seconds: float = Field(
        604_800.0,
        gt=0,
        le=LONGEST,
        description="Longest believable time from a request's arrival to its end, seconds; a report with a longer wait "
        "or duration is refused.",
    )
    report_tolerance: float = Field(
        60.0,
        ge=0,
        le=LONGEST,
        description="Seconds by which the wait and the duration in a report may be longer than the time since its "
        "prediction was made: clocks differ, and a request may wait before it is scored. A report beyond is refused.",
    )
    max_stream_wait: float = Field(10.0, ge=0, le=LONGEST, description="Longest max_wait of a stream message, seconds.")
    max_streams: int = Field(256, ge=1, le=2**20, description="Most open RankStream calls.")
    max_watches: int = Field(256, ge=1, le=2**20, description="Most open WatchQuality calls.")
    max_streams_per_caller: int = Field(
        64, ge=1, le=2**20, description="Most open RankStream calls, and most open WatchQuality calls, of one caller."
    )
    max_stream_bytes: int = Field(
        64 * 2**20, ge=4096, le=2**40, description="Most memory for the queue of one stream, bytes."
    )
    calls_per_second: float = Field(
        0.0, ge=0, le=1e9, description="Calls and stream messages per second and caller; 0 is no limit."
    )
    call_burst: int = Field(
        100, ge=1, le=10**9, description="Calls and messages a caller may save up under calls_per_second."
    )
    receive_timeout: float = Field(
        30.0, ge=0.1, le=LONGEST, description="Seconds in which the request of a call must have arrived."
    )
    answer_timeout: float = Field(
        30.0,
        ge=0.1,
        le=LONGEST,
        description="Seconds in which a caller must read an answer; then its connection is closed.",
    )
    max_connections: int = Field(
        2048,
        ge=1,
        le=2**20,
        description="Most connections to the gRPC listeners together, a quarter of them for administration alone, and "
        "never so many that the process has no descriptors left (ulimit -n); further ones are closed at once.",
    )
    handshake_timeout: float = Field(
        10.0,
        ge=0.1,
        le=LONGEST,
        description="Seconds in which a connection must speak TLS and HTTP/2; then it is closed.",
    )
    keepalive_interval: float = Field(
        60.0,
        ge=1,
        le=LONGEST,
        description="Silent connections are asked this often, seconds, whether anybody is there; 20 s later they end.",
    )
    keepalive_min_interval: float = Field(5.0, ge=0.1, le=LONGEST, description="Clients may ping this often, seconds.")
    max_connection_age: float = Field(
        600.0, ge=1, le=LONGEST, description="Connections are renewed after this, seconds."
    )


class TlsSection(Section):
    """TLS by files; all empty is plaintext."""

    certificate: Path | None = Field(None, description="PEM certificate chain of the server.")
    private_key: Path | None = Field(None, description="PEM key of the server.")
    client_ca: Path | None = Field(None, description="PEM roots that client certificates must chain to (mutual TLS).")

    @model_validator(mode="after")
    def _together(self) -> TlsSection:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("tls.certificate and tls.private_key go together: set both or neither")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("tls.client_ca needs tls.certificate and tls.private_key")
        return self


class AuthSection(Section):
    """Who may call (docs/guides/security.md)."""

    file: Path | None = Field(
        None,
        description="TOML file of tokens, names of client certificates and quotas of tenants, read again within two "
        "seconds when it changes.",
    )
    anonymous: bool | Literal["auto"] = Field(
        "auto",
        description="Whether calls without a credential are answered. auto: only where there is no auth.file, and on "
        "loopback only. true: everywhere; with an auth.file not for administration.",
    )
    plaintext: bool = Field(
        False,
        description="Take tokens without TLS on listeners that are not on loopback, as where a mesh or a proxy speaks "
        "TLS for this daemon.",
    )


class SigningSection(Section):
    """Whether predictions prove that this daemon made them (docs/guides/security.md)."""

    file: Path | None = Field(
        None,
        description="TOML file of keys that replicas share, the signing one first, read again within two seconds when "
        "it changes. Without it nothing is signed.",
    )
