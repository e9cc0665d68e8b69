"""What a manifest says of the rows that a ranker was made of, for ``rankd.registry.trained_rows`` to read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from rankd.errors import ConfigError
from rankd.registry.artifact_files import TRAINED_ROWS
from rankd.registry.trained_rows import KEY_BYTES, MOST_LISTED, MOST_SOURCES, PromptList, digests_of
from rankd.training.data.row import Row

_EPOCH = 946_684_800.0
"""2000-01-01: earlier times are of a clock that counts from elsewhere."""


def write_trained_rows(out: Path, rows: Sequence[Row], seed: str) -> dict[str, Any]:
    """Write the list of rows that a ranker was made of, those to validate by as well.

    Args:
        out: the ranker's directory.
        rows: all of them.
        seed: what the key is derived from: a hash of the rows, so that the same training writes the same files.

    Returns:
        The manifest's field ``trained_rows``.

    Raises:
        ConfigError: the file cannot be written.
    """
    key = hashlib.blake2b(seed.encode(), digest_size=KEY_BYTES, person=b"trained rows").digest()
    digests = np.unique(digests_of((row.prompt for row in rows), key))
    listed = PromptList(key, digests[:MOST_LISTED])
    try:
        (out / TRAINED_ROWS).write_bytes(listed.packed())
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written: {error.strerror}; free space or name another") from None
    return {
        "key": key.hex(),
        "prompts": len(listed.digests),
        "complete": len(digests) <= MOST_LISTED,
        "sources": _sources(rows),
    }


def _sources(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows by where they came from and who answered, the largest first; what is beyond ``MOST_SOURCES`` as one."""
    times: dict[tuple[str, str], list[float | None]] = {}
    for row in rows:
        times.setdefault(row.group, []).append(row.at)
    ordered = sorted(times.items(), key=lambda item: (-len(item[1]), item[0]))
    if len(ordered) > MOST_SOURCES:
        rest = [at for _, some in ordered[MOST_SOURCES - 1 :] for at in some]
        ordered = [*ordered[: MOST_SOURCES - 1], (("others", ""), rest)]
    return [
        {"name": source[:200], "model": model[:256], "rows": len(some), "by": "prompt"} | _range(some)
        for (source, model), some in ordered
    ]


def _range(times: Sequence[float | None]) -> dict[str, datetime]:
    """The first and last time, where all are known."""
    known = [at for at in times if at is not None and at >= _EPOCH]
    if len(known) < len(times):
        return {}
    try:
        return {"ended_from": _time(min(known)), "ended_to": _time(max(known))}
    except (OverflowError, ValueError, OSError):  # beyond the year 9999
        return {}


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def with_traffic(spec: Mapping[str, Any], model: str, rows: int, until: float) -> dict[str, Any]:
    """A field ``trained_rows`` with traffic that a daemon learned from, of which no prompt is known: it counts by time.

    Args:
        spec: of the ranker that it adds to.
        model: the served model.
        rows: completions learned from, at least 1.
        until: when the last may have ended, seconds since the epoch.
    """
    source = {"name": "traffic", "model": model, "rows": max(1, rows), "by": "time", "ended_to": _time(until)}
    sources = [s for s in spec["sources"] if (s["by"], s["model"]) != ("time", model)]  # an earlier one ended earlier
    return {**spec, "sources": [source, *sources][:MOST_SOURCES]}
