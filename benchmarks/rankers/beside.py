"""Two rankers side by side on every source, in order and speed: ``python -m benchmarks.rankers.beside``.

The same rows for both. A difference of tau has the standard error of its paired influences, prompt by prompt, of the
mean over the models that answered. Speed is tokens per second of processor time of one thread, in turns, on prompts of
``instructwild_v2``; tokenising is not in it. Run it on one core (``taskset -c 1``).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.rankers.bundle import JUDGED_PROMPTS, NOT_ENGLISH
from benchmarks.rankers.sources import BENCHMARK_ONLY, DATA_HELP, Source, drawn, read_source
from rankd.quality.statistics.pair_sums import pair_sums
from rankd.registry.artifact import Artifact, load_artifact
from rankd.registry.bundled import ranker_path
from rankd.scoring.tokeniser import Tokeniser, Truncation
from rankd.training.data.dataset import Row
from rankd.training.evaluation.by_source import FEWEST
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.training.export.parity import onnx_runner, scores_of

Floats = NDArray[np.float64]
_TIMED = "instructwild_v2"
_BUDGETS = (128, 512, 1024)


@dataclass(frozen=True, slots=True)
class Beside:
    """What two rankers are worth on a source: medians over its models."""

    taus: tuple[float, float]
    gains: tuple[float, float]
    difference: float
    """Of tau, the second's less the first's, the mean over models."""
    error: float
    """Its standard error."""
    alike: float
    """tau between their scores."""


def side_by_side(scores: tuple[Floats, Floats], prompts: Sequence[str], rows: Sequence[Row]) -> Beside:
    """Hold both scores of ``prompts`` against each model's answers; ``rows`` are of one source."""
    places = {prompt: i for i, prompt in enumerate(prompts)}
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_model[row.model].append(row)
    taus, gains, influence = [], [], np.zeros(len(prompts))
    for mine in by_model.values():
        at = np.array([places[r.prompt] for r in mine])
        known, tokens = np.array([r.complete for r in mine]), np.array([r.tokens for r in mine])
        sums = pair_sums([s[at] for s in scores], tokens, known, np.zeros(len(mine), dtype=np.int64))
        order = [found for i in (0, 1) if (found := sums.tau_b(i)) is not None]
        gain = [found for i in (0, 1) if (found := sums.realised_gain(i)) is not None]
        if len(mine) < FEWEST or len(order) + len(gain) < 4:
            continue
        taus.append([value for value, _ in order])
        gains.append([value for value, _ in gain])
        first, second = (one for _, one in order)
        influence_of_mine = (second - first) / len(mine)
        np.add.at(influence, at, influence_of_mine)
    apart = np.array(taus)
    own = pair_sums(
        [scores[0]], np.argsort(np.argsort(scores[1])), np.ones(len(prompts), bool), np.zeros(len(prompts), np.int64)
    )
    alike = own.tau_b()
    middle, middle_gain = np.median(apart, axis=0), np.median(np.array(gains), axis=0)
    return Beside(
        (float(middle[0]), float(middle[1])),
        (float(middle_gain[0]), float(middle_gain[1])),
        float((apart[:, 1] - apart[:, 0]).mean()),
        float(np.sqrt(np.square(influence / len(apart)).sum())),
        alike[0] if alike else float("nan"),
    )


def speeds(artifacts: Sequence[Artifact], rows: Sequence[Row], rounds: int) -> None:
    """Print tokens per second of processor time of each graph, and the ratio, by padded tokens of a batch."""
    cut = artifacts[0].manifest.truncation
    tokeniser = Tokeniser(artifacts[0].tokenizer_path, Truncation(cut.max_tokens, cut.head_tokens, cut.tail_tokens))
    ids = [i.astype(np.int32) for i in tokeniser.encode([tokeniser.cut(r.prompt) for r in rows])]
    tokens = sum(len(i) for i in ids)
    runs = [onnx_runner(a.model_path.read_bytes()) for a in artifacts]
    print("| tokens of a batch | first, tokens/s | second | ratio, median (least, most) |\n|---|---|---|---|")
    for budget in _BUDGETS:
        seconds: list[list[float]] = [[], []]
        for _ in range(rounds):
            for run, spent in zip(runs, seconds, strict=True):
                began = time.process_time()
                scores_of(run, ids, budget)
                spent.append(time.process_time() - began)
        times = np.array(seconds)
        ratio, rates = times[0] / times[1], tokens / np.median(times, axis=1)
        print(
            f"| {budget:,} | {rates[0]:,.0f} | {rates[1]:,.0f} | "
            f"{np.median(ratio):.2f} ({ratio.min():.2f}, {ratio.max():.2f}) |",
            flush=True,
        )


def _orders(artifacts: Sequence[Artifact], sources: Sequence[Source], data: Path) -> None:
    """Print the table of sources, and the median over the English ones."""
    first, second = (OfflineRanker(a) for a in artifacts)
    print(
        "| prompts | first | second | difference ± error | gain | | tau between them |\n|---|---|---|---|---|---|---|"
    )
    english = []
    for source in sources:
        rows = drawn(read_source(source, data), JUDGED_PROMPTS)
        prompts = sorted({r.prompt for r in rows})
        found = side_by_side((first.scores(prompts), second.scores(prompts)), prompts, rows)
        if source.name not in NOT_ENGLISH:
            english.append(found.taus)
        cells = (
            source.name,
            *(f"{tau:.4f}" for tau in found.taus),
            f"{found.difference:+.4f} ± {found.error:.4f}",
            *(f"{gain:.3f}" for gain in found.gains),
            f"{found.alike:.3f}",
        )
        print(f"| {' | '.join(cells)} |", flush=True)
    middle = np.median(np.array(english), axis=0)
    print(f"| median of the English ones | {middle[0]:.4f} | {middle[1]:.4f} | {middle[1] - middle[0]:+.4f} | | | |\n")


def main() -> int:
    """Print the tables."""
    description = __doc__.partition(":")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rankers.beside", description=description)
    parser.add_argument("--data", type=Path, required=True, help=DATA_HELP)
    parser.add_argument("--ranker", type=ranker_path, nargs=2, required=True, help="directories or bundled names")
    parser.add_argument("--only", choices=("order", "speed"), help="one of the tables")
    parser.add_argument("--rounds", type=int, default=15, help="of timing")
    arguments = parser.parse_args()
    artifacts = [load_artifact(path) for path in arguments.ranker]
    if arguments.only != "speed":
        _orders(artifacts, BENCHMARK_ONLY, arguments.data)
    if arguments.only != "order":
        timed = next(s for s in BENCHMARK_ONLY if s.name == _TIMED)
        speeds(artifacts, drawn(read_source(timed, arguments.data), 300), arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
