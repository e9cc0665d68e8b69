"""Days of traffic through a tracker and a guard: how often a healthy ranker is dropped, how fast a broken one.

For the figures of docs/measurements/2026-11-25-live-quality.md: ``python -m benchmarks.guard_days [DAYS]``.
"""

from __future__ import annotations

import argparse
import heapq
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rankd.quality import Guard, GuardSettings, OutcomeReport, QualitySettings, QualityTracker, Transition
from rankd.types import GuardMode

SPEED = 25.0


@dataclass
class GuardHistory:
    """A guard's changes, each with the number of completions before it."""

    changes: list[tuple[int, Transition]] = field(default_factory=list)
    completions: int = 0
    evaluations: int = 0

    def falls(self) -> list[int]:
        """Completions before each fallback."""
        return [count for count, change in self.changes if change.to is GuardMode.FALLBACK]

    def recoveries(self) -> list[int]:
        """Completions before each return to ranking."""
        return [
            count
            for count, change in self.changes
            if change.to is GuardMode.RANKED and change.origin is GuardMode.FALLBACK
        ]


def simulate(
    phases: Sequence[tuple[int, float]], seed: int, guard: Guard | None = None, sweep: float = 30.0
) -> GuardHistory:
    """Send phases of (arrivals, rho) at one a second, each served at once, progress swept now and then.

    A ranker breaks or heals for *arrivals*: those that run at the change still carry the scores that they have.
    """
    rng = np.random.default_rng(seed)
    # The guard reads neither the plain window nor many arrivals: small ones keep days affordable.
    tracker = QualityTracker(QualitySettings(window=16, cohort=320, arrivals=1024, dedupe=256))
    guard = guard or Guard(GuardSettings(), measured=True)
    history, now, key, swept = GuardHistory(), 1.0e6, 0, 0.0
    running: dict[int, OutcomeReport] = {}
    ends: list[tuple[float, int]] = []
    for arrivals, rho in phases:
        z, e = rng.standard_normal(arrivals), rng.standard_normal(arrivals)
        lengths = np.maximum(1, np.exp(5.0 + rho * z + np.sqrt(1 - rho * rho) * e)).astype(int)
        gaps = rng.exponential(1.0, arrivals)
        for score, length, gap in zip(z.tolist(), lengths.tolist(), gaps.tolist(), strict=True):
            now += gap
            while ends and ends[0][0] <= now:
                at, done = heapq.heappop(ends)
                tracker.add(running.pop(done), at)
                history.completions += 1
                if tracker.guard_due:
                    history.evaluations += 1
                    change = guard.observe_quality(tracker.guard_snapshot(at).evaluate(), at)
                    if change:
                        history.changes.append((history.completions, change))
            key += 1
            running[key] = OutcomeReport(key, score, length, final=True, complete=True, arrival=now)
            heapq.heappush(ends, (now + length / SPEED, key))
            tracker.add(OutcomeReport(key, score, 0, final=False, complete=False, arrival=now), now)
            if now - swept > sweep:
                swept = now
                for last in running.values():
                    tokens = min(last.tokens, int((now - last.arrival) * SPEED))
                    tracker.add(OutcomeReport(last.key, last.score, tokens, False, False, last.arrival), now)
    return history


def rho_of(tau: float) -> float:
    """The Gaussian copula's correlation with this tau."""
    return float(np.sin(np.pi * tau / 2))


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard_days", description=__doc__.split("\n", 1)[0])
    parser.add_argument("days", nargs="?", type=float, default=30.0, help="of health at each tau; default: 30")
    days = parser.parse_args().days
    caught, back = [], []
    for seed in range(40):
        for tau in (0.3, 0.5):
            history = simulate([(1500, rho_of(tau)), (2500, 0.0), (2500, rho_of(tau))], seed)
            falls, recoveries = history.falls(), history.recoveries()
            caught.append(falls[0] - 1500 if falls else np.inf)
            back.append(recoveries[0] - 4000 if recoveries else np.inf)
    print(f"tau .3/.5 -> 0: caught after median {np.median(caught):.0f}, worst {max(caught):.0f} completions (80 runs)")
    print(f"0 -> tau .3/.5: back after median {np.median(back):.0f}, worst {max(back):.0f} completions")
    for tau in (0.05, 0.14, 0.165, 0.19, 0.22):
        history = simulate([(2 * 86400, rho_of(tau))], 1)
        print(f"tau {tau} for 2 days: {len(history.falls())} falls, {len(history.recoveries())} recoveries")
    for tau in (0.3, 0.5):
        begun = time.perf_counter()
        history = simulate([(int(days * 86400), rho_of(tau))], 2)
        print(
            f"tau {tau} for {days:g} days: {len(history.falls())} false falls in {history.completions} completions, "
            f"{history.evaluations} evaluations, {time.perf_counter() - begun:.0f} s",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
