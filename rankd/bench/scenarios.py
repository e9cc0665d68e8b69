"""What is measured. Each scenario gives plain figures; floors are measured in the same run, in turn with the daemon."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import grpc
from rankd_client.v1 import completion_pb2, completion_pb2_grpc, rank_pb2, rank_pb2_grpc

from rankd.bench.floor import EMPTY_METHOD, OfflineLoop
from rankd.bench.process import MeasuredProcess
from rankd.bench.prompts import PromptSupply

ProgressCallback = Callable[[float], None]
"""Takes the share that is done, 0 to 1."""
Figures = dict[str, Any]
"""By name; milliseconds, shares and counts, as their names say."""

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # What is measured is on this machine, whatever http_proxy says.
    ("grpc.enable_http_proxy", 0),
    ("grpc.address_http_proxy_enabled_addresses", ""),
]
_SINGLE_CALLS = 60
_BULK, _CALLS_AT_ONCE = 32, 8
DEADLINE = 0.05
"""Seconds an engine waits for an order by default."""


def rank_request(prompts: Iterable[str], prefix: str = "r") -> rank_pb2.RankRequest:
    """A queue of prompts that arrive now."""
    request = rank_pb2.RankRequest()
    request.now.GetCurrentTime()
    for n, prompt in enumerate(prompts):
        request.items.add(request_id=f"{prefix}{n}", prompt=prompt, arrival_time=request.now)
    return request


def latency(
    daemon: MeasuredProcess,
    empty: MeasuredProcess,
    offline: OfflineLoop,
    prompts: PromptSupply,
    rounds: int,
    on_progress: ProgressCallback,
) -> Figures:
    """One new prompt at a time on an idle daemon, against the sum of the two floors; paired prompt by prompt."""
    model: list[float] = []
    wire: list[float] = []
    rank: list[float] = []
    with (
        grpc.insecure_channel(daemon.target, options=OPTIONS) as channel,
        grpc.insecure_channel(empty.target, options=OPTIONS) as bare,
    ):
        stub = rank_pb2_grpc.RankServiceStub(channel)
        nothing = bare.unary_unary(EMPTY_METHOD)
        for n in range(-10, rounds * _SINGLE_CALLS):
            prompt = next(prompts)
            times = [offline.one(prompt), _timed(lambda: nothing(b"")), _timed(partial(_scored, stub, [prompt]))]
            if n >= 0:  # the first ones warm up connections and caches
                for values, seconds in zip((model, wire, rank), times, strict=True):
                    values.append(seconds * 1000)
                on_progress(n / (rounds * _SINGLE_CALLS))
            time.sleep(0.002)
    added = [r - m - w for r, m, w in zip(rank, model, wire, strict=True)]
    return {
        "model_ms": spread(model),
        "empty_call_ms": spread(wire),
        "rank_ms": spread(rank),
        "added_ms": spread(added),
        "calls": len(rank),
    }


async def saturate(target: str, prompts: Sequence[str]) -> float:
    """Prompts per second through calls of 32 prompts, eight at a time."""
    async with grpc.aio.insecure_channel(target, options=OPTIONS) as channel:
        stub = rank_pb2_grpc.RankServiceStub(channel)
        calls = iter([prompts[i : i + _BULK] for i in range(0, len(prompts), _BULK)])

        async def worker() -> None:
            for bulk in calls:
                answer = await stub.Rank(rank_request(bulk), timeout=120)
                _all_scored(answer)

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(_CALLS_AT_ONCE)))
        return len(prompts) / (time.perf_counter() - began)


def echo(daemon: MeasuredProcess, prompts: PromptSupply, rounds: int, on_progress: ProgressCallback) -> Figures:
    """Queues whose predictions are echoed: what parsing, ordering and answering take."""
    figures: Figures = {}
    with grpc.insecure_channel(daemon.target, options=OPTIONS) as channel:
        stub = rank_pb2_grpc.RankServiceStub(channel)
        scored = _scored(stub, prompts.take(64)).items
        for done, size in enumerate((256, 10_000)):
            request = rank_pb2.RankRequest()
            request.now.GetCurrentTime()
            for n in range(size):
                item = request.items.add(request_id=f"request-{n}", prediction=scored[n % 64].prediction)
                item.prediction.score += n * 1e-6
                item.arrival_time.seconds = request.now.seconds - n % 60
            for _ in range(3):
                stub.Rank(request, timeout=60)
            times = [_timed(partial(_call, stub, request)) * 1000 for _ in range(6 * rounds)]
            figures[f"ms_{size}"] = spread(times)
            on_progress((done + 1) / 2)
    return figures


def long_queue(
    daemon: MeasuredProcess, offline: OfflineLoop, prompts: PromptSupply, on_progress: ProgressCallback
) -> Figures:
    """A queue of 2,000 new prompts, sent again every 100 ms with an engine's deadline, until all of it is ranked."""
    size = 2000
    batch = prompts.take(size)
    request = rank_request(batch)
    calls, shares, failed = 0, [], 0
    with grpc.insecure_channel(daemon.target, options=OPTIONS) as channel:
        stub = rank_pb2_grpc.RankServiceStub(channel)
        began = time.perf_counter()
        while True:
            calls += 1
            try:
                unscored = stub.Rank(request, timeout=DEADLINE).unscored_count
            except grpc.RpcError:
                unscored, failed = size, failed + 1
            shares.append(1 - unscored / size)
            on_progress(shares[-1])
            if unscored == 0 or time.perf_counter() - began > 300:
                break
            time.sleep(max(0.0, calls * 0.1 - (time.perf_counter() - began)))
        took = time.perf_counter() - began
    floor = size / offline.best_rate(batch)[0]
    return {
        "prompts": size,
        "calls": calls,
        "calls_failed": failed,
        "seconds_until_ranked": took,
        "offline_seconds": floor,
        "ratio": took / floor,
        "complete": shares[-1] == 1,
    }


