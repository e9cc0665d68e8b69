"""``python -m rankd.training.measure``: what of a long prompt is worth reading, by measurement.

A prompt counts as long when it has more tokens than the smallest limit under test: on others every choice is the same.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from rankd.artifact import default_ranker_path, load_artifact
from rankd.tokenise import Truncation
from rankd.training.calibrate import Scored, tau_of
from rankd.training.rows import Row, read_rows

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
"""File, and whether the bundled ranker was trained on prompts of it (cut to their heads, which favours heads)."""

_FEWEST = 40
"""Long prompts below which a file's tau is noise."""


def long_rows(ranker: Scored, rows: list[Row], most: int, limit: int) -> list[Row]:
    """The first ``most`` rows whose prompts have more than ``limit`` tokens."""
    found: list[Row] = []
    for row in rows:
        # A prompt of fewer characters than tokens cannot be: do not encode what is surely short.
        if len(row.prompt) > limit and ranker.length(row.prompt) > limit:
            found.append(row)
            if len(found) == most:
                break
    return found


def main() -> int:
    """Print tau on long prompts, a row per file and a column per choice (tokens in all: head + tail)."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True, help="directory with the .jsonl.gz files")
    parser.add_argument("--ranker", type=Path, default=default_ranker_path(), help="default: the bundled one")
    parser.add_argument("--rows", type=int, default=400, help="most long prompts per file")
    arguments = parser.parse_args()
    artifact = load_artifact(arguments.ranker)
    rankers = [Scored(artifact, Truncation(*choice)) for choice in CHOICES]
    whole = Scored(artifact, Truncation(4096, 2048, 2048))
    limit = min(m for m, _, _ in CHOICES)
    print("| file | seen in training | long prompts | " + " | ".join(f"{m}: {h}+{t}" for m, h, t in CHOICES) + " | ± |")
    print("|---|---|---|" + "---|" * (len(CHOICES) + 1))
    for name, seen in FILES:
        rows = long_rows(whole, read_rows(arguments.data / f"{name}.jsonl.gz", 20_000), arguments.rows, limit)
        start = f"| {name} | {'yes' if seen else 'no'} | {len(rows)} | "
        if len(rows) < _FEWEST:
            print(start + " | ".join("too few" for _ in CHOICES) + " | |", flush=True)
            continue
        taus = " | ".join(f"{tau_of(r.scores(rows), rows)[0]:.3f}" for r in rankers)
        # The spread of tau where there is no association; near enough for taus this small.
        error = math.sqrt(2 * (2 * len(rows) + 5) / (9 * len(rows) * (len(rows) - 1)))
        print(start + taus + f" | {error:.3f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
