"""What of a long prompt is worth reading, by measurement: ``python -m benchmarks.rankers.truncation``.

A prompt counts as long when it has more tokens than the smallest limit under test: on others every choice is the same.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics.kendall import tau_b
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import default_ranker_path, ranker_path
from rankd.scoring.tokeniser import Truncation
from rankd.training.data.dataset import Row, read_dataset
from rankd.training.evaluation.offline_ranker import OfflineRanker

CHOICES = [(128, 128, 0), (128, 96, 32), (128, 64, 64), (128, 32, 96), (256, 256, 0), (256, 128, 128)]
"""Tokens in all, of the head, of the tail."""

FILES = [
    ("arena_hard_1k__gpt-4", True),
    ("arena_hard_1k__vicuna-7b-v1.5", True),
    ("mmlu_pro_cot__Meta-Llama-3_1-8B-Instruct", True),
    ("hh_rlhf_harmless_test__anthropic-52b-rlhf", True),
    ("gpteacher_codegen__gpt-4", True),
    ("gpteacher_roleplay__gpt-4", True),
    ("taubench_airline__gpt-4o", True),
    ("instructwild_v2__Llama-3.2-3B-Instruct", False),
    ("flask__gpt4", False),
    ("so_chatgpt__gpt-3.5-turbo", False),
]
"""File, and whether the bundled rankers were trained on prompts of it."""

_FEWEST = 40
"""Long prompts below which a file's tau is noise."""


def draw(path: Path, most: int, seed: int = 0) -> list[Row]:
    """Up to ``most`` rows of a file, drawn at random but the same each time.

    Args:
        path: a file of rows.
        most: rows to draw.
        seed: of the draw.
    """
    rows = read_dataset([path]).rows
    random.Random(seed).shuffle(rows)  # noqa: S311 - nothing secret
    return rows[:most]


def long_rows(ranker: OfflineRanker, rows: list[Row], most: int, limit: int) -> list[Row]:
    """The first ``most`` rows whose prompts have more than ``limit`` tokens."""
    found: list[Row] = []
    for row in rows:
        # A prompt of fewer characters than tokens cannot be: do not encode what is surely short.
        if len(row.prompt) > limit and ranker.length(row.prompt) > limit:
            found.append(row)
            if len(found) == most:
                break
    return found


def gains(scores: NDArray[np.float64], tokens: NDArray[np.float64], draws: int = 300) -> NDArray[np.float64]:
    """How much more tau each choice has than the first: row 0 on all prompts, the others on resamples of them.

    Args:
        scores: [choices, prompts].
        tokens: lengths, [prompts].
        draws: resamples; the same ones for all choices, so that what they share cancels out.
    """
    random = np.random.default_rng(0)
    n = len(tokens)
    samples = [np.arange(n), *(random.integers(0, n, n) for _ in range(draws))]
    taus = np.array([[tau_b(row[i], tokens[i]) or 0.0 for row in scores] for i in samples])
    gained: NDArray[np.float64] = taus - taus[:, :1]
    return gained


def main() -> int:
    """Print tau on long prompts, a row per file and a column per choice (tokens in all: head + tail).

    Last the gain over the first choice, averaged over the files that the ranker was not trained on.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rankers.truncation", description=__doc__.partition(":")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="directory with the .jsonl.gz files")
    parser.add_argument("--ranker", type=ranker_path, default=default_ranker_path(), help="default: the bundled one")
    parser.add_argument("--rows", type=int, default=400, help="most long prompts per file")
    arguments = parser.parse_args()
    artifact = load_artifact(arguments.ranker)
    rankers = [OfflineRanker(artifact, truncation=Truncation(*choice)) for choice in CHOICES]
    whole = OfflineRanker(artifact, truncation=Truncation(4096, 2048, 2048))
    limit = min(m for m, _, _ in CHOICES)
    print("| file | seen in training | long prompts | " + " | ".join(f"{m}: {h}+{t}" for m, h, t in CHOICES) + " | ± |")
    print("|---|---|---|" + "---|" * (len(CHOICES) + 1))
    unseen: list[NDArray[np.float64]] = []
    for name, seen in FILES:
        rows = long_rows(whole, draw(arguments.data / f"{name}.jsonl.gz", 20_000), arguments.rows, limit)
        start = f"| {name} | {'yes' if seen else 'no'} | {len(rows)} | "
        if len(rows) < _FEWEST:
            print(start + " | ".join("too few" for _ in CHOICES) + " | |", flush=True)
            continue
        scores = np.array([r.alone([row.prompt for row in rows]) for r in rankers])
        tokens = np.array([float(r.tokens) for r in rows])  # one that was cut counts as it is
        taus = " | ".join(f"{tau_b(s, tokens) or 0.0:.3f}" for s in scores)
        if not seen:
            unseen.append(gains(scores, tokens))
        # The spread of tau where there is no association; near enough for taus this small.
        error = math.sqrt(2 * (2 * len(rows) + 5) / (9 * len(rows) * (len(rows) - 1)))
        print(start + taus + f" | {error:.3f} |", flush=True)
    if unseen:
        mean = np.mean(unseen, axis=0)
        cells = " | ".join(f"{m:+.3f} ± {e:.3f}" for m, e in zip(mean[0], mean[1:].std(axis=0), strict=True))
        print(f"| gain over the first, unseen files | no | | {cells} | |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
