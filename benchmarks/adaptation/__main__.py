"""What learning the traffic brings: ``python -m benchmarks.adaptation --data DIR`` (some minutes on a core).

DIR holds files ``<prompts>__<served model>.jsonl.gz`` of rows {prompt, output_tokens, optional no_final_punct: the
answer was cut short}. Each row is predicted before it is learned from. Prints the tables of docs/science/adaptation.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.adaptation.prequential import STEP, Predicted, Tau, predict
from benchmarks.adaptation.sources import Source, find, load, load_ranker
from rankd.adaptation import LearnedCompletion

SOURCES = ("flask__gpt4", "halueval2__chatgpt", "instructwild", "so_chatgpt", "alpaca20k", "alpaca52k")
MIXED = (0, 1, 3, 4)
"""Places of the sources of the mixture."""
CHANGING = 5
"""So many sources follow on each other."""
COUNTS = (200, 500, 1000, 2000, 4000)
NEXT = 500
FEWEST = 150
BEFORE, AFTER = 1000, 1000
"""Completions before and after a change."""
BARS = {"minilm-l6": {200: 0.03, 1000: 0.10}, "ngram": {1000: 0.15}}
"""Least median gain after so many completions."""
MIXTURE_BAR = 0.58
NEVER_BELOW = 0.01


class Report:
    """Prints tables, and collects what was reached."""

    def __init__(self) -> None:
        """Start with nothing reached."""
        self._bars: list[str] = []

    def row(self, name: str, tau: Tau) -> None:
        """One line of a table."""
        difference = tau.learned - tau.base
        print(
            f"{name:44s} {tau.base:.3f} -> {tau.learned:.3f} {difference:+.3f}  used {tau.used:.3f} {tau.in_use:4.0%}"
        )
        sys.stdout.flush()

    def bar(self, name: str, value: float, least: float) -> None:
        """Whether something was reached."""
        self._bars.append(f"{'reached' if value >= least else 'MISSED '} {name}: {value:+.3f}, at least {least:+.3f}")

    def end(self) -> None:
        """Print what was reached."""
        print("\n".join(["", *self._bars]))


def average(taus: Sequence[Tau]) -> Tau:
    """The mean of each figure."""
    return Tau(*(float(np.mean([getattr(tau, name) for tau in taus])) for name in Tau.__slots__))


def points(stream: Predicted) -> Iterator[tuple[int, Tau]]:
    """Figures over the next completions after each count, where there are enough of them."""
    size = len(stream.base)
    for count in COUNTS:
        if size >= count + FEWEST:
            yield count, stream.over(count, min(count + NEXT, size))


def gains(sources: Sequence[Source], seeds: int, ranker: str, report: Report) -> None:
    """Each source in random order."""
    print("\nEach source alone, random order: after so many completions, the next 500")
    found: dict[int, list[Tau]] = {count: [] for count in COUNTS}
    used: list[float] = []
    for source in sources:
        runs: dict[int, list[Tau]] = {count: [] for count in COUNTS}
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(source))[: COUNTS[-1] + NEXT]
            for count, tau in points(predict(source.take(order))):
                runs[count].append(tau)
        for count, taus in runs.items():
            if taus:
                mean = average(taus)
                report.row(f"{source.name} {count}", mean)
                found[count].append(mean)
                used.append(mean.used - mean.base)
    for count, taus in found.items():
        if taus:
            differences = [tau.learned - tau.base for tau in taus]
            print(f"after {count}: median {np.median(differences):+.3f}, mean {np.mean(differences):+.3f}")
            if (least := BARS.get(ranker, {}).get(count)) is not None:
                report.bar(f"median gain after {count}", float(np.median(differences)), least)
    report.bar("what is in use, against the ranker alone: the worst of all sources", min(used), -NEVER_BELOW)
    report.bar("what is in use, against the ranker alone: the mean", float(np.mean(used)), 0.0)


def mixture(sources: Sequence[Source], seeds: int, ranker: str, report: Report) -> None:
    """Four sources in one stream."""
    print("\nFour sources mixed, random order")
    runs: dict[int, list[Tau]] = {count: [] for count in COUNTS}
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        rows: list[LearnedCompletion] = []
        for source in sources:
            rows += source.take(rng.permutation(len(source))[: (COUNTS[-1] + NEXT) // 3])
        order = rng.permutation(len(rows))[: COUNTS[-1] + NEXT]
        for count, tau in points(predict([rows[i] for i in order.tolist()])):
            runs[count].append(tau)
    for count, taus in runs.items():
        if taus:
            report.row(f"mixture {count}", average(taus))
            if count == 2000 and "ngram" not in ranker:
                report.bar("mixture after 2000", average(taus).learned, MIXTURE_BAR)


def changes(sources: Sequence[Source], seeds: int, in_order: bool, report: Report) -> None:
    """One source after another, both directions of each pair."""
    name = "in the order of the files" if in_order else "random order"
    print(f"\nSudden change, {name}: the 1000 completions after it, pairs within {STEP} completions")
    worst, late = [], []
    for first in sources:
        for second in sources:
            if first is second:
                continue
            runs = []
            for seed in range(1 if in_order else seeds):
                rng = np.random.default_rng(seed)
                orders = [np.arange(len(s)) if in_order else rng.permutation(len(s)) for s in (first, second)]
                rows = first.take(orders[0][:BEFORE])
                runs.append((len(rows), predict(rows + second.take(orders[1][:AFTER]))))
            after = average([stream.mean(at, at + AFTER) for at, stream in runs])
            end = average([stream.mean(at + AFTER // 2, at + AFTER) for at, stream in runs])
            report.row(f"{first.name.split('__')[0]} -> {second.name.split('__')[0]}", after)
            worst.append(after.used - after.base)
            late.append(end.used - end.base)
    print(f"mean difference of what was in use {np.mean(worst):+.3f}; over the last 500 {np.mean(late):+.3f}")
    report.bar(f"sudden change, {name}: what was in use, the worst pair", min(worst), -NEVER_BELOW)
    report.bar(f"sudden change, {name}: what was in use, the mean of pairs", float(np.mean(worst)), -NEVER_BELOW)
    report.bar(f"sudden change, {name}: the last 500 of 1000, the worst pair", min(late), 0.0)


def main() -> None:
    """Read the sources, then print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="directory of the files")
    parser.add_argument("--ranker", default="minilm-l6", help="a bundled ranker, or a directory")
    parser.add_argument("--sources", default=",".join(SOURCES), help="beginnings of the files' names")
    parser.add_argument("--rows", type=int, default=7000, help="most rows of a file")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="that score")
    parser.add_argument("--only", choices=("gains", "mixture", "change"), help="one of the tables")
    asked = parser.parse_args()
    ranker, report = load_ranker(asked.ranker, asked.threads), Report()
    sources = [load(find(asked.data, name), ranker, asked.rows) for name in asked.sources.split(",")]
    if asked.only in (None, "gains"):
        gains(sources, asked.seeds, asked.ranker, report)
    if asked.only in (None, "mixture"):
        mixed = [sources[i] for i in MIXED] if len(sources) == len(SOURCES) else sources
        mixture(mixed, asked.seeds, asked.ranker, report)
    if asked.only in (None, "change"):
        for in_order in (False, True):
            changes(sources[:CHANGING], asked.seeds, in_order, report)
    report.end()


if __name__ == "__main__":
    main()
