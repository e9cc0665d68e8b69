"""How what was learned proves itself, in simulation: ``python -m benchmarks.adaptation_coverage`` (an hour on a core).

Prints the tables of docs/science/adaptation_proof.md: how often the reported interval of the difference holds the
truth, how often a score that is no better comes into use, how soon one that is better does, and how soon one that
became worse is left again. ``--quick`` takes some minutes. With ``--burst`` or ``--load`` requests wait in a queue that
is served by the score in use, and are reported in that order.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.intervals import covers, defined
from benchmarks.queued_streams import Queue, QueuedStream
from rankd.adaptation.evidence import RECENT, SIZE
from rankd.adaptation.proof import EARLY, ENTER, ENTER_EARLY, LEAST, Proof
from rankd.quality.statistics.paired_comparison import PairedSample, compare

Floats = NDArray[np.float64]

SESSION = 20
LOOK = 32
"""Completions between two looks."""
BETWEEN = 0.8
"""Correlation of the ranker's score with the learned one."""
BASE = 0.5
"""Correlation of the ranker's score with the logarithm of length: a tau of .33."""


@dataclass(frozen=True, slots=True)
class Law:
    """How scores and lengths are drawn."""

    name: str
    gain: float = 0.0
    """Tau of the learned score less tau of the ranker's."""
    kind: str = "own"
    """own: with noise of its own; copy, monotone: the ranker's score, or a map of it; noisy: it, with noise on top."""
    noise: float = 0.0
    """Standard deviation of what is added to a noisy copy; the score's is 1."""
    shared: float = 0.0
    """Part of the variance that the neighbours of a session have in common."""
    censored: float = 0.0
    """Share of the completions that are cut at a random part of their length."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Completions in their order: columns of [n]."""

    base: Floats
    learned: Floats
    tokens: NDArray[np.int64]
    complete: NDArray[np.bool_]

    def joined(self, other: Stream) -> Stream:
        """This one, then the other."""
        columns = zip(self._columns(), other._columns(), strict=True)
        return Stream(*(np.concatenate(pair) for pair in columns))

    def sample(self) -> PairedSample:
        """All of it, as it is compared."""
        size = len(self.base)
        return PairedSample(
            self.learned, self.base, self.tokens, self.complete, np.zeros(size, np.int64), np.arange(size)
        )

    def _columns(self) -> tuple[NDArray[np.generic], ...]:
        return self.base, self.learned, self.tokens, self.complete


