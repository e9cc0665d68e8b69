"""Well-behaved callers: short queues at an even rate, each with a deadline; how many are answered in time.

``python -m attacks.callers TARGET SECONDS [--rate 40] [--deadline .05]`` prints a line of JSON. It is the
distance of a load generator that never waits for an answer before it sends the next.
"""

import argparse
import asyncio
import collections
import json
import random
import sys
import time

import grpc
from support.wire import item, rank_stub, request

WORDS = ["write", "a", "story", "list", "of", "cats", "explain", "why", "sky", "blue", "translate", "code", "in"]


def queue(rng: random.Random, length: int = 4):
    """A queue of new prompts."""
    rows = [item(f"{rng.random()}", " ".join(rng.choices(WORDS, k=12))) for _ in range(length)]
    return request(*rows, model="caller")


async def call(stub, rng, deadline, seen):
    """One call, and how it ended."""
    began = time.perf_counter()
    try:
        await stub.Rank(queue(rng), timeout=deadline)
        seen["OK"].append(time.perf_counter() - began)
    except grpc.RpcError as error:
        seen[error.code().name].append(time.perf_counter() - began)


async def calls(target: str, seconds: float, rate: float, deadline: float) -> dict[str, list[float]]:
    """Call for so long; give seconds by status."""
    rng, seen, running = random.Random(), collections.defaultdict(list), set()
    async with grpc.aio.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = rank_stub(channel)
        await stub.Rank(queue(rng), timeout=10, wait_for_ready=True)
        began = time.perf_counter()
        for n in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, began + n / rate - time.perf_counter()))
            task = asyncio.create_task(call(stub, rng, deadline, seen))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
    return seen


def summary(seen: dict[str, list[float]]) -> dict[str, object]:
    """Counts by status, the share in time and the latency of those, in milliseconds."""
    total = sum(map(len, seen.values()))
    times = sorted(seen.get("OK", [])) or [float("nan")]
    return {
        "calls": total,
        "in_time": len(seen.get("OK", [])) / total,
        "p50_ms": round(1e3 * times[len(times) // 2], 2),
        "p99_ms": round(1e3 * times[int(len(times) * 0.99)], 2),
        "statuses": {k: len(v) for k, v in sorted(seen.items())},
    }


def main() -> int:
    """Call, and say how it went."""
    parser = argparse.ArgumentParser(prog="attacks.callers", description=__doc__)
    parser.add_argument("target")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--rate", type=float, default=40.0)
    parser.add_argument("--deadline", type=float, default=0.05)
    given = parser.parse_args()
    print(json.dumps(summary(asyncio.run(calls(given.target, given.seconds, given.rate, given.deadline)))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
