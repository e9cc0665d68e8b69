"""What five replicas learn that take a fifth of the traffic each, against one that takes all of it.

``python -m benchmarks.adaptation_fleet --data DATA``. Real monitors, memberships and learners, in one process; what
they tell each other goes from one to the other without a network, every so many completions. Each completion is
predicted by its replica before it is learned from. Prints a row for each source and seed: tau of the ranker alone, of
one that learned from all, and of five, on the same completions; 0.01 is what the five may be below the one.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.clock import CLOCK
from rankd.fleet.follower import FleetFollower
from rankd.fleet.learning import FleetLearning
from rankd.fleet.membership import FleetMembership
from rankd.monitor.monitor import Monitor
from rankd.settings import load_settings
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion

Floats = NDArray[np.float64]
VERSION = "ranker@1"
MODEL = "m"


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests that were served, in the order of their completions, [n] each."""

    score: Floats
    """The ranker's own."""
    features: list[bytes]
    tokens: NDArray[np.int64]
    complete: NDArray[np.bool_]

    def part(self, rows: NDArray[np.int64]) -> Requests:
        """Some of them, in an order of the caller's."""
        return Requests(self.score[rows], [self.features[r] for r in rows], self.tokens[rows], self.complete[rows])


class Replica:
    """What of a daemon learns, and what it tells its peers."""

    def __init__(self, number: int) -> None:
        """Start with nothing learned; ``number`` 0 is the first that was up."""
        settings = load_settings(fleet={"peers": "peers:1"})
        telemetry = Telemetry("benchmark")
        self.monitor = Monitor(settings, telemetry)
        self.monitor.register(VERSION, measured=True, calibration=None)
        fleet = FleetMembership(settings.fleet, senior_since=number, began=time.monotonic(), instance=f"r{number}")
        self.learning = FleetLearning(fleet, self.monitor, settings, telemetry)
        self.follower = FleetFollower(fleet, self.monitor, settings, self.learning)

    async def complete(self, number: int, requests: Requests) -> float:
        """Predict one request by what was learned so far, then learn from its completion; NaN where nothing was."""
        adaptation = self.monitor.own_or_base(MODEL, VERSION).adaptation
        learned = np.nan
        if adaptation is not None:
            learned = adaptation.scores(requests.score[number : number + 1], [requests.features[number]])[0]
        now = CLOCK.now()
        completion = Completion(
            request_id=str(number),
            model=MODEL,
            ranker_version=VERSION,
            score=float(requests.score[number]),
            tokens=int(requests.tokens[number]),
            final=True,
            complete=bool(requests.complete[number]),
            arrival=now,
            features=requests.features[number],
        )
        self.monitor.report(completion, now)
        await self.settle()
        return float(learned)

    async def settle(self) -> None:
        """Wait for the work that was due."""
        jobs = self.monitor.jobs
        for window in self.monitor.reported_windows():
            while (flight := jobs.adaptations.flight(window)) is not None:
                await asyncio.wait([flight])
                await asyncio.sleep(0)

    async def ask(self, others: list[Replica]) -> None:
        """Hear what the others have, as in a round of questions."""
        for other in others:
            state, now = other.follower.state(), CLOCK.now()
            question = self.learning.question(state.instance)
            self.learning.fleet.receive(state, time.monotonic())
            if question is not None and (answer := other.learning.answer(question, now)) is not None:
                self.learning.receive(state.instance, state.learned_key_id, question, answer)
        self.follower.round_done()
        for batch in self.learning.batches():
            list(self.learning.learn(batch, CLOCK.now()))
            await self.learning.settled()
        await self.settle()


async def predicted(requests: Requests, replicas: int, every: int) -> tuple[Floats, list[Replica]]:
    """Learned scores as they were before each completion, taken in turn by so many replicas: [n].

    Args:
        requests: all of them.
        replicas: how many share them.
        every: completions, of all, between two rounds of questions.
    """
    fleet = [Replica(number) for number in range(replicas)]
    learned = np.full(len(requests.score), np.nan)
    for number in range(len(requests.score)):
        learned[number] = await fleet[number % replicas].complete(number, requests)
        if number % every == every - 1 and replicas > 1:
            for one in fleet:
                await one.ask([other for other in fleet if other is not one])
    for one in fleet:
        one.monitor.close()
    return learned, fleet
