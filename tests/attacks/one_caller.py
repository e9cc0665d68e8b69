"""One caller against the others: whatever it does on its connection, a well-behaved one is answered in time.

``PYTHONPATH=tests python -m attacks.one_caller [NAME ...]`` starts a daemon, and for each attack a process that makes
it, while another asks for one order after the other, 50 ms each. It prints the share in time and the 99th percentile,
beside those without an attack, and exits with 1 where the share is below 99 %.

The machine must have a core for the daemon: on one that is busy with other work the line "nobody" says what is lost to
that.
"""

import argparse
import asyncio
import itertools
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import grpc
import numpy as np
from rankd_client.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    completion_pb2,
    completion_pb2_grpc,
    prediction_pb2,
    quality_pb2,
    quality_pb2_grpc,
    rank_pb2,
    rank_pb2_grpc,
)
from support.daemon import DaemonProcess
from support.tiny_ranker import make_artifact

ITEMS = 16384
DEADLINE = 0.05
VERSION = "tiny@1.0.0"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
serial = itertools.count()


def long_queue(echo=False, **fields):
    """A queue of as many items as are allowed, new each time."""
    first = next(serial)
    items = []
    for n in range(ITEMS):
        one = rank_pb2.RankItem(request_id=f"q{first}-{n}", **fields)
        one.arrival_time.seconds = 1_700_000_000 + n
        if echo:
            one.prediction.CopyFrom(prediction_pb2.Prediction(score=n % 97, ranker_version=VERSION))
            one.prediction.expected_token_count = n % 97
        else:
            one.prompt = f"long {n}"
        items.append(one)
    out = rank_pb2.RankRequest(model="llm", items=items)
    out.now.seconds = 1_700_100_000
    return out


async def _for_ever(call, at_once=1):
    async def one():
        while True:
            try:
                await call()
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)

    await asyncio.gather(*(one() for _ in range(at_once)))


async def rank_long(channel, _):
    """Queues of 16,384 prompts, one after the other."""
    stub = rank_pb2_grpc.RankServiceStub(channel)
    queue = long_queue()
    await _for_ever(lambda: stub.Rank(queue, timeout=10))


async def rank_long_at_once(channel, _):
    """The same, sixteen at a time."""
    stub = rank_pb2_grpc.RankServiceStub(channel)
    queue = long_queue()
    await _for_ever(lambda: stub.Rank(queue, timeout=10), 16)


async def echoes_at_once(channel, _):
    """Queues of 16,384 echoed predictions of 256 tenants, eight at a time."""
    stub = rank_pb2_grpc.RankServiceStub(channel)
    queue = long_queue(echo=True)
    for n, one in enumerate(queue.items):
        one.tenant = f"t{n % 256}"
    await _for_ever(lambda: stub.Rank(queue, timeout=10), 8)


async def reports(channel, _):
    """Reports of 16,384 completions, four at a time."""
    stub = completion_pb2_grpc.CompletionServiceStub(channel)

    def report():
        first = next(serial)
        return completion_pb2.ReportCompletionsRequest(
            model="llm",
            completions=[
                completion_pb2.Completion(
                    request_id=f"r{first}-{n}",
                    prediction=prediction_pb2.Prediction(score=n % 97, ranker_version=VERSION),
                    output_token_count=n % 97,
                    finish_reason=completion_pb2.FINISH_REASON_STOP,
                )
                for n in range(ITEMS)
            ],
        )

    ready = [report() for _ in range(8)]
    await _for_ever(lambda: stub.ReportCompletions(ready[next(serial) % 8], timeout=60), 4)


async def watches(channel, _):
    """64 watches at 100 ms, of 32 models."""
    completions = completion_pb2_grpc.CompletionServiceStub(channel)
    for model in range(32):
        await completions.ReportCompletions(
            completion_pb2.ReportCompletionsRequest(
                model=f"m{model}",
                completions=[
                    completion_pb2.Completion(
                        request_id=f"w{model}-{n}",
                        prediction=prediction_pb2.Prediction(score=n, ranker_version=VERSION),
                        output_token_count=n,
                        finish_reason=completion_pb2.FINISH_REASON_STOP,
                    )
                    for n in range(200)
                ],
            )
        )
    stub = quality_pb2_grpc.QualityServiceStub(channel)

    async def watch():
        request = quality_pb2.WatchQualityRequest(interval={"nanos": 100_000_000})
        async for _ in stub.WatchQuality(request):
            pass

    await asyncio.gather(*(watch() for _ in range(64)))


