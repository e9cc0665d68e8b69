"""Rows of (prompt, output length) as ``../shared/data/lengths`` holds them."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One answered prompt; ``complete`` is false where the answer was cut at a cap."""

    prompt: str
    tokens: int
    complete: bool


NEAR_CAP = 0.6
"""Share of a cap from which an answer without a final punctuation mark counts as cut. Caps are in tokens of the
answering model, lengths in cl100k tokens: Vicuna's 1,024 are at most 974 here, so reaching the cap shows nothing."""


def read_rows(path: Path, most: int, *, cap: int | None = None, seed: int = 0) -> list[Row]:
    """Read up to ``most`` rows of a ``.jsonl.gz`` file, drawn at random but the same each time.

    Args:
        path: a file with ``prompt`` and ``output_tokens`` in each row.
        most: rows to draw.
        cap: tokens at which answers were cut; rows that reach it are censored, and those near it that end amid a
            sentence.
        seed: of the draw.
    """
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    rows = [r for r in rows if isinstance(r.get("prompt"), str) and r.get("output_tokens", 0) > 0]
    random.Random(seed).shuffle(rows)  # noqa: S311 - nothing secret
    return [Row(r["prompt"], int(r["output_tokens"]), _is_complete(r, cap)) for r in rows[:most]]


def _is_complete(row: dict[str, Any], cap: int | None) -> bool:
    tokens = int(row["output_tokens"])
    if cap is None:
        return True
    return tokens < cap and not (row.get("no_final_punct") and tokens >= NEAR_CAP * cap)
