"""Rows of the completion log and how they become Parquet tables.

Two kinds of rows, joined on ``request``: a hash of served model, tenant and request id under a key that replicas
share, so that a prompt that one replica saw meets the completion that another one got
(docs/adr/0005-completion-log.md).
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rankd.types import RequestHasher

DIGEST_BYTES = 16
_HALF = 2**64


class SegmentKind(enum.Enum):
    """What a segment holds."""

    PROMPTS = "prompts"
    COMPLETIONS = "completions"


class PromptRow(NamedTuple):
    """A prompt as it was scored. Times are seconds by the daemon's clock."""

    request: bytes
    model: str
    prompt: str
    arrival: float
    seen_at: float


class CompletionRow(NamedTuple):
    """How a request ended."""

    request: bytes
    model: str
    ranker_version: str
    score: float
    tokens: int
    complete: bool
    finish_reason: str
    arrival: float
    ended_at: float
    shadow_scores: tuple[tuple[str, float], ...]
    shape: bytes = b""
    """What is learned from of the request beside its text, as the prediction carried it; empty where it had none."""


@dataclass(frozen=True, slots=True)
class LoggedCompletion:
    """A completion with its prompt."""

    prompt: str
    model: str
    ranker_version: str
    score: float
    tokens: int
    complete: bool
    ended_at: float
    shape: bytes = b""


def request_hasher(join_key: bytes) -> RequestHasher:
    """Whose ``digest`` rows are joined by: the same on every replica that has the key."""
    return RequestHasher(hashlib.blake2b(join_key, digest_size=32).digest())


def sampled_below(share: float) -> bytes:
    """The bound that ``request`` must be under to be in a sample of ``share``: the same requests on every replica."""
    bound = round(share * _HALF)
    return b"\xff" * (DIGEST_BYTES + 1) if bound >= _HALF else bound.to_bytes(8, "big")


def schema(kind: SegmentKind) -> Any:
    """The Arrow schema of a kind."""
    import pyarrow as pa  # noqa: PLC0415 - only where the log is on

    request, text = pa.field("request", pa.binary(DIGEST_BYTES)), pa.string()
    time = pa.timestamp("us", tz="UTC")
    if kind is SegmentKind.PROMPTS:
        return pa.schema([request, ("model", text), ("prompt", text), ("arrival", time), ("seen_at", time)])
    return pa.schema(
        [
            request,
            ("model", text),
            ("ranker_version", text),
            ("score", pa.float64()),
            ("tokens", pa.int64()),
            ("complete", pa.bool_()),
            ("finish_reason", text),
            ("arrival", time),
            ("ended_at", time),
            ("shadow_scores", pa.map_(text, pa.float64())),
            ("shape", pa.binary()),
        ]
    )


def table(kind: SegmentKind, rows: Sequence[PromptRow | CompletionRow]) -> Any:
    """Rows as an Arrow table."""
    import pyarrow as pa  # noqa: PLC0415 - only where the log is on

    fields = list(schema(kind))
    columns = list(zip(*rows, strict=True))
    arrays = []
    for field, values in zip(fields, columns, strict=True):
        if pa.types.is_timestamp(field.type):
            arrays.append(pa.array([micros(v) for v in values], pa.int64()).cast(field.type))
        elif pa.types.is_map(field.type) or field.name == "shape":
            # An answer without shadows has none: null, not an empty map.
            arrays.append(pa.array([v or None for v in values], field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=schema(kind))


def micros(seconds: float) -> int:
    """Microseconds since the epoch, within what a timestamp can hold in years 1 to 9999."""
    return round(min(max(seconds, -62_135_596_800.0), 253_402_300_799.0) * 1e6)


def size_of(row: PromptRow | CompletionRow) -> int:
    """About what a row takes in memory, bytes."""
    return 400 + (len(row.prompt) if isinstance(row, PromptRow) else 0)


def cut(prompt: str, most: int) -> str:
    """Head and tail of a prompt that is longer than ``most`` characters."""
    return prompt if len(prompt) <= most else prompt[: most - most // 2] + prompt[len(prompt) - most // 2 :]
