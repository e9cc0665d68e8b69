"""RankStream and WatchQuality as load: what one caller's streams may cost the others, and the daemon's memory."""

import itertools
import queue as queues
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from rankd_client.v1 import admin_pb2, quality_pb2, rank_pb2
from rankd_client.v1 import prediction_pb2 as pb
from support.wire import admin_stub, details, item, quality_stub, rank_stub, request

VERSION = "tiny@1.0.0"
WAIT = {"seconds": 10}
serial = itertools.count()


class Stream:
    """One RankStream, a message at a time."""

    def __init__(self, channel):
        self._messages = queues.Queue()
        self.call = rank_stub(channel).RankStream(iter(self._messages.get, None), timeout=120)

    def step(self, **fields):
        self._messages.put(rank_pb2.RankStreamRequest(**fields))
        return next(self.call)

    def close(self):
        self._messages.put(None)
        self.call.cancel()


@pytest.fixture
def stream():
    """Opens streams, and closes them in the end."""
    with ExitStack() as opened:

        def start(channel):
            made = Stream(channel)
            opened.callback(made.close)
            return made

        yield start


def watch(channel):
    """An open WatchQuality that was answered once."""
    call = quality_stub(channel).WatchQuality(quality_pb2.WatchQualityRequest(interval={"seconds": 60}), timeout=60)
    next(call)
    return call


def refused(function, *arguments):
    """The text of the RESOURCE_EXHAUSTED that ``function`` ends with."""
    with pytest.raises(grpc.RpcError) as raised:
        function(*arguments)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(raised.value)["RetryInfo"].retry_delay.ToMilliseconds() > 0
    return raised.value.details()


def test_watches_take_no_places_of_streams(start_daemon, stream):
    """Watches and queues have limits of their own, each named where it is met; a place is free again after its use."""
    daemon = start_daemon(limits={"max_streams": 1, "max_watches": 2})
    with daemon.channel() as channel:
        watches = [watch(channel), watch(channel)]
        assert refused(watch, channel).startswith("limits.max_watches = 2 ")
        first = stream(channel)
        assert list(first.step(arrived=[item("a", "w1")], max_wait=WAIT).request_ids) == ["a"]
        assert refused(stream(channel).step).startswith("limits.max_streams = 1 ")
        for call in watches:
            call.cancel()


def test_one_caller_leaves_places_for_others(start_daemon, stream, wait_until):
    """A caller is known by its address: beyond its share it is refused while another still opens streams."""
    daemon = start_daemon(listen="[::]:0", auth={"anonymous": True}, limits={"max_streams_per_caller": 2})
    port = daemon.app.public.port
    with daemon.channel(f"127.0.0.1:{port}") as channel, daemon.channel(f"[::1]:{port}") as other:
        mine = [stream(channel), stream(channel)]
        for s in mine:
            s.step(arrived=[item("a", "w1")])
        assert refused(stream(channel).step).startswith("limits.max_streams_per_caller = 2 ")
        assert list(stream(other).step(arrived=[item("a", "w1")]).request_ids) == ["a"]
        mine[0].close()
        wait_until(lambda: sum(daemon.app.streams._open.values()) == 2)
        assert list(stream(channel).step(arrived=[item("a", "w1")]).request_ids) == ["a"]


def test_messages_of_a_stream_count_as_calls(start_daemon, stream):
    """A stream is no way around the rate: the message beyond it ends the stream, with the time to come back."""
    daemon = start_daemon(limits={"calls_per_second": 0.1, "call_burst": 3})
    with daemon.channel() as channel:
        mine = stream(channel)
        for _ in range(3):
            mine.step()
        assert "limits.calls_per_second" in refused(mine.step)
        assert "limits.calls_per_second" in refused(rank_stub(channel).Rank, request())


