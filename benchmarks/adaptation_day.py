"""A day of traffic whose sources change: ``python -m benchmarks.adaptation_day --data DIR`` (some minutes on a core).

Every hour another mixture of sources, at night and by day different ones, and in between hours in which one source
takes over at once. Prints for each part of the day the tau of the ranker alone and of what was in use, and the worst
1,000 completions, as docs/science/adaptation_proof.md has them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.adaptation.sources import find, load, load_ranker
from benchmarks.adaptation_stream import Served, served
from rankd.adaptation import Adaptation, LearnedCompletion

SOURCES = ("flask__gpt4", "halueval2__chatgpt", "instructwild", "so_chatgpt", "alpaca20k", "alpaca52k")
HOURS = 24
OVER = 1000
STEP = 100
BAR = -0.02


def day(sources: Sequence[Sequence[LearnedCompletion]], hourly: int, seed: int) -> list[LearnedCompletion]:
    """A day's completions: every third hour of one source alone, the others of a mixture that drifts."""
    rng = np.random.default_rng(seed)
    weights, rows = rng.dirichlet(np.ones(len(sources))), list[LearnedCompletion]()
    for hour in range(HOURS):
        weights = 0.6 * weights + 0.4 * rng.dirichlet(np.full(len(sources), 0.5))
        alone = hour % 3 == 2
        own = np.eye(len(sources))[rng.integers(len(sources))] if alone else weights / weights.sum()
        drawn = [sources[source] for source in rng.choice(len(sources), hourly, p=own).tolist()]
        rows += [source[int(rng.integers(len(source)))] for source in drawn]
    return rows


def differences(out: Served) -> list[tuple[int, float, float]]:
    """Where each run of ``OVER`` completions begins, tau of the ranker alone over it, and of what was in use."""
    starts = range(0, len(out.base) - OVER + 1, STEP)
    return [(start, *out.agreement(np.arange(start, start + OVER))) for start in starts]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptation_day", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="directory of the files")
    parser.add_argument("--ranker", default="minilm-l6", help="a bundled ranker, or a directory")
    parser.add_argument("--sources", default=",".join(SOURCES), help="beginnings of the files' names")
    parser.add_argument("--rows", type=int, default=4000, help="most rows of a file")
    parser.add_argument("--hourly", type=int, default=500, help="completions an hour")
    parser.add_argument("--days", type=int, default=1, help="days, each another one")
    parser.add_argument("--threads", type=int, default=1, help="that score")
    asked = parser.parse_args()
    ranker = load_ranker(asked.ranker, asked.threads)
    sources = [load(find(asked.data, name), ranker, asked.rows).completions for name in asked.sources.split(",")]
    worst = 1.0
    for seed in range(asked.days):
        worst = min(worst, show(served(Adaptation(), day(sources, asked.hourly, seed)), asked.hourly))
    print(f"{'reached' if worst >= BAR else 'MISSED'}: never below the ranker alone over {OVER} by more than {-BAR}")
    return 0


def show(out: Served, hourly: int) -> float:
    """Print a day by its hours, and its worst completions; by how much these were better."""
    for hour in range(HOURS):
        base, used = out.agreement(np.arange(hour * hourly, (hour + 1) * hourly))
        share = float(out.in_use[hour * hourly : (hour + 1) * hourly].mean())
        print(f"hour {hour:2d}: {base:.3f} -> {used:.3f} ({used - base:+.3f}), in use {share:.0%}")
    start, base, used = min(differences(out), key=lambda found: found[2] - found[1])
    switches = int(np.count_nonzero(np.diff(out.in_use.astype(int))))
    mean = np.mean([used - base for _, base, used in differences(out)])
    print(f"mean {mean:+.3f}, {switches} switches; worst from {start}: {base:.3f} -> {used:.3f} ({used - base:+.3f})")
    sys.stdout.flush()
    return used - base


if __name__ == "__main__":
    sys.exit(main())
