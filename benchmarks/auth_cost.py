"""What credentials and signatures cost, and whether time tells a token: ``python -m benchmarks.auth_cost``.

Figures of docs/measurements/2026-11-25-parts.md. Needs no daemon; it takes half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from rankd_client.v1 import prediction_pb2

from rankd.auth import Credential, Credentials, SigningKeys, digest_of
from rankd.transport.signing import canonical
from rankd.transport.time_slices import TimeSlices

_QUEUE = 16_384
_BLOCKS, _PER_BLOCK = 4000, 20


def main() -> int:
    """Measure all, and print it."""
    argparse.ArgumentParser(prog="python -m benchmarks.auth_cost", description=__doc__.partition(":")[0]).parse_args()
    tokens()
    signatures()
    asyncio.run(time_slices())
    return 0


def tokens() -> None:
    """Look up guesses that share ever more of a token, in random order, and compare the times."""
    token = secrets.token_urlsafe(32)
    others = [secrets.token_urlsafe(32) for _ in range(99)]
    credentials = Credentials([_credential(n, t) for n, t in enumerate([token, *others])], [], {})
    shared = (0, 0, 0, 1, 8, 21, 42)  # those without any are each other's control
    guesses = [token[:n] + secrets.token_urlsafe(48)[: len(token) - n] for n in shared]
    times: list[list[float]] = [[] for _ in guesses]
    chance = np.random.default_rng(0)
    for _ in range(_BLOCKS):
        for which in chance.permutation(len(guesses)).tolist():
            began = time.perf_counter_ns()
            for _ in range(_PER_BLOCK):
                credentials.token(digest_of(guesses[which]))
            times[which].append((time.perf_counter_ns() - began) / _PER_BLOCK)
    print(f"a token looked up among 100: {statistics.median(times[0]) / 1000:.1f} us")
    for n, found in zip(shared[1:], times[1:], strict=True):
        median = statistics.median(found)
        print(f"  {n:2} of {len(token)} characters right: median {median:.0f} ns, {_apart(found, times[0])}")


def _apart(one: Sequence[float], other: Sequence[float]) -> str:
    """The mean difference of two samples taken side by side, without the most extreme tenth, in its own error."""
    differences = np.sort(np.array(one) - np.array(other))
    trimmed = differences[len(differences) // 20 : -(len(differences) // 20)]
    error = trimmed.std(ddof=1) / math.sqrt(len(trimmed))
    return f"{trimmed.mean():+.2f} ns ± {1.96 * error:.2f} against none right"


def _credential(number: int, token: str) -> Credential:
    return Credential(f"t{number}", "", frozenset(), digest=digest_of(token))


def _example() -> prediction_pb2.Prediction:
    prediction = prediction_pb2.Prediction(
        score=1.5,
        ranker_version="minilm-l6@1.0.0",
        expected_token_count=321.5,
        p50_token_count=200.0,
        p90_token_count=900.0,
        tenant="team-a",
    )
    prediction.scored_at.seconds, prediction.scored_at.nanos = 1_764_000_000, 123_456_789
    return prediction


def signatures() -> None:
    """Sign and verify one prediction again and again."""
    keys, prediction, request = (
        SigningKeys({"k1": secrets.token_bytes(32)}),
        _example(),
        f"chatcmpl-{secrets.token_hex(16)}",
    )

    def sign() -> None:
        prediction.key_id = keys.first
        prediction.signature = keys.sign(canonical(prediction, request, "llama"))

    def verify() -> None:
        keys.verify(prediction.key_id, prediction.signature, canonical(prediction, request, "llama"))

    print(f"a prediction signed: {_best(sign):.1f} us, verified: {_best(verify):.1f} us")


def _best(step: Callable[[], None], steps: int = 20_000) -> float:
    """Microseconds a step takes in the best of five rounds."""
    rounds = []
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(steps):
            step()
        rounds.append((time.perf_counter() - began) / steps * 1e6)
    return min(rounds)


async def time_slices() -> None:
    """Sign a long queue in time slices, and see how late a task beside it is."""
    keys, lateness = SigningKeys({"k1": secrets.token_bytes(32)}), [0.0]
    predictions = [_example() for _ in range(_QUEUE)]

    async def beside() -> None:
        while True:
            due = time.perf_counter() + 0.001
            await asyncio.sleep(0.001)
            lateness.append(time.perf_counter() - due)

    watching = asyncio.create_task(beside())
    began = time.perf_counter()
    async with TimeSlices().acquire() as time_slice:
        for n, prediction in enumerate(predictions):
            if n % 32 == 0 and time_slice.over:
                await time_slice.next()
            prediction.signature = keys.sign(canonical(prediction, f"request-{n}", "llama"))
    took = time.perf_counter() - began
    watching.cancel()
    late = sorted(lateness)
    print(
        f"{_QUEUE} predictions signed in time slices: {took * 1000:.0f} ms; a task beside it is late by "
        f"{late[len(late) // 2] * 1000:.1f} ms in the median, {late[-1] * 1000:.1f} ms at most"
    )


if __name__ == "__main__":
    sys.exit(main())
