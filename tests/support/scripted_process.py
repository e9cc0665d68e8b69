"""``rankd`` whose clock a script sets: ``python scripted_process.py CLOCK ... VERB ...``.

``CLOCK`` is a file of a ``ScriptedClock``. All that rankd and its client tell by the machine's clock, or by the
daemon's own, is then the script's time; deadlines and pauses stay real. The daemon tells the script by the same file
until when it is settled: all that was due by then is done and shown.
"""

import mmap
import sys
import time
from contextlib import contextmanager
from pathlib import Path

VERBS = ("serve", "status", "rank", "promote", "rollback", "rankers", "pilot", "retrain", "train", "evaluate")
SIZE = 16
_REAL_TIME, _REAL_MONOTONIC = time.time, time.monotonic
_EPOCH_OF_MONOTONIC = 1_000_000_000.0
_OURS = ("rankd", "rankd_client")
_TICK = 0.05
"""Seconds between two looks of the daemon: it works off in moments what a script makes of hours."""


class ClockFile:
    """Two numbers that processes share: the time, and until when the daemon is settled."""

    def __init__(self, path):
        with Path(path).open("r+b") as file:
            # Native doubles: each is read and written at once, never half of one and half of the next.
            self._numbers = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("d")

    @property
    def now(self):
        return self._numbers[0]

    @now.setter
    def now(self, seconds):
        self._numbers[0] = seconds

    @property
    def settled(self):
        return self._numbers[1]

    @settled.setter
    def settled(self, seconds):
        self._numbers[1] = seconds


def _asks(names):
    """Whether the caller's caller is of these packages, or modules."""
    name = sys._getframe(2).f_globals.get("__name__", "")
    return name in names or name.partition(".")[0] in names


@contextmanager
def following(clock):
    """Let rankd and its client tell the script's time; grpc and asyncio go on with the machine's."""
    before = time.time, time.monotonic
    time.time = lambda: clock.now if _asks(_OURS) else _REAL_TIME()
    time.monotonic = lambda: clock.now - _EPOCH_OF_MONOTONIC if _asks(("rankd.clock.steady",)) else _REAL_MONOTONIC()
    try:
        yield
    finally:
        time.time, time.monotonic = before  # another may be around


def tell_when_settled(clock):
    """Let the daemon look often, say when it is settled, and show each time what is so then."""
    from rankd import daemon
    from rankd.monitor.jobs import SingleFlight
    from rankd.monitor.monitor import Monitor
    from rankd.status import status

    daemon._TICK = _TICK
    status._FRESH = 0.0
    tick, quiet = Monitor.tick, [0.0]

    def ticked(monitor, now):
        # Of the look before: between the two, all that a look brings was shown.
        clock.settled = quiet[0]
        tick(monitor, now)
        jobs = [job for job in vars(monitor.jobs).values() if isinstance(job, SingleFlight)]
        quiet[0] = 0.0 if any(job._flights for job in jobs) else now

    Monitor.tick = ticked


def main(arguments):
    """Run a verb of rankd by the script's clock."""
    clock = ClockFile(arguments[0])
    rest = arguments[next(i for i, argument in enumerate(arguments) if argument in VERBS) :]
    with following(clock):
        from rankd.cli import main

        if rest[0] == "serve":
            tell_when_settled(clock)
        return main(rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
