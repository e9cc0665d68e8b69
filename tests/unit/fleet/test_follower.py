"""What a replica tells of itself, without a network."""

import asyncio
import time

from rankd.fleet.follower import replica_window_of
from rankd.monitor.monitor import Monitor
from rankd.settings import load_settings
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion

VERSION = "r@1"


def test_a_replica_tells_how_many_completions_its_sums_are_of():
    """Those that came after the last look are not decided on yet: a leader that heard of them would wait for more."""

    async def scenario():
        monitor = Monitor(load_settings(guard={"every": 100}), Telemetry("test"))
        monitor.register(VERSION, measured=True, calibration=None)

        def report(numbers):
            for n in numbers:
                now = time.time()
                monitor.report(
                    Completion(
                        f"r{n}", "llm", VERSION, n % 7, 50 * (n % 7) + n, final=True, complete=True, arrival=now
                    ),
                    now,
                )

        report(range(40))
        (window,) = monitor.reported_windows()
        assert replica_window_of(window, time.time()).sums is None
        assert replica_window_of(window, time.time()).completions == 40, "nothing was looked at: what there is"
        monitor.jobs.evaluate_guard(window, time.time())
        while (flight := monitor.jobs.evaluations.flight(window)) is not None:
            await asyncio.wait([flight])
        report(range(40, 55))
        told = replica_window_of(window, time.time())
        assert told.sums is not None
        assert (told.completions, window.tracker.completions) == (40, 55)
        monitor.close()

    asyncio.run(scenario())
