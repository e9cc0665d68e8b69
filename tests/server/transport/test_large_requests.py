"""Requests that would be much larger in memory than on the wire: refused first, and never kept."""

import gc
import time

import grpc
import pytest
from rankd_client.v1 import quality_pb2, rank_pb2
from support.credentials import bearer, write_tokens
from support.process_memory import peak, resident
from support.wire import details, ids, item, quality_stub, rank_stub, request
from support.wire_bytes import field, raw_call

RANK, STREAM = "rankd.v1.RankService/Rank", "rankd.v1.RankService/RankStream"
REPORT = "rankd.v1.CompletionService/ReportCompletions"
MANY = 4_000_000
ATTACKS = {
    "items": (RANK, b"\x1a\x00" * MANY, "items"),
    "tenants": (RANK, b"\x32\x00" * MANY, "tenants"),
    "shadows": (RANK, field(3, field(3, b"\x3a\x00" * MANY)), "items[].prediction"),
    "spread shadows": (RANK, field(3, field(3, b"\x3a\x00" * 400)) * 10_000, "items[].prediction.shadow_scores"),
    "arrived": (STREAM, b"\x1a\x00" * MANY, "arrived"),
    "progressed": (STREAM, b"\x22\x00" * MANY, "progressed"),
    "gone": (STREAM, b"\x2a\x00" * MANY, "gone_request_ids"),
    "completions": (REPORT, b"\x1a\x00" * MANY, "completions"),
    "unknown": (REPORT, b"\x78\x01" * MANY, "request"),
}
MOST = 120e6
"""Bytes that a daemon may grow by: a message of 8 MB is in gRPC, in Python, and freed pages go back late."""


@pytest.fixture(scope="module")
def guarded(tiny, tmp_path_factory):
    """A daemon process that asks for credentials."""
    from support.daemon import DaemonProcess

    tokens = write_tokens(tmp_path_factory.mktemp("auth") / "auth.toml")
    process = DaemonProcess(tiny, environment={"RANKD_AUTH__FILE": str(tokens)})
    yield process
    process.kill()


