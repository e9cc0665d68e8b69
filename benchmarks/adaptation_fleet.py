"""What five replicas learn that take a fifth of the traffic each, against one that takes all of it.

``python -m benchmarks.adaptation_fleet --data DATA``. Real monitors, memberships and learners, in one process; what
they tell each other goes from one to the other without a network, every so many completions. Each completion is
predicted by its replica before it is learned from. Prints a row for each source and seed: tau of the ranker alone, of
one that learned from all, and of five, on the same completions. Half a minute for a source and seed.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from benchmarks.rankers.sources import DATA_HELP
from rankd.clock import CLOCK
from rankd.fleet.follower import FleetFollower
from rankd.fleet.learning import FleetLearning
from rankd.fleet.membership import FleetMembership
from rankd.monitor.monitor import Monitor
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import ranker_path
from rankd.settings import load_settings
from rankd.telemetry.telemetry import Telemetry
from rankd.training.data.dataset import read_dataset
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.types import Completion

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
VERSION = "ranker@1"
MODEL = "m"
SOURCES = {
    "flask": "flask__gpt4",
    "halueval2": "halueval2__chatgpt",
    "instructwild": "instructwild_v2__Llama-3.2-3B-Instruct",
    "so_chatgpt": "so_chatgpt__gpt-3.5-turbo",
    "alpaca20k": "alpaca20k-seqsched__vicuna-7b",
    "alpaca52k": "alpaca52k__text-davinci-003",
}
"""Files by name."""


@dataclass(frozen=True, slots=True)
class CompletedRequests:
    """Requests that were served, in the order of their completions, [n] each."""

    score: Floats
    """The ranker's own."""
    features: list[bytes]
    tokens: Ints
    complete: NDArray[np.bool_]


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

    async def complete(self, number: int, requests: CompletedRequests) -> float:
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
            while flight := jobs.adaptations.flight(window) or jobs.switches.flight(window):
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


async def predicted(requests: CompletedRequests, replicas: int, every: int) -> tuple[Floats, list[Replica]]:
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


def read(ranker: OfflineRanker, path: Path, most: int, seed: int) -> CompletedRequests:
    """Rows of a file in random order, scored."""
    rows = read_dataset([path]).rows
    order = np.random.default_rng(seed).permutation(len(rows))[:most]
    rows = [rows[place] for place in order.tolist()]
    scored = ranker.scored([row.prompt for row in rows])
    return CompletedRequests(
        np.array([one.score for one in scored]),
        [ranker.hasher.pack(one.text) for one in scored],
        np.array([row.tokens for row in rows]),
        np.array([row.complete for row in rows]),
    )


def tau(scores: Floats, requests: CompletedRequests, rows: Ints) -> float:
    """Of those of the rows that are complete and have a score."""
    rows = rows[requests.complete[rows] & np.isfinite(scores[rows])]
    return float(kendalltau(scores[rows], requests.tokens[rows]).statistic)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=DATA_HELP)
    parser.add_argument("--ranker", default="ngram", help="a bundled ranker")
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--completions", type=int, default=1500, help="of each source, learned from while predicted")
    parser.add_argument("--every", type=int, default=20, help="completions, of all, between two rounds of questions")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sources", nargs="*", default=list(SOURCES), choices=list(SOURCES))
    arguments = parser.parse_args()
    ranker = OfflineRanker(load_artifact(ranker_path(arguments.ranker)))
    print("source, seed, completions: tau of the ranker, of one, of all; difference")
    differences = []
    for name in arguments.sources:
        for seed in range(arguments.seeds):
            requests = read(ranker, arguments.data / f"{SOURCES[name]}.jsonl.gz", arguments.completions, seed)
            one, _ = asyncio.run(predicted(requests, 1, arguments.every))
            all_of_them, _ = asyncio.run(predicted(requests, arguments.replicas, arguments.every))
            # What the first few hundred were predicted by is noise at both.
            rows = np.arange(200, len(one))
            base, alone, together = (tau(scores, requests, rows) for scores in (requests.score, one, all_of_them))
            differences.append(together - alone)
            print(f"{name}, {seed}, {len(rows)}: {base:.3f}, {alone:.3f}, {together:.3f}; {differences[-1]:+.3f}")
    print(f"mean difference {np.mean(differences):+.4f}, least {min(differences):+.4f}")


if __name__ == "__main__":
    main()
