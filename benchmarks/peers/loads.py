"""Closed loops of fresh prompts, and what comes of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.peers.peer import Peer
from rankd.bench.prompts import PromptSupply


@dataclass(frozen=True, slots=True)
class Load:
    """So many clients, each of which sends its next request when the one before is answered."""

    name: str
    clients: int
    prompts: int
    """Of a request."""


LOADS = (
    Load("1 request of 1", 1, 1),
    Load("32 requests of 1", 32, 1),
    Load("1 request of 32", 1, 32),
    Load("256 requests of 1", 256, 1),
    Load("1 request of 256", 1, 256),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One peer under one load in one round."""

    seconds: float
    prompts: int
    request_ms: list[float]
    server_seconds: float
    """Processor time of the peer's processes."""
    generator_seconds: float
    """That of this process."""

    @property
    def rate(self) -> float:
        """Prompts per second."""
        return self.prompts / self.seconds


@dataclass(slots=True)
class Row:
    """All rounds of a peer under a load."""

    samples: list[Sample] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Rates by round; times of all requests together; cores that were used, medians over rounds."""
        rates = [s.rate for s in self.samples]
        times = sorted(t for s in self.samples for t in s.request_ms)
        return {
            "prompts_per_second": {"median": statistics.median(rates), "min": min(rates), "max": max(rates)},
            "request_ms": {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99)},
            "requests": len(times),
            "cores_of_server": statistics.median(s.server_seconds / s.seconds for s in self.samples),
            "cores_of_generator": statistics.median(s.generator_seconds / s.seconds for s in self.samples),
            "rounds": len(rates),
        }


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed; of few values the largest.

    Args:
        ordered: from small to large, at least one.
        share: above 0, at most 1.
    """
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


async def measure(peer: Peer, load: Load, supply: PromptSupply, seconds: float) -> Sample:
    """Ask for so long, and until the last answer is there; each client's first request is not counted.

    Raises:
        RankdError: a request was not answered, or not properly.
    """
    batches = iter(lambda: supply.take(load.prompts), [])
    times: list[float] = []
    async with peer.connect(load.clients) as ask:  # type: ignore[attr-defined]
        await asyncio.gather(*(ask(next(batches)) for _ in range(load.clients)))
        server, generator = peer.processor_seconds, time.process_time()
        began = time.perf_counter()

        async def client() -> None:
            while not times or time.perf_counter() - began < seconds:
                prompts = next(batches)
                sent = time.perf_counter()
                await ask(prompts)
                times.append((time.perf_counter() - sent) * 1000)

        await asyncio.gather(*(client() for _ in range(load.clients)))
        took = time.perf_counter() - began
        return Sample(
            took,
            len(times) * load.prompts,
            times,
            peer.processor_seconds - server,
            time.process_time() - generator,
        )
