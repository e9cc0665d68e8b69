"""What callers leave in the daemon: parts of requests, streams, unread answers. Bounded, in time and in sum."""

import asyncio
import socket
import threading

import grpc
import pytest
from rankd_client.v1 import rank_pb2
from support.credentials import bearer, write_tokens
from support.http2 import Connection, connect
from support.wire import details, item, rank_stub, request
from support.wire_bytes import raw_call

from rankd.transport import call_watch
from rankd.transport.services.rank import RankService

CALL_BYTES = 2**15
RANK, STREAM = "rankd.v1.RankService/Rank", "rankd.v1.RankService/RankStream"
SMALL = request(item("a", "long")).SerializeToString()
WATCH = "rankd.v1.QualityService/WatchQuality"
MEGABYTE = 2**20


async def never(*_):
    """A method that does not come to its end."""
    await asyncio.Event().wait()


def answered(daemon, **options):
    """Whether a well-behaved caller, on a connection of its own, is answered."""
    with daemon.channel() as channel:
        return bool(rank_stub(channel).Rank(request(item("a", "long")), timeout=30, **options).items)


@pytest.mark.parametrize("method", [RANK, STREAM])
def test_parts_of_requests_count_as_memory_held(start_daemon, wait_until, method):
    """Calls that send nearly all of a large request each and stop: they are ended, others are not."""
    daemon = start_daemon(limits={"memory_bytes": 40 * MEGABYTE})
    memory = daemon.app.interceptor.memory
    connection = Connection(daemon.target)
    streams = [connection.open(method) for _ in range(8)]
    for stream in streams:
        connection.begin(stream, 8 * MEGABYTE)
    connection.feed(streams, 8 * MEGABYTE - 100)
    wait_until(lambda: memory.refused and daemon.app.interceptor.in_flight == 0, what="the calls to end")
    assert answered(daemon)
    wait_until(lambda: connection.take_all() or connection.closed == set(streams))
    connection.close()
    wait_until(lambda: memory.used == 0, what="the memory to be free")


def test_a_request_that_does_not_come_is_not_waited_for(start_daemon, wait_until):
    """Calls without a request end after the time of the setting; streams, whose queues may be idle, do not."""
    daemon = start_daemon(limits={"receive_timeout": 0.3})
    connection = Connection(daemon.target)
    half_open = [connection.open(RANK) for _ in range(20)]
    idle = connection.open(STREAM)
    # What the caller was told, and not how many are in flight: one is, too, as long as only one has begun.
    wait_until(lambda: connection.take_all() or connection.closed, what="a half-open call to end")
    wait_until(lambda: connection.take_all() or connection.closed == set(half_open), what="the others to end")
    assert daemon.app.interceptor.in_flight == 1
    assert idle not in connection.closed
    connection.close()
    wait_until(lambda: daemon.app.interceptor.memory.used == 0)


def test_an_answer_that_nobody_reads_ends_its_connection(start_daemon, wait_until):
    """The window is shut: the answer would stay as long as the connection does."""
    daemon = start_daemon(limits={"answer_timeout": 0.5})
    connection = Connection(daemon.target, window=0)
    connection.open(RANK, data=request(*[item(f"{i}", "short") for i in range(50)]).SerializeToString())
    memory = daemon.app.interceptor.memory
    wait_until(lambda: memory.used > 0)
    with pytest.raises(ConnectionError):
        connection.take_to_the_end()
    wait_until(lambda: memory.used == 0)
    assert answered(daemon)


def test_unread_answers_are_bounded_for_a_caller_and_in_sum(start_daemon, wait_until):
    """Long answers stay unread until there is no more memory for them: then calls are refused; others are answered."""
    daemon = start_daemon(limits={"memory_bytes": 2**24})
    memory = daemon.app.interceptor.memory
    data = request(*[item(f"{i}-" + "x" * 200) for i in range(200)]).SerializeToString()
    connections = []
    while not memory.refused:
        connections.append(Connection(daemon.target, window=0))
        for _ in range(40):
            stream = connections[-1].open(RANK)
            connections[-1].begin(stream, len(data))
            connections[-1].feed([stream], len(data), data=data)
            connections[-1].end(stream)
        answers = len(connections) * 40
        wait_until(lambda n=answers: memory.refused or memory.used > n * CALL_BYTES)
        assert len(connections) < 50
    assert memory.used < memory.limit
    assert answered(daemon)
    for connection in connections:
        connection.close()
    wait_until(lambda: memory.used == 0)


def open_stream(channel, items, **options):
    """A stream that has sent some items, and stays open."""

    def messages():
        yield rank_pb2.RankStreamRequest(arrived=items)
        threading.Event().wait(60)

    return rank_stub(channel).RankStream(messages(), **options)


def test_what_streams_keep_is_bounded_in_sum_and_for_each_caller(start_daemon, wait_until, tmp_path):
    """Each within its own limit: the one too many is told so. Another caller still gets a stream."""
    tokens = write_tokens(tmp_path / "auth.toml")
    daemon = start_daemon(limits={"memory_bytes": 2**24}, auth={"file": tokens})
    items = [item(f"{i}", "word " * 10) for i in range(500)]
    refused, channels, streams = None, [], []
    while refused is None:
        channels.append(grpc.insecure_channel(daemon.target, options=[("grpc.use_local_subchannel_pool", 1)]))
        try:
            streams.append(open_stream(channels[-1], items, metadata=bearer("a")))
            assert len(next(streams[-1]).request_ids) == 500
        except grpc.RpcError as error:
            refused = error
        assert len(channels) < 40
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "limits.memory_bytes" in refused.details()
    assert details(refused)["RetryInfo"].retry_delay.ToTimedelta().total_seconds() > 0
    assert daemon.app.interceptor.memory.used <= 2**24 // 2
    with daemon.channel() as channel:
        assert next(open_stream(channel, items, metadata=bearer("b"))).request_ids
    for channel in channels:
        channel.close()
    wait_until(lambda: daemon.app.interceptor.memory.used == 0)


