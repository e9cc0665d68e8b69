"""Errors of live quality: ``python tests/unit/sim_quality_tables.py queue|coverage|plain|real DIR``.

Prints the tables of docs/measurements/2026-11-25-live-quality.md.
"""

from __future__ import annotations

import glob
import gzip
import json
import sys

import numpy as np
import sim_queue as queue
from scipy.stats import kendalltau

from rankd.quality import Cohort, OutcomeReport, QualityTracker
from rankd.quality.censoring.cohort_tau import cohort_tau
from rankd.quality.statistics.rolling_pairs import PairSums

FAR = 16384


def say(line: str) -> None:
    """Print, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def tau(score, length, horizon: int = FAR) -> float:
    """Tau-b of lengths cut at a horizon."""
    return float(kendalltau(score, np.minimum(length, horizon)).statistic)


def queue_errors(draw, load: float, seeds: int, n: int):
    """Errors of the estimate and of finished-only tau, decided share, and how often the interval holds the truth."""
    rows = []
    for seed in range(seeds):
        rng = np.random.default_rng(100 + seed)
        score, length = draw(n, rng)
        tracker = QualityTracker()
        now = queue.feed(tracker, queue.serve(score, length, load, rng), OutcomeReport)
        cohort, got, of = tracker.snapshot(now).cohort, tracker.estimate(now), dict(zip(score, length, strict=True))
        true = tau(cohort.score, np.array([of[x] for x in cohort.score]), got.horizon_tokens)
        finished = tau(cohort.score[cohort.complete], cohort.tokens[cohort.complete])
        held = got.tau.low <= true <= got.tau.high
        rows.append((got.tau.value - true, finished - true, got.decided_pair_share, held, true))
    return np.array(rows)


def show(name: str, load: float, rows) -> None:
    """Print one line of a table."""
    say(
        f"| {name} | {load} | {rows[:, 4].mean():.3f} | {rows[:, 0].mean():+.4f} | {np.abs(rows[:, 0]).max():.4f} "
        f"| {rows[:, 1].mean():+.3f} | {rows[:, 2].mean():.2f} | {rows[:, 3].mean():.2f} |"
    )


def queues() -> None:
    """Overloaded queues served by score, by kind of dependence and load."""
    for kind in queue.KINDS:
        for load in (1.1, 1.3, 1.6, 2.0):
            show(kind, load, queue_errors(lambda n, rng, kind=kind: queue.draw(kind, n, rng), load, 8, 4000))


def real(folder: str) -> None:
    """Queues of real lengths, scored by what other models answered to the same prompts (not shipped)."""

    def read(source: str, model: str) -> dict:
        path = glob.glob(f"{folder}/{source}__{model}*.gz")[0]  # noqa: PTH207
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
        judged, by = read(source, model), [read(source, other) for other in others]
        both = [p for p in judged if judged[p] and all(part.get(p) for part in by)]
        pairs = np.array([(np.mean([part[p] for part in by]), judged[p]) for p in both], dtype=float)

        def draw(n: int, rng: np.random.Generator, pairs: np.ndarray = pairs):
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
                bias, held = np.mean(got, axis=0)
                say(f"| {kind} | {true:.3f} | {mode} | {bias:+.4f} | {held:.3f} |")


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
                held = []
                for rho in (0.0, 0.3, 0.75, 0.95):
                    large = [sums(3000, rho, sigma, ties, 5000 + seed) for seed in range(10)]
                    true = [
                        np.mean([x.tau_b(1.96).value for x in large]),
                        np.mean([x.realised_gain(1.96).value for x in large]),
                    ]
                    hit = np.zeros(2)
                    for seed in range(runs):
                        part = sums(n, rho, sigma, ties, seed)
                        bounds = part.tau_b(1.959964), part.realised_gain(1.959964)
                        hit += [b.low <= t <= b.high for b, t in zip(bounds, true, strict=True)]
                    held.append(hit / runs)
                low, high = np.min(held, axis=0), np.max(held, axis=0)
                say(
                    f"| {sigma} | {'yes' if ties else 'no'} | {n} | {low[0]:.3f}-{high[0]:.3f} "
                    f"| {low[1]:.3f}-{high[1]:.3f} |"
                )


if __name__ == "__main__":
    {"queue": queues, "coverage": coverage, "plain": plain, "real": lambda: real(sys.argv[2])}[sys.argv[1]]()