async def qualities(channel, _):
    """GetQuality of everything, 64 at a time."""
    stub = quality_pb2_grpc.QualityServiceStub(channel)
    await _for_ever(lambda: stub.GetQuality(quality_pb2.GetQualityRequest(), timeout=10), 64)


async def fleet_shares(channel, _):
    """GetFleetShare, 64 at a time."""
    stub = quality_pb2_grpc.QualityServiceStub(channel)
    await _for_ever(lambda: stub.GetFleetShare(quality_pb2.GetFleetShareRequest(), timeout=10), 64)


async def administration(_, admin):
    """Pins and unpins, 32 at a time: each is told to all who watch."""
    stub = admin_pb2_grpc.AdminServiceStub(admin)
    pin = admin_pb2.PinGuardRequest(model="llm", mode=quality_pb2.GUARD_MODE_RANKED, duration={"seconds": 60})

    async def both():
        await stub.PinGuard(pin, timeout=10)
        await stub.UnpinGuard(admin_pb2.UnpinGuardRequest(model="llm"), timeout=10)

    await _for_ever(both, 32)


async def long_streams(channel, _):
    """Sixteen streams whose queue of 16,384 is changed again and again."""
    stub = rank_pb2_grpc.RankServiceStub(channel)

    async def stream():
        call = stub.RankStream()
        queue = long_queue()
        await call.write(rank_pb2.RankStreamRequest(options={"model": "llm"}, arrived=queue.items))
        while True:
            await call.read()
            new = rank_pb2.RankItem(request_id=f"s{next(serial)}", prompt="long")
            gone = [queue.items[next(serial) % ITEMS].request_id]
            await call.write(rank_pb2.RankStreamRequest(arrived=[new], gone_request_ids=gone))

    await asyncio.gather(*(stream() for _ in range(16)), return_exceptions=True)


ATTACKS = {
    f.__name__: f
    for f in (
        rank_long, rank_long_at_once, echoes_at_once, reports, watches, qualities, fleet_shares, administration,
        long_streams,
    )
}  # fmt: skip


def attack(name, target, admin):
    """Make one attack until the process is ended."""

    async def run():
        async with (
            grpc.aio.insecure_channel(target, options=OPTIONS) as channel,
            grpc.aio.insecure_channel(admin, options=OPTIONS) as admin_channel,
        ):
            await ATTACKS[name](channel, admin_channel)

    asyncio.run(run())


def well_behaved(target, seconds, results):
    """Ask for one order after the other, a few items each, every 20 ms."""
    late, took = 0, []
    with grpc.insecure_channel(target, options=OPTIONS) as channel:
        stub = rank_pb2_grpc.RankServiceStub(channel)
        grpc.channel_ready_future(channel).result(10)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            items = [rank_pb2.RankItem(request_id=f"w{next(serial)}", prompt=f"short {n}") for n in range(4)]
            began = time.perf_counter()
            try:
                answer = stub.Rank(rank_pb2.RankRequest(model="ours", items=items), timeout=DEADLINE)
                late += answer.unscored_count > 0
            except grpc.RpcError:
                late += 1
            took.append(time.perf_counter() - began)
            time.sleep(0.02)
    results.put((late, took))


def measured(context, daemon, name, seconds):
    """The share in time, and the 99th percentile in ms, under one attack (None: without)."""
    attacker = None
    if name is not None:
        attacker = context.Process(target=attack, args=(name, daemon.target, daemon.admin_target), daemon=True)
        attacker.start()
        time.sleep(3.0)
    results = context.Queue()
    caller = context.Process(target=well_behaved, args=(daemon.target, seconds, results), daemon=True)
    caller.start()
    late, took = results.get(timeout=seconds + 60)
    caller.join()
    if attacker is not None:
        attacker.kill()
        attacker.join()
    return 1 - late / len(took), float(np.quantile(took, 0.99)) * 1e3, len(took)


def main():
    """Make the attacks, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *ATTACKS], default=[])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    failed = False
    with tempfile.TemporaryDirectory() as directory:
        ranker = make_artifact(Path(directory) / "ranker")
        for name in [None, *(arguments.names or ATTACKS)]:
            daemon = DaemonProcess(ranker, port=arguments.port)
            try:
                share, p99, calls = measured(context, daemon, name, arguments.seconds)
            finally:
                daemon.kill()
            print(f"{name or 'nobody':<20} {share:8.2%} of {calls} in time, 99th percentile {p99:6.1f} ms", flush=True)
            failed |= name is not None and share < 0.99
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
