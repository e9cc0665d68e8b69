"""Rows of (prompt, output length) as ``../shared/data/lengths`` holds them."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Row:
    """One answered prompt; ``complete`` is false where the answer was cut at a cap."""

    prompt: str
    tokens: int
    complete: bool


def read_rows(path: Path, most: int, *, cap: int | None = None, seed: int = 0) -> list[Row]:
    """Read up to ``most`` rows of a ``.jsonl.gz`` file, drawn at random but the same each time.

    Args:
        path: a file with ``prompt`` and ``output_tokens`` in each row.
        most: rows to draw.
        cap: tokens at which answers were cut; rows that reach it are censored.
        seed: of the draw.
    """
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = [r for r in rows if isinstance(r.get("prompt"), str) and r.get("output_tokens", 0) > 0]
    random.Random(seed).shuffle(rows)  # noqa: S311 - nothing secret
    return [
        Row(r["prompt"], int(r["output_tokens"]), cap is None or int(r["output_tokens"]) < cap) for r in rows[:most]
    ]
