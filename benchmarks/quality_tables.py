"""Errors of live quality: ``python -m benchmarks.quality_tables queue|coverage|work|plain|real DIR``.

Prints the tables of docs/measurements/2026-11-25-live-quality.md.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rankd_client.calibration import Calibration, fit_monotone
from scipy.stats import kendalltau

from benchmarks import queue_simulation as queue
from benchmarks.intervals import covers, defined
from rankd.quality import Cohort, QualityTracker, WorkModel
from rankd.quality.censoring.cohort_tau import cohort_tau
from rankd.quality.statistics.rolling_pairs import PairSums
from rankd.quality.work import tau_difference, work_cohorts

FAR = 16384

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Draw = Callable[[int, np.random.Generator], tuple[Floats, Ints]]
"""Gives so many scores and lengths."""


def tau(score: Floats, length: Ints, horizon: int = FAR) -> float:
    """Tau-b of lengths cut at a horizon."""
    return float(kendalltau(score, np.minimum(length, horizon)).statistic)


def queue_errors(draw: Draw, load: float, seeds: int, n: int) -> Floats:
    """By seed: errors of the estimate and of finished-only tau, decided share, whether the truth is covered, the truth.

    Returns:
        float64[seeds, 5].
    """
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(100 + seed)
        score, length = draw(n, rng)
        tracker = QualityTracker()
        now = queue.feed(tracker, queue.serve(score, length, load, rng))
        snapshot, of = tracker.snapshot(now), dict(zip(score.tolist(), length.tolist(), strict=True))
        cohort, got = snapshot.cohort, snapshot.evaluate()
        assert got.horizon_tokens is not None
        true = tau(cohort.score, np.array([of[x] for x in cohort.score.tolist()]), got.horizon_tokens)
        finished = tau(cohort.score[cohort.complete], cohort.tokens[cohort.complete])
        value = defined(got.tau).value
        rows.append((value - true, finished - true, got.decided_pair_share, covers(got.tau, true), true))
    return np.array(rows)


def show(name: str, load: float, rows: Floats) -> None:
    """Print one line of a table."""
    print(
        f"| {name} | {load} | {rows[:, 4].mean():.3f} | {rows[:, 0].mean():+.4f} | {np.abs(rows[:, 0]).max():.4f} "
        f"| {rows[:, 1].mean():+.3f} | {rows[:, 2].mean():.2f} | {rows[:, 3].mean():.2f} |",
        flush=True,
    )


def queues() -> None:
    """Overloaded queues served by score, by kind of dependence and load."""
    for kind in queue.KINDS:
        for load in (1.1, 1.3, 1.6, 2.0):

            def draw(n: int, rng: np.random.Generator, kind: str = kind) -> tuple[Floats, Ints]:
                return queue.draw(kind, n, rng)

            show(kind, load, queue_errors(draw, load, 8, 4000))


def real(folder: Path) -> None:
    """Queues of real lengths, scored by what other models answered to the same prompts (not in the repository)."""

    def read(source: str, model: str) -> dict[str, int]:
        path = next(iter(sorted(folder.glob(f"{source}__{model}*.gz"))))
        with gzip.open(path, "rt") as lines:
            return {row["prompt"]: row["output_tokens"] for row in map(json.loads, lines)}

    for source, others, model in (
        ("flask", ["chatgpt"], "gpt4"),
        ("flask", ["chatgpt", "vicuna_13b", "bard"], "llama2_chat_70b"),
        ("halueval2", ["chatgpt"], "claude-2"),
        ("halueval2", ["vicuna-7b"], "chatgpt"),
        ("oasst_eval", ["vicuna", "gpt-4."], "deepseek"),
        ("arena_hard_1k", ["claude-2", "palm", "vicuna-13b", "gpt-3"], "wizardlm"),
    ):
        lengths, by = read(source, model), [read(source, other) for other in others]
        both = [p for p in lengths if lengths[p] and all(part.get(p) for part in by)]
        pairs = np.array([(np.mean([part[p] for part in by]), lengths[p]) for p in both], dtype=float)

        def draw(n: int, rng: np.random.Generator, pairs: Floats = pairs) -> tuple[Floats, Ints]:
            which = rng.choice(len(pairs), n, replace=len(pairs) < n)
            return pairs[which, 0] + 1e-3 * rng.random(n), pairs[which, 1].astype(np.int64)

        for load in (1.1, 1.3, 1.6):
            show(f"{source}: {'+'.join(others)} → {model}", load, queue_errors(draw, load, 5, 3000))


def coverage() -> None:
    """The cohort's interval without doubt, where a quarter starves, half is capped at the median, or both."""
    for kind in ("gauss", "heavy", "hetero-"):
        for rho in (0.0, 0.3, 0.75, 0.9):
            score, length = queue.draw(kind, 60_000, np.random.default_rng(1), rho)
            true = tau(score, length, 1500)
            for mode in ("starved", "capped", "both"):
                got = []
                for seed in range(400):
                    rng = np.random.default_rng(10 + seed)
                    score, length = queue.draw(kind, 512, rng, rho)
                    cap = (rng.random(512) < 0.5) & (mode != "starved") & (length > np.median(length))
                    waits = (score > np.quantile(score, 0.75)) & (mode != "capped")
                    tokens = np.where(waits, 0, np.where(cap, int(np.median(length)), length))
                    part = cohort_tau(Cohort(score, tokens, ~cap & ~waits), 1500, 1.959964, 50, 0.0).tau
                    # Undefined counts as a miss.
                    got.append((part.value - true, part.low <= true <= part.high) if part else (0.0, False))
                bias, covered = np.mean(got, axis=0)
                print(f"| {kind} | {true:.3f} | {mode} | {bias:+.4f} | {covered:.3f} |", flush=True)


