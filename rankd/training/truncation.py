"""``python -m rankd.training.truncation``: what of a long prompt is worth reading, by measurement."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rankd.artifact import default_ranker_path, load_artifact
from rankd.tokenise import Truncation
from rankd.training.calibrate import Scored, tau_of
from rankd.training.rows import read_rows

CHOICES = [(128, 128, 0), (128, 96, 32), (128, 64, 64), (128, 32, 96), (256, 128, 128)]
FILES = [
    "arena_hard_1k__gpt-4",
    "arena_hard_1k__vicuna-7b-v1.5",
    "mmlu_pro_cot__Meta-Llama-3_1-8B-Instruct",
    "hh_rlhf_harmless_test__anthropic-52b-rlhf",
    "taubench_airline__gpt-4o",
    "instructwild_v2__Llama-3.2-3B-Instruct",
    "so_chatgpt__gpt-3.5-turbo",
]
_LONG = 600
"""Characters above which a prompt is long: about 128 tokens."""


def main() -> int:
    """Print tau on long prompts, a row per file and a column per choice (max, head, tail tokens)."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=250, help="long prompts per file")
    arguments = parser.parse_args()
    artifact = load_artifact(default_ranker_path())
    rankers = [Scored(artifact, Truncation(*choice)) for choice in CHOICES]
    print("| file | long prompts | " + " | ".join(f"{m}: {h}+{t}" for m, h, t in CHOICES) + " |")
    print("|---|---|" + "---|" * len(CHOICES))
    for name in FILES:
        rows = [r for r in read_rows(arguments.data / f"{name}.jsonl.gz", 20_000) if len(r.prompt) > _LONG]
        rows = rows[: arguments.rows]
        taus = " | ".join(f"{tau_of(r.scores(rows), rows)[0]:.3f}" for r in rankers)
        print(f"| {name} | {len(rows)} | {taus} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
