"""Overload: more single prompts than the model can read, each with an engine's deadline, from a light generator."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import grpc
from rankd_client.v1 import rank_pb2, rank_pb2_grpc

from rankd.bench.calls import RANK_METHOD
from rankd.bench.light_client import EndedCall, LightClient, open_loop
from rankd.bench.process import MeasuredProcess
from rankd.bench.prompts import PromptSupply
from rankd.bench.scenarios import DEADLINE, OPTIONS, Figures, ProgressCallback, rank_request, saturate, spread

TIMES_CAPACITY = 4


def overload(daemon: MeasuredProcess, prompts: PromptSupply, seconds: float, on_progress: ProgressCallback) -> Figures:
    """Single prompts at four times the capacity, open loop, each with an engine's deadline; then after a pause."""
    capacity = asyncio.run(saturate(daemon.target, prompts.take(600)))
    figures = _open_loop(daemon, prompts, TIMES_CAPACITY * capacity, seconds, on_progress)
    time.sleep(5)
    with grpc.insecure_channel(daemon.target, options=OPTIONS) as channel:
        stub = rank_pb2_grpc.RankServiceStub(channel)
        grpc.channel_ready_future(channel).result(timeout=30)
        ranked = 0
        for _ in range(100):
            with suppress(grpc.RpcError):  # late, and so not ranked
                ranked += stub.Rank(rank_request([next(prompts)]), timeout=DEADLINE).unscored_count == 0
            time.sleep(0.02)
    return {"capacity_prompts_per_second": capacity, **figures, "ranked_of_100_after_5_s": ranked}


def _open_loop(
    daemon: MeasuredProcess, prompts: PromptSupply, rate: float, seconds: float, on_progress: ProgressCallback
) -> Figures:
    """Send at Poisson times whatever comes back. A call counts as answered where its answer was read in time."""
    outcomes: Counter[str] = Counter()
    times: list[float] = []
    lags: list[float] = []
    memory: list[int] = []
    texts = prompts.take(int(rate * seconds * 1.1) + 100)
    messages = [rank_request([text]).SerializeToString() for text in texts]
    client = LightClient(daemon.target, RANK_METHOD, timeout=DEADLINE)
    used, own, began = daemon.processor_seconds, time.process_time(), time.perf_counter()
    try:
        for outcome in open_loop(client, iter(messages), poisson(rate, began, seconds), lags.append):
            outcomes[_kind(outcome)] += 1
            times.append(outcome.seconds * 1000)
            if len(memory) <= (done := time.perf_counter() - began):
                memory.append(daemon.memory)
                on_progress(min(1.0, done / seconds))
    finally:
        client.close()
    wall = time.perf_counter() - began
    calls = sum(outcomes.values())
    answered = sum(n for kind, n in outcomes.items() if not kind.startswith("failed"))
    return {
        "calls": calls,
        "calls_per_second": calls / wall,
        "generator_share": (time.process_time() - own) / wall,
        "generator_behind_ms": spread([lag * 1000 for lag in lags]),
        "daemon_share": (daemon.processor_seconds - used) / wall,
        "answered_share": answered / calls,
        "outcomes": dict(outcomes),
        "call_ms": spread(times),
        "memory_mb_after_10_s": memory[min(10, len(memory) - 1)] / 2**20,
        "memory_mb_at_end": memory[-1] / 2**20,
    }


def poisson(rate: float, began: float, seconds: float, seed: int = 1) -> Iterator[float]:
    """Times of calls that come independently of each other, on the clock of ``began``."""
    draw = random.Random(seed)  # noqa: S311 - nothing secret
    due = began
    while (due := due + draw.expovariate(rate)) - began < seconds:
        yield due


def _kind(outcome: EndedCall) -> str:
    """How a call ended: ranked, the reason why not, or the status with which it failed; late is none that counts."""
    if outcome.status is None:
        return "failed_LATE"
    if outcome.status:
        return f"failed_{outcome.status}"
    answer = rank_pb2.RankResponse.FromString(outcome.body)
    if len(answer.items) != 1:
        return "failed_WRONG"
    return "ranked" if answer.unscored_count == 0 and not answer.reason else f"reason_{answer.reason}"
