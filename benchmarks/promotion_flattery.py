"""Candidates that are no better: how many get in? ``python -m benchmarks.promotion_flattery [--logs N]``.

Two ways in without merit. *Luck*: many candidates are judged on the same completions (simulated scores, seconds a
hundred logs). *Flattery*: a candidate is judged on what it was trained on (n-gram rankers trained on made-up logs, some
seconds each; needs ``rankd[train]``). Each is shown as it was, with a 95 % interval on all completions, and as it is.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics.paired_comparison import PairedSample, compare
from rankd.registry.judgement_levels import JudgementLevels
from rankd.registry.trained_rows import PromptList, digests_of
from rankd.training.data.row import Row

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Level = Callable[[str, str], float]
"""From incumbent and candidate to the normal quantile of the lower bound."""

TOPICS = 150
KEY = b"of the benchmark"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the candidates of one log, tried one after the other."""

    promoted: int
    largest_difference: float
    """In tau, as judged, of those promoted; 0 where none was."""


def single(_incumbent: str, _candidate: str) -> float:
    """Every judgement as if it were the only one."""
    return 1.959964


def shared(times: Sequence[float]) -> Level:
    """Judgements on the same completions share an error, as the daemon's do."""
    levels = JudgementLevels()
    return lambda incumbent, candidate: levels.next(incumbent, candidate, times).quantile


def tried(
    scores: Sequence[Floats], tokens: NDArray[np.int64], kept: Sequence[NDArray[np.bool_]], level: Level
) -> Outcome:
    """Try each candidate on the completions that may judge it; who is better takes the place of the one in service.

    Args:
        scores: of the ranker in service, then of every candidate, [n] each.
        tokens: lengths, [n].
        kept: per ranker, the completions that may judge it, [n].
        level: what the lower bound is taken at.
    """
    place, promoted, largest = 0, 0, 0.0
    for candidate in range(1, len(scores)):
        rows = np.flatnonzero(kept[candidate] & kept[place])
        if len(rows) < 200:
            continue
        size = len(rows)
        sample = PairedSample(
            scores[candidate][rows], scores[place][rows], tokens[rows], np.ones(size, np.bool_),
            np.zeros(size, np.int64), np.arange(size),
        )  # fmt: skip
        judged = compare(sample, strict_z=level(str(place), str(candidate)))
        if judged.strict_difference is not None and judged.strict_difference.low > 0:
            largest = max(largest, judged.strict_difference.value)
            place, promoted = candidate, promoted + 1
    return Outcome(promoted, largest)


def luck(logs: int, candidates: int, size: int, seed: int = 0) -> dict[str, list[Outcome]]:
    """Rankers that are all equally good, on simulated logs."""
    found: dict[str, list[Outcome]] = {"one 95 % interval each": [], "one error for all": []}
    rng = np.random.default_rng(seed)
    everything = [np.ones(size, np.bool_)] * (candidates + 1)
    times = np.arange(size, dtype=np.float64).tolist()
    for _ in range(logs):
        known, rest = rng.standard_normal(size), rng.standard_normal(size)
        tokens = np.maximum(1, np.exp(5 + 0.6 * known + 0.8 * rest)).astype(np.int64)
        scores = [known + 0.5 * rng.standard_normal(size) for _ in range(candidates + 1)]
        found["one 95 % interval each"].append(tried(scores, tokens, everything, single))
        found["one error for all"].append(tried(scores, tokens, everything, shared(times)))
    return found


def made_up(count: int, seed: int) -> list[Row]:
    """Prompts about topics, whose answers are about as long as the topic has it."""
    rng = random.Random(seed)  # noqa: S311 - a simulation
    effect = [random.Random(f"topic {i}").gauss(0, 0.7) for i in range(TOPICS)]  # noqa: S311
    rows = []
    for _ in range(count):
        topic = rng.randrange(TOPICS)
        words = [_word(rng.randrange(4000)) for _ in range(rng.randrange(4, 12))]
        words.insert(rng.randrange(len(words)), f"about {_word(10_000 + topic)}")
        rows.append(Row(" ".join(words), max(1, round(float(np.exp(5 + effect[topic] + rng.gauss(0, 0.8))))), True))
    return rows


