"""What the intervals and the stop of a pilot are worth: ``python -m benchmarks.pilot_coverage [BLOCKS]``.

A simulated queue (``pilot_simulation``) runs for so many blocks (48,000 by default, 40 minutes), is cut into pilots,
and each pilot's intervals are held against what is known to be true. Prints the tables of
docs/measurements/2026-11-25-pilot-coverage.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.pilot_simulation import Orders, Traffic, slot_statistics
from rankd.pilot.interval import typical_interval
from rankd.pilot.latency import METRICS
from rankd.pilot.pilot import HARM_ALPHA
from rankd.pilot.sequence import log_evidence

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LENGTHS = (12, 24, 48, 96)
_SAME = Orders(control=0.0, treatment=0.0)
_HARMS = (1.1, 1.2, 1.5, 2.0)


@dataclass(frozen=True, slots=True)
class Run:
    """A long switchback: log ratios by block, and what they are in the mean over both orders of the block's slots."""

    differences: Floats
    """[blocks, 4]"""
    own: Floats
    """[blocks, 4]: from the same traffic run twice, the second time with every block's order turned round."""

    @property
    def everywhere(self) -> Floats:
        """The effect over all the traffic there is, [4]."""
        mean: Floats = self.own.mean(axis=0)
        return mean


def run(traffic: Traffic, orders: Orders, blocks: int, seed: int) -> Run:
    """Simulate a long switchback, and its other half."""
    ways = [slot_statistics(traffic, orders, blocks, seed, swapped=s) for s in (False, True)]
    first, second = (treatment - control for control, treatment in ways)
    return Run(first, (first + second) / 2.0)


def pilots(rows: Floats, length: int) -> Floats:
    """Rows cut into pilots: [pilots, length, 4]."""
    return rows[: len(rows) // length * length].reshape(-1, length, rows.shape[1])


def fixed_coverage(long: Run, length: int) -> tuple[Floats, Floats]:
    """Share of pilots whose interval holds the effect of all traffic, and that of the pilot's own; [4] each."""
    hits = np.zeros((2, 4))
    cut = pilots(long.differences, length)
    for differences, own in zip(cut, pilots(long.own, length), strict=True):
        bounds = typical_interval(differences)
        assert bounds is not None
        low, high = bounds
        hits[0] += (low <= long.everywhere) & (long.everywhere <= high)
        hits[1] += (low <= own.mean(axis=0)) & (own.mean(axis=0) <= high)
    return hits[0] / len(cut), hits[1] / len(cut)


def sequence_coverage(long: Run, length: int, most: int = 1000) -> tuple[Floats, Floats]:
    """Share of pilots in which the sequence never misses, looked at after every block; [4] each, as above."""
    hits = np.zeros((2, 4))
    cut, owns = pilots(long.differences, length)[:most], pilots(long.own, length)
    blocks = np.arange(1, length + 1)
    for differences, own in zip(cut, owns, strict=False):
        so_far = np.cumsum(own, axis=0) / blocks[:, None]
        for metric in range(4):
            target = np.full(length, long.everywhere[metric])
            hits[0, metric] += never_misses(differences[:, metric], target)
            hits[1, metric] += never_misses(differences[:, metric], so_far[:, metric])
    return hits[0] / len(cut), hits[1] / len(cut)


def never_misses(differences: Floats, targets: Floats, alpha: float = 0.05) -> bool:
    """Whether the sequence holds its target after every block."""
    limit = math.log(2.0 / alpha)
    for blocks, target in enumerate(targets.tolist(), 1):
        if blocks * math.log(2.0) < limit:
            continue
        rest = differences[:blocks] - target
        if log_evidence(rest) >= limit or log_evidence(-rest) >= limit:
            return False
    return True


def stopped_at(differences: Floats, tolerance: float) -> int | None:
    """After how many blocks a pilot stops for harm; None where it never does."""
    limit = math.log(1.0 / HARM_ALPHA)
    for blocks in range(1, len(differences) + 1):
        if log_evidence(differences[:blocks] - math.log1p(tolerance)) >= limit:
            return blocks
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Print all tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pilot_coverage", description=__doc__.partition(":")[0])
    parser.add_argument("blocks", nargs="?", type=int, default=48_000, help="of each scenario; default: 48000")
    blocks = parser.parse_args(argv).blocks
    calm, restless = Traffic(unrest=0.15), Traffic(unrest=0.25)
    _print("coverage in %, fixed: all traffic / own; sequence: all / own; mean p50 p90 p99")
    _coverage("constant effect", restless, _SAME, blocks)
    for memory in (0.5, 2.0, 8.0):
        _coverage(f"shortest first, memory {memory:g}", Traffic(unrest=0.15, memory=memory), Orders(), blocks)
    _coverage("shortest first, restless", restless, Orders(), blocks)
    _coverage("due", calm, Orders(treatment=5.0), blocks)
    _harm(restless, blocks)
    return 0


def _coverage(name: str, traffic: Traffic, orders: Orders, blocks: int) -> None:
    long = run(traffic, orders, blocks, 7)
    spread = long.differences.std(axis=0)
    _print(f"{name}: ratios {_row(np.exp(long.everywhere), 2)}, spread of a block's log ratio {_row(spread, 2)}")
    for length in _LENGTHS:
        fixed = [100 * share for share in fixed_coverage(long, length)]
        sequence = [100 * share for share in sequence_coverage(long, length)]
        count = blocks // length
        _print(
            f"  {length} blocks ({count} pilots): fixed {_row(fixed[0])} / {_row(fixed[1])}; "
            f"sequence ({min(count, 1000)}) {_row(sequence[0])} / {_row(sequence[1])}"
        )


def _harm(traffic: Traffic, blocks: int) -> None:
    """False stops where nothing differs, and how soon harm is found that was put in."""
    length = 96
    cut = pilots(run(traffic, _SAME, blocks, 11).differences, length)
    for tolerance in (0.0, 0.1):
        stops = [100 * np.mean([stopped_at(p[:, m], tolerance) is not None for p in cut]) for m in range(4)]
        _print(f"no effect, tolerance {tolerance:g}, {len(cut)} pilots of {length}: stopped {_row(np.array(stops), 2)}")
    for harm in _HARMS:
        when = [stopped_at(p[:, METRICS.index(METRICS[-1])] + math.log(harm), 0.1) for p in cut]
        found = [w for w in when if w is not None]
        median = f"{np.median(found):.0f}" if found else "-"
        _print(f"p99 times {harm:g}, tolerance .1: stopped {100 * len(found) / len(cut):.1f} %, median block {median}")


def _row(values: Floats, digits: int = 1) -> str:
    return " ".join(f"{v:.{digits}f}" for v in values)


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
