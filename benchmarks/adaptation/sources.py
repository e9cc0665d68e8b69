"""Rows of lengths with what the daemon would learn from: scores and features by the real pipeline."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation import LearnedCompletion
from rankd.registry.artifact import load_artifact
from rankd.training.data.row import NEAR_CAP
from rankd.training.evaluation.offline_ranker import OfflineRanker

_LEAST_AT_CAP = 3


@dataclass(frozen=True, slots=True)
class Source:
    """One file's rows, in its order."""

    name: str
    completions: list[LearnedCompletion]

    def take(self, places: NDArray[np.int64]) -> list[LearnedCompletion]:
        """Some rows, in the order given."""
        return [self.completions[i] for i in places.tolist()]

    def __len__(self) -> int:
        """How many rows."""
        return len(self.completions)


def load_ranker(name: str, threads: int) -> OfflineRanker:
    """A bundled ranker by name, or one by directory."""
    bundled = Path(str(files("rankd") / "rankers" / name))
    return OfflineRanker(load_artifact(bundled if bundled.is_dir() else Path(name)), threads=threads)


def find(data: Path, name: str) -> Path:
    """The file of a source, by the beginning of its name."""
    found = sorted(data.glob(f"{name}*.jsonl.gz"))
    if not found:
        raise SystemExit(f"no file {name}*.jsonl.gz in {data}")
    return found[0]


def load(path: Path, ranker: OfflineRanker, most: int) -> Source:
    """Read, score and hash up to ``most`` rows ({prompt, output_tokens, optional no_final_punct})."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [row for line in lines if (row := json.loads(line))["output_tokens"] is not None][:most]
    prompts, cap = [row["prompt"] for row in rows], _cap([row["output_tokens"] for row in rows])
    completions = [
        LearnedCompletion(
            scored.score,
            # Prompt tokens as an engine would count them are not in the rows: four characters are about one.
            ranker.hasher.pack(scored.text, prompt_tokens=len(prompt) / 4),
            row["output_tokens"],
            cap is None or row["output_tokens"] < (NEAR_CAP * cap if row.get("no_final_punct") else cap),
        )
        for row, prompt, scored in zip(rows, prompts, ranker.scored(prompts), strict=True)
    ]
    return Source(path.name.removesuffix(".jsonl.gz"), completions)


def _cap(tokens: list[int]) -> int | None:
    """Where answers were cut: the greatest length, where several have it; None where nothing was.

    An answer without a final full stop, far below that, is a short answer and not a part of one: the median of those
    that FLASK marks has two tokens.
    """
    most = max(tokens, default=0)
    return most if tokens.count(most) >= _LEAST_AT_CAP else None