def _word(number: int) -> str:
    letters = ""
    while number or not letters:
        number, place = divmod(number, 26)
        letters += chr(97 + place)
    return letters + "en"


def flattery(candidates: int, rows: int, epochs: int, seed: int = 0) -> tuple[dict[str, Outcome], float]:
    """N-gram rankers trained on a log, judged on it.

    Returns:
        The outcomes, and by how much the best of the candidates is truly better than the ranker in service: its
        difference in tau on ten times as many rows that nobody has seen.
    """
    from rankd.training.bases.load import load_base
    from rankd.training.data.lists import encode
    from rankd.training.export.parity import scores_of, torch_runner
    from rankd.training.fit.fit import FitOptions, fit

    log, fresh, other = made_up(2 * rows, seed), made_up(4 * rows, seed + 1), made_up(rows, seed + 2)
    base = load_base("ngram")
    options = FitOptions(recipe=replace(base.recipe, epochs=epochs))
    tokeniser = base.tokeniser()
    ids, fresh_ids = encode(log, tokeniser).ids, encode(fresh, tokeniser).ids
    scores, fresh_scores, kept, all_kept = [], [], [], [np.ones(len(log), np.bool_)] * (candidates + 1)
    for number in range(candidates + 1):
        trained = log[:rows] if number else other  # the one in service had as many rows, of before
        cut = round(0.9 * rows)
        fitted = fit(base, trained[:cut], trained[cut:], replace(options, seed=number))
        run = torch_runner(fitted.module)
        scores.append(scores_of(run, ids))
        fresh_scores.append(scores_of(run, fresh_ids))
        listed = PromptList(KEY, np.unique(digests_of((r.prompt for r in trained), KEY)))
        kept.append(~listed.has([r.prompt for r in log]))
    tokens = np.array([r.tokens for r in log], np.int64)
    times = np.arange(len(log), dtype=np.float64).tolist()
    outcomes = {
        "all completions, 95 % each": tried(scores, tokens, all_kept, single),
        "unseen ones, 95 % each": tried(scores, tokens, kept, single),
        "unseen ones, one error": tried(scores, tokens, kept, shared(times)),
    }
    return outcomes, _largest_truth(fresh_scores, np.array([r.tokens for r in fresh], np.int64))


def _largest_truth(scores: Sequence[Floats], tokens: Ints) -> float:
    size = len(tokens)
    ones, zeros, each = np.ones(size, np.bool_), np.zeros(size, np.int64), np.arange(size)
    found = [compare(PairedSample(s, scores[0], tokens, ones, zeros, each)).tau_difference for s in scores[1:]]
    return max(f.value for f in found if f is not None)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promotion_flattery", description=__doc__)
    parser.add_argument("--logs", type=int, default=200, help="simulated ones; default: 200")
    parser.add_argument("--candidates", type=int, default=50, help="of each log; default: 50")
    parser.add_argument("--size", type=int, default=1000, help="completions of a simulated log; default: 1000")
    parser.add_argument("--trained", type=int, default=50, help="n-gram candidates, 0 for none; default: 50")
    parser.add_argument("--rows", type=int, default=1500, help="that each is trained on; default: 1500")
    parser.add_argument("--epochs", type=int, default=8, help="of their training; default: 8")
    arguments = parser.parse_args()
    print(
        f"luck: {arguments.candidates} candidates, none better, {arguments.logs} logs of {arguments.size} completions"
    )
    for name, outcomes in luck(arguments.logs, arguments.candidates, arguments.size).items():
        promoted = np.array([o.promoted for o in outcomes])
        print(
            f"  {name:28} promoted on average {promoted.mean():.3f}; logs with any {np.mean(promoted > 0):.1%}, "
            f"with several {np.mean(promoted > 1):.1%}, at most {promoted.max()}"
        )
    if arguments.trained:
        found, truth = flattery(arguments.trained, arguments.rows, arguments.epochs)
        print(f"flattery: {arguments.trained} n-gram rankers trained on {arguments.rows} of {2 * arguments.rows} rows")
        for name, outcome in found.items():
            print(f"  {name:28} promoted {outcome.promoted}, by up to {outcome.largest_difference:+.3f} tau as judged")
        print(f"  the best of them is {truth:+.3f} tau better on rows that nobody has seen")


if __name__ == "__main__":
    main()
