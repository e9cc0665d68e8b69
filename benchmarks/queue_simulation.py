"""A multi-slot queue served by score, and the reports that its engine would send: for judging the estimators."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rankd.quality import UNKNOWN_PROMPT, OutcomeReport, QualityTracker

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SPEED = 25.0
"""Tokens per second and slot."""


@dataclass
class ServedQueue:
    """What happened to every request, [n]: times in seconds, infinite where it has not happened."""

    score: Floats
    length: Ints
    arrival: Floats
    start: Floats
    end: Floats
    prompt: Ints | None = None
    """Prompt tokens; None where nobody counts them."""


def draw(kind: str, n: int, rng: np.random.Generator, rho: float = 0.75) -> tuple[Floats, Ints]:
    """Scores and lengths, [n] each, with a dependence of the named kind; all but the first break the model."""
    z, e = rng.standard_normal(n), rng.standard_normal(n)
    rest = np.sqrt(1 - rho**2)
    if kind == "gauss":
        log = rho * z + rest * e
    elif kind == "hetero":  # longer answers vary more
        log = rho * z + rest * e * np.exp(0.35 * z)
    elif kind == "hetero-":  # longer answers vary less
        log = rho * z + rest * e * np.exp(-0.35 * z)
    elif kind == "saturating":  # the ranker cannot tell long from very long
        log = 1.3 * np.tanh(0.9 * z) * rho + rest * e
    elif kind == "convex":  # the ranker tells the long ones apart best
        log = rho * (np.exp(0.5 * z) - 1.1) * 1.6 + rest * e
    elif kind == "heavy":  # outliers: Student's t with 3 degrees of freedom
        log = rho * z + 0.75 * rest * e / np.sqrt(rng.chisquare(3, n) / 3)
    elif kind == "mixture":  # one request in six has nothing to do with its score
        log = np.where(rng.random(n) < 1 / 6, e, 0.85 * z + np.sqrt(1 - 0.85**2) * e)
    else:
        raise ValueError(kind)
    length = np.clip(np.exp(np.minimum(5.0 + log, 20.0)), 1, 200_000).astype(np.int64)
    # Any increasing transformation of the score is the same ranker.
    return np.exp(1.3 * z), length


KINDS = ("gauss", "hetero", "hetero-", "saturating", "convex", "heavy", "mixture")


def serve(
    score: Floats,
    length: Ints,
    load: float,
    rng: np.random.Generator,
    *,
    slots: int = 16,
    policy: str = "score",
    key: Floats | None = None,
) -> ServedQueue:
    """Serve Poisson arrivals, non-preemptively, lowest key first: the score, the arrival, or what is given."""
    n = len(score)
    rate = load * slots * SPEED / float(np.mean(length))
    arrival = np.cumsum(rng.exponential(1 / rate, n)) + 1.0
    if key is None:
        key = score if policy == "score" else arrival
    start, end = np.full(n, np.inf), np.full(n, np.inf)
    busy, last = [0.0] * slots, float(arrival[-1])
    queue: list[tuple[float, int]] = []
    i = 0
    while True:
        free = busy[0]
        while i < n and arrival[i] <= free:
            heapq.heappush(queue, (key[i], i))
            i += 1
        if not queue:
            if i == n:
                break
            heapq.heappush(queue, (key[i], i))
            free = float(arrival[i])
            i += 1
        if free > last:
            break
        _, j = heapq.heappop(queue)
        start[j], end[j] = free, free + length[j] / SPEED
        heapq.heapreplace(busy, end[j])
    return ServedQueue(score, length, arrival, start, end)


def feed(
    tracker: QualityTracker,
    run: ServedQueue,
    *,
    now: float | None = None,
    cap: ArrayLike | None = None,
    every: float = 30.0,
) -> float:
    """Report every arrival, progress in sweeps, and every end up to ``now`` (the last arrival by default).

    Args:
        tracker: gets the reports.
        run: what happened.
        now: seconds.
        cap: tokens at which each answer is cut, [n] or one for all.
        every: seconds between two sweeps.

    Returns:
        ``now``.
    """
    now = float(run.arrival[-1]) if now is None else now
    caps = np.broadcast_to(np.asarray(2**31 - 1 if cap is None else cap), run.length.shape)
    seen = np.minimum(run.length, caps)
    end = run.start + seen / SPEED
    events = [(t, 0, i) for i, t in enumerate(run.arrival.tolist()) if t <= now]
    events += [(t, 1, i) for i, t in enumerate(end.tolist()) if t <= now]
    events += [(t, 2, -1) for t in np.append(np.arange(every, now, every)[-2:], now).tolist()]
    for t, what, i in sorted(events):
        which = [i] if what < 2 else np.flatnonzero((run.arrival <= t) & (end > t)).tolist()
        for j in which:
            done = 0 if what == 0 or run.start[j] > t else int((t - run.start[j]) * SPEED)
            tokens = int(seen[j]) if what == 1 else min(done, int(seen[j]))
            complete = what == 1 and bool(run.length[j] <= caps[j])
            report = OutcomeReport(
                int(j),
                float(run.score[j]),
                tokens,
                what == 1,
                complete,
                float(run.arrival[j]),
                prompt=UNKNOWN_PROMPT if run.prompt is None else int(run.prompt[j]),
            )
            tracker.add(report, t)
    return now