def draw(rng: np.random.Generator, size: int, law: Law) -> Stream:
    """Scores and lengths by a law."""
    better = math.sin(math.asin(BASE) + law.gain * math.pi / 2)
    root = np.linalg.cholesky([[1, BETWEEN, better], [BETWEEN, 1, BASE], [better, BASE, 1]])
    common = np.repeat(rng.standard_normal((size // SESSION + 1, 3)), SESSION, axis=0)[:size]
    own = rng.standard_normal((size, 3))
    learned, base, log = ((math.sqrt(law.shared) * common + math.sqrt(1 - law.shared) * own) @ root.T).T
    if law.kind != "own":
        learned = {"copy": base, "monotone": np.exp(base), "noisy": base + law.noise * rng.standard_normal(size)}[
            law.kind
        ]
    tokens = np.maximum(1, np.exp(5 + log)).astype(np.int64)
    complete = rng.random(size) >= law.censored
    cut = np.maximum(1, tokens * rng.random(size)).astype(np.int64)
    return Stream(base, learned, np.where(complete, tokens, cut), complete)


def switches(stream: Stream) -> list[int]:
    """After how many completions it came into use, and out of it, in turn."""
    proof, found = Proof(), []
    columns = stream.base, stream.learned, stream.tokens, stream.complete
    for row in zip(*(column.tolist() for column in columns), strict=True):
        proof.add(*row)
        if proof.seen % LOOK == 0 and proof.seen >= LOOK:
            before = proof.switches
            proof.decide(proof.evidence().evaluate(), float(proof.seen))
            if proof.switches != before:
                found.append(proof.seen)
    return found


def truth(law: Law) -> float:
    """The difference in large samples: of 8 times 100,000 completions, or where some are cut, of 400 times 2,000."""
    if not law.censored:
        return 2 / math.pi * (math.asin(math.sin(math.asin(BASE) + law.gain * math.pi / 2)) - math.asin(BASE))
    rng = np.random.default_rng(777)
    samples = [draw(rng, 2000, replace(law, shared=0.0)).sample() for _ in range(200)]
    return float(np.mean([defined(compare(sample).tau_difference).value for sample in samples]))


def coverage(law: Law, size: int, runs: int) -> float:
    """Share of runs in which the interval that is reported holds the truth."""
    rng, true = np.random.default_rng([1, size]), truth(law)
    held = []
    for _ in range(runs):
        proof, stream = Proof(size=size), draw(rng, size, law)
        for row in zip(stream.base, stream.learned, stream.tokens, stream.complete, strict=True):
            proof.add(*row)
        held.append(covers(proof.evidence().evaluate().difference, true))
    return float(np.mean(held))


def _one(law: Law, size: int, after: Law | None, queue: Queue | None, run: int) -> list[int]:
    rng = np.random.default_rng([2, run, size])
    stream = draw(rng, size, law)
    stream = stream if after is None else stream.joined(draw(rng, size, after))
    if queue is None:
        return switches(stream)
    return QueuedStream(stream.base, stream.learned, stream.tokens, stream.complete).switches(queue, rng, LOOK)


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs many streams."""

    pool: ProcessPoolExecutor
    queue: Queue | None
    """In which requests wait; None: completions come in the order of arrival."""

    def streams(self, law: Law, size: int, runs: int, after: Law | None = None) -> list[list[int]]:
        """Switches of many streams of ``size`` completions, and of as many more by another law where one is given."""
        return list(self.pool.map(partial(_one, law, size, after, self.queue), range(runs), chunksize=2))


def no_better() -> Iterator[Law]:
    """Scores that are no better than the ranker's."""
    yield Law("the same score", kind="copy")
    yield Law("a monotone map of it", kind="monotone")
    yield Law("it with noise of .1 on top", kind="noisy", noise=0.1)
    yield Law("it with noise of .5 on top", kind="noisy", noise=0.5)
    yield Law("equally good, noise of its own")
    yield Law("the same, 20 % cut short", censored=0.2)
    yield Law("the same, sessions share .3", shared=0.3)


def crossings(walks: int, wider: float) -> float:
    """Share of random walks of 5,000 steps that come into use: what equally good scores do, if intervals are exact."""
    steps = np.random.default_rng(3).standard_normal((walks, 5000))
    walk = np.concatenate((np.zeros((walks, 1)), np.cumsum(steps, axis=1)), axis=1)
    crossed = np.zeros(walks, bool)
    for at in range(LOOK * math.ceil(LEAST / LOOK), 5001, LOOK):
        size = min(at, SIZE)
        bound = wider * (ENTER_EARLY if at <= EARLY else ENTER) * math.sqrt(size)
        recent = walk[:, at] > walk[:, max(at - RECENT, 0)]
        crossed |= (walk[:, at] - walk[:, at - size] > bound) & recent
    return float(crossed.mean())


def quantiles(values: list[int]) -> str:
    """Median and 90th percentile."""
    return f"{np.median(values):.0f}, {np.quantile(values, 0.9):.0f}" if values else "never"


def _intervals(runs: int) -> None:
    print("coverage of the difference's 95 % interval")
    for law in (Law("", 0.0), Law("", 0.05), Law("", 0.05, censored=0.2), Law("", 0.05, shared=0.1)):
        cells = [f"n {size}: {coverage(law, size, 5 * runs):.3f}" for size in (200, 500, 1024)]
        print(f"gain {law.gain}, {law.censored:.0%} cut short, shared {law.shared}: {', '.join(cells)}", flush=True)
    print("into use although no better, of streams of 5,000")
    for wider in (1.0, 1.06):
        print(f"random walks, intervals {wider} times as wide: {crossings(10 * runs, wider):.2%}", flush=True)


def _switches(runner: Runner, runs: int, size: int) -> None:
    for law in no_better():
        false = sum(bool(found) for found in runner.streams(law, 5000, runs))
        print(f"{law.name}: {false} of {runs}", flush=True)
    print("completions until in use (median, 90th percentile), of streams of 3,000, and steps back of it")
    for gain in (0.02, 0.05, 0.1, 0.2):
        found = runner.streams(Law("", gain), 3000, runs // 4)
        first = [one[0] for one in found if one]
        back = sum(len(one) > 1 for one in found)
        print(f"gain {gain}: {len(first)} of {len(found)}: {quantiles(first)}; {back} stepped back", flush=True)
    print("completions until it steps back after a change (median, 90th percentile, within 200)")
    for loss in (0.05, 0.1, 0.2):
        found = runner.streams(Law("", 0.15), size, runs // 4, Law("", -loss))
        used = [[at - size for at in one if at > size][:1] for one in found if sum(at <= size for at in one) % 2]
        after = [one[0] for one in used if one]
        within = np.mean([bool(one) and one[0] <= 200 for one in used])
        print(f"+.15, then -{loss}: {quantiles(after)}, {within:.0%} of {len(used)}", flush=True)


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.adaptation_coverage", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few streams: to see that it works")
    parser.add_argument("--workers", type=int, default=2, help="processes; default: 2")
    parser.add_argument("--burst", type=int, default=0, help="requests that arrive at once, and wait in a queue")
    parser.add_argument("--load", type=float, default=0.0, help="of a queue; default: none, or .9 of bursts")
    asked = parser.parse_args()
    queue = Queue(asked.burst, asked.load or 0.9) if asked.burst or asked.load else None
    runs = 40 if asked.quick else 400
    if queue is None:
        _intervals(runs)
    with ProcessPoolExecutor(asked.workers) as pool:
        _switches(Runner(pool, queue), runs, max(1600, 2 * asked.burst))
    return 0


if __name__ == "__main__":
    sys.exit(main())