def soak(daemon: MeasuredProcess, prompts: PromptSupply, requests: int, on_progress: ProgressCallback) -> Figures:
    """Memory after many requests, each ranked once and reported once, against that after 10,000."""
    early, first = 0, min(10_000, requests // 2)
    done = 0
    with grpc.insecure_channel(daemon.target, options=OPTIONS) as channel:
        stub = rank_pb2_grpc.RankServiceStub(channel)
        reports = completion_pb2_grpc.CompletionServiceStub(channel)
        while done < requests:
            answer = _scored(stub, prompts.take(100), prefix=f"{done}-")
            report = completion_pb2.ReportCompletionsRequest()
            for item in answer.items:
                report.completions.add(
                    request_id=item.request_id,
                    prediction=item.prediction,
                    output_token_count=int(50 + 40 * abs(item.prediction.score)),
                    finish_reason=completion_pb2.FINISH_REASON_STOP,
                )
            reports.ReportCompletions(report, timeout=60)
            done += 100
            if not early and done >= first:
                early = daemon.memory
            on_progress(done / requests)
    return {
        "requests": done,
        f"memory_mb_after_{first}": early / 2**20,
        "memory_mb_at_end": daemon.memory / 2**20,
        "ratio": daemon.memory / early,
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, quartiles and 99th percentile."""
    ordered = sorted(values)
    quartiles = statistics.quantiles(ordered, n=4) if len(ordered) > 1 else [ordered[0]] * 3
    return {
        "median": statistics.median(ordered),
        "p25": quartiles[0],
        "p75": quartiles[2],
        "p99": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
    }


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _scored(stub: rank_pb2_grpc.RankServiceStub, prompts: Sequence[str], prefix: str = "r") -> rank_pb2.RankResponse:
    return _call(stub, rank_request(prompts, prefix))


def _call(stub: rank_pb2_grpc.RankServiceStub, request: rank_pb2.RankRequest) -> rank_pb2.RankResponse:
    answer: rank_pb2.RankResponse = stub.Rank(request, timeout=120)
    _all_scored(answer)
    return answer


def _all_scored(answer: rank_pb2.RankResponse) -> None:
    # A benchmark that counted answers without scores would measure nothing.
    if answer.unscored_count:
        raise RuntimeError(f"{answer.unscored_count} items came back without a score")
