"""What rankers are worth on sources that they never saw: ``python -m benchmarks.rankers.transfer``.

Two questions. How do the bundled rankers do on every source that only judges, beside TF-IDF and ridge regression
trained on the same rows? And how does the encoder's recipe do on groups of its own sources, each left out in turn?
Prints Markdown tables; every figure is a median over the models that answered a source.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.rankers.bundle import BUNDLED, JUDGED_PROMPTS, Bundled
from benchmarks.rankers.sources import (
    BENCHMARK_ONLY,
    DATA_HELP,
    GROUPS,
    SHIPPABLE,
    Source,
    drawn,
    read_source,
    training_rows,
)
from benchmarks.rankers.tfidf_baseline import tfidf_ridge
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import ranker_path
from rankd.training.data.dataset import Row, split
from rankd.training.data.lists import encode
from rankd.training.evaluation.by_source import Score, evaluate_source, medians
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.training.export.parity import scores_of, torch_runner
from rankd.training.fit.fit import fit
from rankd.training.fit.options import FittedRanker

Scorers = dict[str, Score]


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rankers.transfer", description=__doc__.partition(":")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help=DATA_HELP)
    parser.add_argument(
        "--ranker", type=ranker_path, action="append", default=[], help="a directory or a bundled one's name; repeat"
    )
    parser.add_argument(
        "--leave-out",
        nargs="*",
        choices=tuple(GROUPS),
        help=f"train on all but one group of sources, in turn; default: {', '.join(GROUPS)}",
    )
    parser.add_argument("--only", choices=[b.name for b in BUNDLED], help="train this one only; default: all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.ranker:
        scorers: Scorers = {p.name: OfflineRanker(load_artifact(p)).scores for p in arguments.ranker}
        scorers["TF-IDF + ridge"] = _baseline(training_rows(arguments.data, seed=arguments.seed), arguments.data)
        table(scorers, BENCHMARK_ONLY, arguments.data)
    if arguments.leave_out is not None:
        for group in arguments.leave_out or GROUPS:
            names = GROUPS[group]
            rows = training_rows(arguments.data, without=names, seed=arguments.seed)
            left_out = [s for s in SHIPPABLE if s.name in names]
            print(f"\nLeft out: {group}\n")
            wanted = [b for b in BUNDLED if arguments.only in (None, b.name)]
            scorers = {b.name: _trained(b, rows, arguments) for b in wanted}
            scorers["TF-IDF + ridge"] = _baseline(rows, arguments.data)
            table(scorers, left_out, arguments.data)
    return 0


def table(scorers: Scorers, sources: Sequence[Source], data: Path) -> None:
    """Print tau, and realised gain in brackets, a row per source and a column per scorer."""
    print("| source | models | prompts | " + " | ".join(scorers) + " |")
    print("|---|---|---|" + "---|" * len(scorers))
    taus: list[list[float]] = []
    for source in sources:
        rows = drawn(read_source(source, data), JUDGED_PROMPTS)
        found = [medians(evaluate_source(score, rows))[source.name] for score in scorers.values()]
        taus.append([tau for tau, _, _, _ in found])
        cells = " | ".join(f"{tau:.3f} ({gain:.2f})" for tau, gain, _, _ in found)
        print(f"| {source.name} | {found[0][2]} | {found[0][3]} | {cells} |", flush=True)
    print("| **median** | | | " + " | ".join(f"**{t:.3f}**" for t in np.median(taus, axis=0)) + " |", flush=True)


def _baseline(rows: Sequence[Row], data: Path) -> Score:
    """TF-IDF + ridge, fitted once; it scores the prompts of all sources in one go and looks them up."""
    every: list[Row] = []
    for source in (*BENCHMARK_ONLY, *SHIPPABLE):
        every += {r.prompt: r for r in drawn(read_source(source, data), JUDGED_PROMPTS)}.values()
    known = dict(zip([r.prompt for r in every], tfidf_ridge(rows, every).tolist(), strict=True))
    return lambda prompts: np.array([known[p] for p in prompts])


def _trained(bundled: Bundled, rows: Sequence[Row], arguments: argparse.Namespace) -> Score:
    base = bundled.start()
    options = bundled.options(base.recipe, seed=arguments.seed, threads=arguments.threads)
    train, valid = split(rows, 0.05, arguments.seed)
    return _score(fit(base, train, valid, options))


def _score(fitted: FittedRanker) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    run, tokeniser = torch_runner(fitted.module), fitted.base.tokeniser()

    def score(prompts: Sequence[str]) -> NDArray[np.float64]:
        rows = [Row(p, 1, complete=True) for p in prompts]
        return scores_of(run, encode(rows, tokeniser).ids, budget=2048)

    return score


if __name__ == "__main__":
    sys.exit(main())