def test_an_empty_delta_is_answered_without_ordering(start_daemon, stream):
    """Nothing changed: the same order again, not made anew; it is made anew by whatever may change it."""
    daemon = start_daemon()

    def orders():
        lines = [x for x in _metrics(daemon).splitlines() if x.startswith("rankd_stage_duration_seconds_count")]
        return sum(float(x.rpartition(" ")[2]) for x in lines if 'stage="order"' in x)

    with daemon.channel() as channel, daemon.channel(daemon.admin_target) as admin:
        mine = stream(channel)
        first = mine.step(arrived=[item("b", "long"), item("a", "short")], max_wait=WAIT)
        made, calls = orders(), daemon.app.ranker.counts.calls
        for n in range(10):
            again = mine.step(sequence=n, gone_request_ids=["stranger"], max_wait=WAIT)
            assert (again.sequence, list(again.request_ids)) == (n, list(first.request_ids))
            assert len(again.changed_items) == 0
            assert (again.policy, again.reason, again.ranker_version) == (first.policy, first.reason, VERSION)
        assert orders() == made
        assert daemon.app.ranker.counts.calls == calls + 10
        pin = admin_pb2.PinGuardRequest(mode=quality_pb2.GUARD_MODE_FALLBACK, duration={"seconds": 60})
        admin_stub(admin).PinGuard(pin)
        pinned = mine.step()
        assert (pinned.policy, pinned.reason) == (pb.POLICY_FCFS, pb.FALLBACK_REASON_GUARD)
        assert list(pinned.request_ids) == ["a", "b"]
        admin_stub(admin).UnpinGuard(admin_pb2.UnpinGuardRequest())
        assert mine.step().policy == pb.POLICY_BOOST
        progress = [rank_pb2.RankStreamProgress(request_id="a", generated_token_count=100_000)]
        assert list(mine.step(progressed=progress).request_ids) == ["b", "a"]
        assert orders() == made + 3


def test_scores_that_come_later_are_told_without_a_change(start_daemon, stream, wait_until):
    """A queue whose prompts wait for scores is looked at again, though no delta changes it."""
    daemon = start_daemon()
    with daemon.channel() as channel:
        mine = stream(channel)
        arrived = [item(f"r{n}", f"w{n % 50} " * (n % 40 + 1)) for n in range(500)]
        assert mine.step(arrived=arrived).unscored_count > 0
        told = {}

        def all_told():
            answer = mine.step()
            told.update((r.request_id, r.HasField("prediction")) for r in answer.changed_items)
            return answer.unscored_count == 0

        wait_until(all_told, seconds=30)
        assert all(told.values())


def test_a_long_stream_holds_up_nobody(start_daemon, stream, wait_until):
    """While the longest queue arrives over a stream, and is answered, queues of others are ordered."""
    daemon = start_daemon()
    with daemon.channel() as channel, ThreadPoolExecutor(1) as thread:
        rank_stub(channel).Rank(request(item("x", "w1")), timeout=10)
        mine = stream(channel)
        arrived = [item(f"r{n}", "w1") for n in range(16384)]
        answer = thread.submit(mine.step, arrived=arrived)
        wait_until(lambda: daemon.app.ranker.counts.calls > 1)
        for _ in range(3):
            rank_stub(channel).Rank(request(item("x", "w1")), timeout=10)
        assert not answer.done(), "the calls were answered after the step, not beside it"
        assert len(answer.result().request_ids) == 16384


def test_a_queue_too_large_for_memory_is_refused_by_name(start_daemon, stream):
    """Items that are left unscored count by what is kept of them; the error names the setting and the remedy."""
    daemon = start_daemon(limits={"max_stream_bytes": 65536})
    with daemon.channel() as channel:
        mine = stream(channel)
        for n in range(5):  # scored at once: nothing of them is left but a prediction
            mine.step(arrived=[item(f"r{n}", f"w{n} " * 2000)], max_wait=WAIT)
        with pytest.raises(grpc.RpcError) as raised:
            mine.step(arrived=[item(f"x{n}", f"w{n} " * 2000) for n in range(200)], max_wait=WAIT)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "limits.max_stream_bytes = 65536" in raised.value.details()


def test_large_prompts_leave_no_memory_behind(start_process, stream):
    """450 MB of prompts on one stream: the daemon keeps of each what its ranker reads, and no message."""
    daemon = start_process()
    pid = daemon.process.pid

    def resident():
        line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    with grpc.insecure_channel(daemon.target) as channel:
        mine = stream(channel)
        mine.step(arrived=[item("first", "w1")], max_wait=WAIT)
        blob = "w2 " * (2**20 // 3 - 10)
        for n in range(30):
            if n == 5:
                before = resident()
            mine.step(arrived=[item(f"s{n}-{k}", f"{n}-{k} {blob}") for k in range(15)])
        assert resident() - before < 120, "MB after 25 messages of 15 MB"


def test_a_long_prompt_is_one_prompt_to_calls_and_streams(start_daemon, stream):
    """What the ranker reads is what the cache knows a prompt by: shortened in a stream, whole in a call."""
    daemon = start_daemon()
    prompt = "long " * 20_000
    with daemon.channel() as channel:
        scored = stream(channel).step(arrived=[item("a", prompt)], max_wait=WAIT)
        cached = daemon.scorer.cached
        answer = rank_stub(channel).Rank(request(item("b", prompt)), timeout=10)
        assert daemon.scorer.cached == cached + 1
        assert answer.items[0].prediction.score == scored.changed_items[0].prediction.score


def _metrics(daemon):
    from urllib.request import urlopen

    return urlopen(daemon.http + "/metrics").read().decode()
