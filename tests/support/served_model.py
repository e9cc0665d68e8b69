"""A monitor without a network, and the completions of one served model that come in."""

import asyncio
import time

from rankd_client.calibration import Calibration, Knot

from rankd.monitor.monitor import Monitor
from rankd.monitor.window import Window
from rankd.quality import ReportVerdict
from rankd.settings import Settings, load_settings
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion
from support.learned_traffic import LearnedTraffic

VERSION = "r@1"
PRIOR = Calibration((Knot(-3.0, 20.0), Knot(3.0, 900.0)), 200.0)


class Served:
    """A monitor and the completions of one model that come in."""

    def __init__(self, seed: int = 1, **settings) -> None:
        self.settings: Settings = load_settings(**settings)
        self.telemetry = Telemetry("test")
        self.monitor = Monitor(self.settings, self.telemetry)
        self.monitor.register(VERSION, measured=True, calibration=PRIOR)
        self.traffic, self.inverted = LearnedTraffic(seed), LearnedTraffic(seed, text=-0.8)
        self.reported = 0
        self._began = time.time() - 10_000

    @property
    def window(self) -> Window:
        return self.monitor.own_or_base("llm", VERSION)

    @property
    def now(self) -> float:
        """When the last report came; they come a second apart, however fast the test is."""
        return self._began + self.reported

    async def report(self, count: int, *, inverted: bool = False, features: bool = True, tenant: str = "") -> None:
        """So many completions, each final at its first report; ``inverted``: what was long by its text is short."""
        for one in (self.inverted if inverted else self.traffic).completions(count):
            self.reported += 1
            at = self.now
            completion = Completion(
                f"r{self.reported}",
                "llm",
                VERSION,
                one.score,
                one.tokens,
                final=True,
                complete=True,
                arrival=at,
                reporter=tenant,
                features=one.features if features else b"",
            )
            assert self.monitor.report(completion, at) is ReportVerdict.ACCEPTED
            if self.reported % 8 == 0:
                await self.idle()

    async def idle(self) -> None:
        """Until the worker thread has nothing to do for the window."""
        jobs = self.monitor.jobs
        kinds = (jobs.evaluations, jobs.refits, jobs.adaptations, jobs.switches, jobs.estimates)
        while flights := [f for kind in kinds if (f := kind.flight(self.window)) is not None]:
            await asyncio.wait(flights)
            await asyncio.sleep(0)

    async def until(self, learned: bool, most: int, **how) -> int:
        """Report until learned scores are in use, or are not; say how many reports it took."""
        for n in range(0, most, 8):
            if self.window.learned_in_use is learned:
                return n
            await self.report(8, **how)
        return most


def in_loop(scenario):
    """Run a test's coroutine."""
    asyncio.run(asyncio.wait_for(scenario, 120))