COST = 0.1
"""Output tokens that a prompt token counts for."""


def draw_work(kind: str, n: int, rng: np.random.Generator, rho: float, spread: float) -> tuple[Floats, Ints, Ints]:
    """Scores, lengths and prompt tokens, [n] each: prompts cost as much as answers in the median, in no relation."""
    score, length = queue.draw(kind, n, rng, rho)
    prompt = np.minimum(np.exp(np.log(1500.0) + spread * rng.standard_normal(n)), 200_000)
    return score, length, prompt.astype(np.int64)


def map_of(kind: str, rho: float) -> Calibration:
    """From scores to lengths, as plenty of completions have it."""
    score, length = queue.draw(kind, 20_000, np.random.default_rng(2), rho)
    return fit_monotone(score, length, np.ones(len(score), dtype=np.bool_))


def works() -> None:
    """Expected against realised work: overloaded queues served by expected work, then coverage as of lengths."""
    for kind, rho, spread in (("gauss", 0.75, 1.0), ("gauss", 0.0, 1.0), ("hetero-", 0.75, 1.0), ("heavy", 0.75, 2.0)):
        known = map_of(kind, rho)
        for load in (0.9, 1.1, 1.3, 1.6):
            show(f"{kind}, rho {rho}, prompts {spread}", load, work_errors(kind, rho, spread, known, load))
    for kind, rho, spread in (("gauss", 0.0, 1.0), ("gauss", 0.75, 1.0), ("hetero-", 0.75, 2.0), ("heavy", 0.3, 1.0)):
        cover_work(kind, rho, spread, map_of(kind, rho))