@pytest.mark.parametrize("name", ATTACKS)
def test_too_many_entries_are_refused_before_they_are_objects(guarded, name):
    """Without a credential for that reason, with one for the count and naming the field; memory stays."""
    method, data, wrong = ATTACKS[name]
    pid = guarded.process.pid
    before = max(peak(pid), resident(pid))
    with grpc.insecure_channel(guarded.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        streaming = method == STREAM
        assert raw_call(channel, method, data, streaming=streaming).code() is grpc.StatusCode.UNAUTHENTICATED
        error = raw_call(channel, method, data, streaming=streaming, metadata=bearer("any"))
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "limits.max_items" in error.details()
        assert details(error)["BadRequest"].field_violations[0].field == wrong
        assert rank_stub(channel).Rank(request(item("a", "long")), timeout=30, metadata=bearer("any")).items
    assert peak(pid) - before < MOST


@pytest.mark.parametrize("method", [RANK, REPORT, "rankd.v1.QualityService/GetQuality", "grpc.health.v1.Health/Check"])
def test_compressed_requests_are_refused_unless_a_setting_takes_them(daemon, method):
    """By gRPC itself, before anything is unpacked; the text names what is wrong."""
    with daemon.channel() as channel:
        error = raw_call(channel, method, b" " * 1000, compression=grpc.Compression.Gzip)
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "gzip" in error.details()


def test_with_the_setting_what_is_unpacked_is_bounded_too(start_daemon):
    """A compressed queue is ranked; one that would be larger than a message may be is not unpacked."""
    daemon = start_daemon(limits={"compression": True})
    with grpc.insecure_channel(daemon.target, options=[("grpc.max_send_message_length", -1)]) as channel:
        packed = grpc.Compression.Gzip
        queue = request(item("a", "long " * 50), item("b", "short " * 50))
        assert set(ids(rank_stub(channel).Rank(queue, timeout=30, compression=packed))) == {"a", "b"}
        error = raw_call(channel, RANK, field(3, field(2, b"a" * 2**26)), compression=packed)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        error = raw_call(channel, RANK, b"\x1a\x00" * MANY, compression=packed)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def _refusals(channel):
    """Calls that end in every way but well."""
    prompt = "word " * 500
    twice = request(item("a", prompt), item("a", prompt)).SerializeToString()
    step = rank_pb2.RankStreamRequest(arrived=[item("a", prompt)]).SerializeToString()
    bad = rank_pb2.RankStreamRequest(arrived=[item("a", prompt), item("a", prompt)]).SerializeToString()
    raw_call(channel, RANK, b"\xff\xff\xff")
    raw_call(channel, RANK, twice)
    raw_call(channel, RANK, field(3, b"") * 20_000 + twice)
    raw_call(channel, RANK, field(5, b"none@1") + field(3, b"\x0a\x01a"))
    raw_call(channel, STREAM, [step, bad], streaming=True)
    raw_call(channel, STREAM, [step] * 300, streaming=True, timeout=0.02)
    raw_call(channel, REPORT, field(1, b"m" * 1000))
    stream = channel.stream_stream(f"/{STREAM}")(iter([step] * 50))
    next(stream)
    stream.cancel()
    watch = quality_stub(channel).WatchQuality(quality_pb2.WatchQualityRequest())
    next(watch)
    watch.cancel()


def test_no_cycle_of_references_keeps_a_call_alive(daemon, wait_until):
    """What a call that was refused, cut or cancelled had in its frames is freed at once, not by the collector."""
    with daemon.channel() as channel:
        _refusals(channel)
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            _refusals(channel)
            wait_until(lambda: daemon.app.interceptor.in_flight == 0)
            time.sleep(0.2)  # grpc's own tasks end a little later; were they not over, nothing would be found
            gc.collect()
            kept = [o for o in gc.garbage if type(o).__name__ in ("frame", "coroutine", "async_generator", "Call")]
            ours = [o for o in kept if "/rankd/transport/" in str(getattr(o, "f_code", o))]
            contexts = [o for o in gc.garbage if type(o).__name__ in ("_ServicerContext", "RPCState")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not ours
    assert not contexts


def _queue(*inner):
    """As many items as there may be, each with an id and little else."""
    return b"".join(field(3, b"".join((field(1, b"%x" % i), *inner))) for i in range(16384))


PILES = {
    "short items": (RANK, _queue(), 100),
    "empty messages in items": (RANK, _queue(*(field(n, b"") for n in (3, 4, 8))), 60),
    "empty shadows": (RANK, _queue(field(3, b"\x3a\x00" * 15)), 30),
    "in one piece": (RANK, b"\x1a\x00" * 16384, 200),
    "completions": (REPORT, _queue(*(field(n, b"") for n in (2, 6, 7, 8))), 100),
}


@pytest.mark.parametrize("name", PILES)
def test_messages_that_wait_for_each_other_are_held_as_what_they_became(tiny, name):
    """Each within all limits, a hundred at once: as objects they are many times what they were on the wire."""
    from support.daemon import DaemonProcess

    method, data, times = PILES[name]
    process = DaemonProcess(tiny, environment={"RANKD_LIMITS__MEMORY_BYTES": str(150 * 2**20)})
    try:
        before = resident(process.process.pid)
        with grpc.insecure_channel(process.target, options=[("grpc.max_receive_message_length", -1)]) as channel:
            calls = [channel.unary_unary(f"/{method}").future(data, timeout=60) for _ in range(times)]
            codes = {call.code() for call in calls}
            assert grpc.StatusCode.RESOURCE_EXHAUSTED in codes
            assert grpc.StatusCode.OK in codes or grpc.StatusCode.INVALID_ARGUMENT in codes
            assert rank_stub(channel).Rank(request(item("a", "long")), timeout=30).items
        assert peak(process.process.pid) - before < 180e6
    finally:
        process.kill()
