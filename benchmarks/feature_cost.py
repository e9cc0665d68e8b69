"""What the features that predictions carry cost, by ranker: ``python -m benchmarks.feature_cost``.

Text to score on one core, tokenising included: scores alone, with the second output of the model, and with all that a
prediction carries of a text; then what packing a request's shape costs. All ways take turns, round by round, in
seconds of the processor, so that other work on the machine matters less. Takes two minutes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rankd_client.shape import RequestShape

from rankd.bench.prompts import PromptSupply
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import ranker_path
from rankd.training.data.dataset import read_dataset
from rankd.training.evaluation.offline_ranker import OfflineRanker

SHAPE = RequestShape(messages=6, tools=3, last_role="tool", tool_choice="auto", step="plan")


def main() -> int:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feature_cost", description=__doc__.partition(":")[0])
    parser.add_argument("--data", type=Path, help="a file of rows with prompts; default: made prompts")
    parser.add_argument(
        "--ranker", type=ranker_path, nargs="+", default=[ranker_path("minilm-l6"), ranker_path("ngram")]
    )
    parser.add_argument("--prompts", type=int, default=1000, help="of each round; default: 1000")
    parser.add_argument("--rounds", type=int, default=15, help="default: 15")
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core
    prompts = _prompts(arguments.data, arguments.prompts)
    print("| ranker | way | prompts/s | µs a prompt | more than scores alone |\n|---|---|---|---|---|")
    for path in arguments.ranker:
        measure(OfflineRanker(load_artifact(path)), path.name, prompts, arguments.rounds)
    return 0


def measure(ranker: OfflineRanker, name: str, prompts: Sequence[str], rounds: int) -> None:
    """Print a row per way."""
    texts = [s.text for s in ranker.scored(prompts)]

    def pack() -> None:
        for text in texts:
            ranker.hasher.pack(text, SHAPE, prompt_tokens=200, max_tokens=512, tenant="team-a")

    ways: dict[str, Callable[[], object]] = {
        "scores": lambda: ranker.scores(prompts),
        "scores and the output": lambda: ranker.pooled(prompts),
        "scores and texts": lambda: ranker.scored(prompts),
        "packing shapes": pack,
    }
    seconds = np.array([[_cpu_seconds(work) for work in ways.values()] for _ in range(rounds)])
    each = np.median(seconds, axis=0) / len(prompts)
    # Of the same round: what the machine did meanwhile slowed both.
    more = np.median(seconds / seconds[:, :1] - 1, axis=0)
    for way, took, share in zip(ways, each, more, strict=True):
        beside = f"{share:+.1%}" if "and" in way else ""
        print(f"| {name} | {way} | {1 / took:,.0f} | {took * 1e6:.1f} | {beside} |", flush=True)
    print(f"| {name} | a text's part | | {np.mean([len(t) for t in texts]):.0f} bytes | |")


def _prompts(data: Path | None, count: int) -> list[str]:
    if data is None:
        return PromptSupply(None).take(count)
    rows = read_dataset([data]).rows
    chosen = np.random.default_rng(0).permutation(len(rows))[:count]
    return [rows[i].prompt for i in chosen]


def _cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
