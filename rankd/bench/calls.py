"""Calls a second: one known prompt a call, the daemon alone on a core, beside gRPC's own servers with nothing to do."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rankd_client.v1 import rank_pb2

from rankd.bench.floor import EMPTY_METHOD
from rankd.bench.light_client import EndedCall, LightClient, closed_loop
from rankd.bench.process import MeasuredProcess
from rankd.bench.prompts import PromptSupply
from rankd.bench.scenarios import Figures, ProgressCallback, rank_request, spread
from rankd.errors import RankdError

RANK_METHOD = "/rankd.v1.RankService/Rank"
IN_FLIGHT = (1, 8, 32, 64)
_PROMPTS = 256
_SECONDS = 2.0
_CHECK_EVERY = 16
"""Calls of which one's answer is read: reading all would make the generator a heavy one."""


@dataclass(eq=False)
class Measured:
    """One server under measurement."""

    name: str
    process: MeasuredProcess
    client: LightClient
    messages: Sequence[bytes]
    check: Callable[[bytes, int], None]
    """Raises where an answer is not one to the message of that number."""
    runs: dict[int, list[Figures]] = field(default_factory=dict)


def calls(
    daemon: MeasuredProcess,
    floors: dict[str, MeasuredProcess],
    prompts: PromptSupply,
    rounds: int,
    on_progress: ProgressCallback,
) -> Figures:
    """Calls a second of the daemon and of each floor, in turn, at several numbers of calls under way.

    Every prompt was scored before, so that what is measured is the call and the order, and not the model.
    """
    requests = [rank_request([prompt], prefix=f"r{n}-") for n, prompt in enumerate(prompts.take(_PROMPTS))]
    messages = [request.SerializeToString() for request in requests]
    ids = [request.items[0].request_id for request in requests]

    def check_rank(body: bytes, number: int) -> None:
        answer = rank_pb2.RankResponse.FromString(body)
        if [item.request_id for item in answer.items] != [ids[number]] or answer.unscored_count:
            raise RankdError("an answer is not one to the request that was sent, or has no score")

    measured = [Measured("daemon", daemon, LightClient(daemon.target, RANK_METHOD), messages, check_rank)]
    for name, process in floors.items():
        measured.append(Measured(name, process, LightClient(process.target, EMPTY_METHOD), [b""], _check_empty))
    try:
        for each in measured:
            _measure(each, 8, _SECONDS)  # scores the prompts, and warms up
        for n in range(rounds):
            for in_flight in IN_FLIGHT:
                for each in measured:
                    each.runs.setdefault(in_flight, []).append(_measure(each, in_flight, _SECONDS))
            on_progress((n + 1) / rounds)
    finally:
        for each in measured:
            each.client.close()
    return _figures(measured)


def _check_empty(body: bytes, _: int) -> None:
    if body:
        raise RankdError("an empty method gave something")


def _measure(each: Measured, in_flight: int, seconds: float) -> Figures:
    """One run. Every status is looked at, and every so many answers."""
    times: list[float] = []
    first = each.client.begun
    used, own, began = each.process.processor_seconds, time.process_time(), time.perf_counter()
    for outcome in closed_loop(each.client, each.messages, in_flight, seconds):
        _check(each, outcome, first)
        times.append(outcome.seconds)
    wall = time.perf_counter() - began
    times.sort()
    return {
        "calls_per_second": len(times) / wall,
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[int(len(times) * 0.99)] * 1000,
        "processor_us_per_call": (each.process.processor_seconds - used) / len(times) * 1e6,
        "generator_share": (time.process_time() - own) / wall,
    }


def _check(each: Measured, outcome: EndedCall, first: int) -> None:
    if outcome.status != 0:
        raise RankdError(f"{each.name}: a call ended with status {outcome.status}")
    if outcome.number % _CHECK_EVERY == 0:
        each.check(outcome.body, (outcome.number - first) % len(each.messages))


def _figures(measured: Sequence[Measured]) -> Figures:
    """By server and calls under way: medians over the rounds, and the daemon's rate over that of each floor."""
    figures: Figures = {}
    for each in measured:
        figures[each.name] = {
            f"in_flight_{n}": {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            for n, runs in each.runs.items()
        }
    daemon, *floors = measured
    for n, runs in daemon.runs.items():
        mine = figures["daemon"][f"in_flight_{n}"]
        for floor in floors:
            pairs = zip(runs, floor.runs[n], strict=True)
            mine[f"ratio_to_{floor.name}"] = statistics.median(
                a["calls_per_second"] / b["calls_per_second"] for a, b in pairs
            )
    best = [max(run["calls_per_second"] for run in runs) for runs in zip(*daemon.runs.values(), strict=True)]
    figures["calls_per_second"] = spread(best)
    return figures
