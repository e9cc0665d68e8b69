"""A day by a script, beside what was true: ``PYTHONPATH=tests python -m soak.scripted_day``; ``make day``.

A real daemon by a clock that the script sets, with real ports, registry, completion log and command lines. Its requests
are served by the simulated engine of ``rankd replay``, whose every next request the daemon names; the same requests in
arrival order on the same engine are what it is held against. At each point page (in Chromium too, where there is one),
``/status.json``, metrics, ``rankd status`` and ``rankd rankers`` are read. Printed are what they said, what was true,
what was not true, and how many intervals of saved seconds held the truth. Some two minutes a day, one with ``--short``.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from support.browser import CHROMIUM, Chromium

from soak.scripted_day.day import Day, Point
from soak.scripted_day.script import full_day, short_day
from soak.scripted_day.truth import Coverage

BAR = (0.93, 0.97)


def show(point: Point) -> None:
    """A line of the table, and below it what is not true."""
    at = time.strftime("%H:%M:%S", time.gmtime(point.at))
    told = f"{point.state} | {point.said} | {point.true} | {point.lately} | {point.headline}"
    print(f"| {at} | {point.name} | {point.ranker}, {point.order} | {told} |")
    for sentence in point.untrue:
        print(f"|  | **not true**: {sentence} | | | | | | |")
    sys.stdout.flush()


def run(seed: int, *, short: bool, torch: bool) -> Day:
    """One day."""
    print(f"\nday {seed}\n")
    print("| time | point | serves | state | mean saved as told, s | true | true of the last hour | headline |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as profile:
        browser = Chromium(profile) if CHROMIUM else None
        day = Day(Path(directory), seed=seed, on_point=show, browser=browser)
        try:
            if short:
                short_day(day)
            else:
                full_day(day, retrains=torch)
        finally:
            day.close()
            if browser is not None:
                browser.close()
    return day


def main() -> int:
    """Print the tables; 1 where anything was not true."""
    parser = argparse.ArgumentParser(prog="python -m soak.scripted_day", description=__doc__)
    parser.add_argument("--days", type=int, default=1, help="each another one")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--short", action="store_true", help="the form of the suite")
    parser.add_argument("--no-retrain", action="store_true", help="as where torch is not installed")
    given = parser.parse_args()
    coverage, untrue = Coverage(), 0
    for seed in range(given.seed, given.seed + given.days):
        day = run(seed, short=given.short, torch=not given.no_retrain)
        coverage.and_also(day.coverage)
        untrue += sum(len(point.untrue) for point in day.points)
    print("", *coverage.lines(), "", *coverage.missed, sep="\n")
    share = coverage.held.total() / max(coverage.told.total(), 1)
    wanted = " to ".join(f"{bound:.0%}" for bound in BAR)
    print(f"\n{untrue} sentences were not true; {share:.1%} of intervals held the truth ({wanted} wanted)")
    return int(untrue > 0)


if __name__ == "__main__":
    sys.exit(main())