def work_errors(kind: str, rho: float, spread: float, known: Calibration, load: float, seeds: int = 8) -> Floats:
    """As ``queue_errors``, of work; beside it the error of tau over finished requests only."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(100 + seed)
        score, length, prompt = draw_work(kind, 3000, rng, rho, spread)
        expected = known.expected(score) + COST * prompt
        run = queue.serve(score, length, load, rng, key=expected)
        run.prompt = prompt
        tracker = QualityTracker()
        snapshot = tracker.snapshot(queue.feed(tracker, run), WorkModel(COST, known.expected))
        works, got = work_cohorts(snapshot.cohort, snapshot.work), snapshot.evaluate()
        assert works is not None
        assert got.horizon_tokens is not None
        assert works.expected.prompt_work is not None
        cohort, part = works.expected, works.expected.prompt_work
        of = dict(zip(score.tolist(), length.tolist(), strict=True))
        lengths = np.minimum(np.array([of[x] for x in snapshot.cohort.score.tolist()]), got.horizon_tokens)
        true = float(kendalltau(cohort.score, lengths + part).statistic)
        done = cohort.complete
        finished = float(kendalltau(cohort.score[done], (cohort.tokens + part)[done]).statistic)
        found = defined(got.work_tau)
        decided = cohort_tau(cohort, FAR, 1.96, 50).decided_pair_share
        rows.append((found.value - true, finished - true, decided, covers(found, true), true))
    return np.array(rows)


def cover_work(kind: str, rho: float, spread: float, known: Calibration) -> None:
    """The interval of the guard's size without doubt, where a quarter starves, half is capped, both, or none."""
    score, length, prompt = draw_work(kind, 60_000, np.random.default_rng(1), rho, spread)
    true = float(kendalltau(known.expected(score) + COST * prompt, np.minimum(length, 1500) + COST * prompt).statistic)
    for mode in ("all known", "starved", "capped", "both"):
        got, alone = [], []
        for seed in range(400):
            rng = np.random.default_rng(10 + seed)
            score, length, prompt = draw_work(kind, 320, rng, rho, spread)
            expected = known.expected(score) + COST * prompt
            middle = int(np.median(length))
            cap = (rng.random(320) < 0.5) & (length > middle) & (mode in ("capped", "both"))
            waits = (expected > np.quantile(expected, 0.75)) & (mode in ("starved", "both"))
            tokens = np.where(waits, 0, np.where(cap, middle, length))
            cohort = Cohort(score, tokens, ~cap & ~waits, prompt=prompt)
            works = work_cohorts(cohort, WorkModel(COST, known.expected))
            assert works is not None
            part = cohort_tau(works.expected, 1500, 1.959964, 50, 0.0).tau
            got.append((part.value - true, part.low <= true <= part.high) if part else (0.0, False))
            step = tau_difference(works, 1500, 1.959964)
            alone.append(step is not None and (step.low > 0) - (step.high < 0))
        (bias, covered), (more, less) = np.mean(got, axis=0), [np.mean(np.array(alone) == s) for s in (1, -1)]
        print(
            f"| {kind}, rho {rho}, prompts {spread} | {true:.3f} | {mode} | {bias:+.4f} | {covered:.3f} "
            f"| {more:.2f} | {less:.2f} |",
            flush=True,
        )


def plain() -> None:
    """Coverage of the plain window's intervals."""

    def sums(n: int, rho: float, sigma: float, ties: bool, seed: int) -> PairSums:
        rng = np.random.default_rng(seed)
        z, e = rng.standard_normal(n), rng.standard_normal(n)
        y = np.ceil(np.exp(5 + sigma * (rho * z + np.sqrt(1 - rho**2) * e)) * (0.01 if ties else 10))
        x = np.round(1.5 * z) if ties else z
        sign, step = np.sign(x[:, None] - x), y[:, None] - y
        parts = (sign * np.sign(step), sign != 0, step != 0, sign * step, np.abs(step))
        return PairSums(x, y.astype(np.int64), *(part.sum(axis=1) for part in parts))

    for sigma in (0.7, 1.0, 1.5):
        for ties in (False, True):
            for n, runs in ((50, 1000), (200, 1000), (1000, 200)):
                shares = []
                for rho in (0.0, 0.3, 0.75, 0.95):
                    large = [sums(3000, rho, sigma, ties, 5000 + seed) for seed in range(10)]
                    true = [
                        float(np.mean([defined(x.tau_b(1.96)).value for x in large])),
                        float(np.mean([defined(x.realised_gain(1.96)).value for x in large])),
                    ]
                    hit = np.zeros(2)
                    for seed in range(runs):
                        part = sums(n, rho, sigma, ties, seed)
                        bounds = part.tau_b(1.959964), part.realised_gain(1.959964)
                        hit += [covers(b, t) for b, t in zip(bounds, true, strict=True)]
                    shares.append(hit / runs)
                low, high = np.min(shares, axis=0), np.max(shares, axis=0)
                print(
                    f"| {sigma} | {'yes' if ties else 'no'} | {n} | {low[0]:.3f}-{high[0]:.3f} "
                    f"| {low[1]:.3f}-{high[1]:.3f} |",
                    flush=True,
                )


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality_tables", description=__doc__.partition(":")[0])
    tables = parser.add_subparsers(dest="table", required=True)
    for table in (queues, coverage, works, plain):
        tables.add_parser(table.__name__.removesuffix("s"), help=table.__doc__).set_defaults(run=table)
    of_data = tables.add_parser("real", help=real.__doc__)
    of_data.add_argument("folder", type=Path, help="SOURCE__MODEL.jsonl.gz files, rows with prompt and output_tokens")
    arguments = parser.parse_args(argv)
    if arguments.table == "real":
        real(arguments.folder)
    else:
        arguments.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
