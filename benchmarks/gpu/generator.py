"""Load from a process of its own: ``python -m benchmarks.gpu.generator`` reads a job, makes its requests, then sends.

Requests are made and serialised beforehand; of an answer only the number of unscored prompts is looked at.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import grpc
from rankd_client.v1 import rank_pb2

from benchmarks.gpu.child import tell
from benchmarks.gpu.prompts import texts, tokeniser_of
from rankd.bench.scenarios import rank_request
from rankd.registry.artifact import load_artifact

_METHOD = "/rankd.v1.RankService/Rank"
_TIMEOUT = 60.0
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
]


class Counted:
    """What came back."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.failed = self.unscored = 0
        self.seconds: list[float] = []
        self.reasons: set[str] = set()

    def took(self, seconds: float) -> None:
        """Note a call whose prompts were all scored."""
        self.seconds.append(seconds)

    def row(self, items: int, seconds: float) -> dict[str, Any]:
        """Sums, and how long each call took, ms."""
        return {
            "prompts": len(self.seconds) * items, "calls": len(self.seconds), "failed": self.failed,
            "unscored": self.unscored, "seconds": seconds, "ms": [round(1e3 * s, 3) for s in self.seconds],
            "reasons": sorted(self.reasons)[:3],
        }  # fmt: skip


def payloads(job: dict[str, Any]) -> list[bytes]:
    """Requests in their bytes, each of other prompts."""
    tokeniser = tokeniser_of(load_artifact(Path(job["ranker"])))
    prompts = texts(job["workload"], job["items"] * job["payloads"], tokeniser, seed=job["seed"])
    cut = [prompts[i : i + job["items"]] for i in range(0, len(prompts), job["items"])]
    return [rank_request(part, f"{job['seed']}-{n}-").SerializeToString() for n, part in enumerate(cut)]


async def closed_loop(job: dict[str, Any], run: dict[str, Any], requests: list[bytes]) -> dict[str, Any]:
    """Always so many calls in flight to each daemon; what ends before ``warm`` seconds is not counted."""
    counted, turns = Counted(), cycle(requests)
    start = time.perf_counter() + run["warm"]
    end = start + run["seconds"]

    async def work(call: Any) -> None:
        while (now := time.perf_counter()) < end:
            if await _answered(call, next(turns), counted) and start <= (after := time.perf_counter()) <= end:
                counted.took(after - now)

    calls, close = _calls(run["targets"])
    await asyncio.gather(*(work(call) for call in calls for _ in range(run["in_flight"])))
    await close()
    return counted.row(job["items"], run["seconds"])


async def open_loop(job: dict[str, Any], run: dict[str, Any], requests: list[bytes]) -> dict[str, Any]:
    """Calls at Poisson times, whatever comes back; a call's time counts from when it was due."""
    counted, turns = Counted(), cycle(requests)
    draw = random.Random(job["seed"])  # noqa: S311 - nothing secret
    calls, close = _calls(run["targets"])
    targets = cycle(calls)
    due = time.perf_counter()
    start = due + run["warm"]
    tasks: set[asyncio.Task[None]] = set()
    behind = 0.0

    async def work(call: Any, request: bytes, since: float) -> None:
        if await _answered(call, request, counted) and since >= start:
            counted.took(time.perf_counter() - since)

    while (due := due + draw.expovariate(run["rate"])) < start + run["seconds"]:
        if (ahead := due - time.perf_counter()) > 0:
            await asyncio.sleep(ahead)
        behind = max(behind, time.perf_counter() - due)
        task = asyncio.create_task(work(next(targets), next(turns), due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    await close()
    return {**counted.row(job["items"], run["seconds"]), "behind_ms": 1e3 * behind}


def _calls(targets: list[str]) -> tuple[list[Any], Any]:
    """A raw call of each daemon, and what closes their channels."""
    channels = [grpc.aio.insecure_channel(target, options=_OPTIONS) for target in targets]

    async def close() -> None:
        await asyncio.gather(*(channel.close() for channel in channels))

    return [channel.unary_unary(_METHOD) for channel in channels], close


async def _answered(call: Any, request: bytes, counted: Counted) -> bool:
    """Make a call; False where it failed or left a prompt without a score."""
    try:
        answer = await call(request, timeout=_TIMEOUT)
    except grpc.aio.AioRpcError as error:
        counted.failed += 1
        counted.reasons.add(error.code().name)
        await asyncio.sleep(0.01)
        return False
    unscored = rank_pb2.RankResponse.FromString(answer).unscored_count
    counted.unscored += unscored
    return not unscored


def main() -> None:
    """Read a job, say ``ready``, then for each line, a run, send and tell what came back; until stdin ends."""
    job = json.loads(sys.stdin.readline())
    requests = payloads(job)
    tell({"ready": len(requests)})
    for line in sys.stdin:
        run = json.loads(line)
        tell(asyncio.run((open_loop if run.get("rate") else closed_loop)(job, run, requests)))


if __name__ == "__main__":
    main()