def test_a_request_beyond_the_budget_is_refused_with_the_remedy(start_daemon):
    """A daemon with little memory refuses what a larger one takes."""
    daemon = start_daemon(limits={"memory_bytes": 2**20})
    with daemon.channel() as channel:
        error = raw_call(channel, RANK, request(item("a", "x" * 500_000)).SerializeToString())
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "limits.memory_bytes = 1048576" in error.details()
    assert answered(daemon)


@pytest.mark.parametrize(("method", "data"), [(RANK, None), (RANK, SMALL), (STREAM, None), (WATCH, b"")])
def test_calls_taken_back_keep_their_places(start_daemon, wait_until, monkeypatch, method, data):
    """Rapid reset: gRPC refuses calls beyond a connection's places by itself, and a place is not free at once."""
    if data:
        monkeypatch.setattr(RankService, "Rank", never)
    monkeypatch.setattr(call_watch, "KEPT_SECONDS", 3600.0)
    daemon = start_daemon(limits={"max_concurrent_streams": 7})
    connection = Connection(daemon.target)
    streams = [connection.open(method, data=data) for _ in range(7)]
    wait_until(lambda: daemon.app.interceptor.in_flight == 7)
    for stream in streams:
        connection.reset(stream)
    wait_until(lambda: daemon.app.interceptor.in_flight == 0)
    later = [connection.open(method, data=data) for _ in range(20)]
    wait_until(lambda: connection.take_all() or len(connection.closed) >= 19, what="further calls to be refused")
    assert connection.closed <= set(later)
    assert daemon.app.interceptor.in_flight <= 1
    if not data:
        assert answered(daemon)
    daemon.stop()  # which waits for no place
    connection.close()


def test_a_place_is_free_again(start_daemon, wait_until, monkeypatch):
    """After a second, and at once where the call had lasted longer."""
    monkeypatch.setattr(call_watch, "KEPT_SECONDS", 0.3)
    daemon = start_daemon(limits={"max_concurrent_streams": 1})
    connection = Connection(daemon.target)
    data = request(item("a", "long")).SerializeToString()
    for _ in range(3):
        connection.reset(connection.open(RANK))
    answers = []

    def next_one():
        answers.append(connection.open(RANK, data=data))
        wait_until(lambda: connection.take_all() or answers[-1] in connection.closed)
        return connection.answered & set(answers)

    wait_until(next_one, what="a call to be answered")
    connection.close()


def test_calls_taken_back_before_they_have_a_request_end_their_connection(start_daemon, wait_until):
    """Where a setting lets a connection have many. One that also makes real calls, and takes some back, goes on."""
    daemon = start_daemon(limits={"max_concurrent_streams": 4096, "memory_bytes": 2**30})
    probe = connect(("127.0.0.1", daemon.app.http.port), ("127.0.0.1", 0))
    # From the same address and port as the probe's connection, which nobody may cut in its place.
    connection = Connection(daemon.target, source=probe.getsockname())

    def cut():
        try:
            connection.take_all()
            for _ in range(50):
                connection.reset(connection.open(RANK))
        except OSError:
            return True
        return False

    def others_are_answered():
        try:
            return answered(daemon)
        except grpc.RpcError as error:
            # While more than a thousand of those calls are in its line, gRPC refuses others now and then.
            assert error.code() is grpc.StatusCode.CANCELLED
            return False

    wait_until(cut, what="the connection to be cut")
    wait_until(others_are_answered)
    probe.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
    assert b" 200 " in probe.recv(4096)
    probe.close()
    behaved = Connection(daemon.target)
    data = request(item("a", "long")).SerializeToString()
    for _ in range(300):
        behaved.open(RANK, data=data)
        behaved.reset(behaved.open(RANK)) if behaved.stream % 3 == 0 else None
        behaved.take()
    wait_until(lambda: daemon.app.interceptor.in_flight == 0)
    behaved.take_all()
    behaved.close()


def closed(connection):
    """Whether the server ends a connection that says nothing."""
    connection.settimeout(30)
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        return True
    return True


def test_connections_are_bounded_and_must_speak(start_daemon):
    """Beyond the bound they are closed at once, and silent ones soon; then there are places again."""
    daemon = start_daemon(limits={"max_connections": 4, "handshake_timeout": 2.0})
    host, port = daemon.target.split(":")
    silent = [socket.create_connection((host, int(port)), 30) for _ in range(4)]
    with pytest.raises(ConnectionError):
        Connection(daemon.target)
    assert all(closed(each) for each in silent)
    assert answered(daemon)
    for each in silent:
        each.close()


def test_no_more_calls_on_a_connection_than_the_setting(start_daemon, wait_until):
    """The server says how many; who does not listen has the others refused."""
    daemon = start_daemon(limits={"max_concurrent_streams": 7})
    connection = Connection(daemon.target)
    streams = [connection.open(STREAM) for _ in range(20)]
    wait_until(lambda: daemon.app.interceptor.in_flight == 7)
    wait_until(lambda: connection.take_all() or len(connection.closed) == 13)
    assert connection.closed == set(streams[7:])
    connection.close()
