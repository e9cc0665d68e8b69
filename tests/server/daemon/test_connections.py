"""Connections as they are really kept: pings, renewal, and messages that are too large."""

import threading
import time
from contextlib import contextmanager

import grpc
import pytest
from rankd_client.v1 import rank_pb2
from support.wire import details, ids, item, rank_stub, request

PING_SECONDS = 0.5
"""As the client is told; it pings once a second at most."""
CUT_SECONDS = 5.0
"""Long enough for the fourth ping, at which a server that does not allow them cuts the connection."""
READY, TRANSIENT_FAILURE = grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE


@contextmanager
def watched(target, **options):
    """A channel, and the states that its connection has gone through."""
    states, lock = [], threading.Lock()

    def see(state):
        with lock:
            states.append(state)

    arguments = [(f"grpc.{name}", value) for name, value in {"use_local_subchannel_pool": 1, **options}.items()]
    with grpc.insecure_channel(target, options=arguments) as channel:
        channel.subscribe(see, try_to_connect=True)
        yield channel, states


def pinging(target):
    """A connection that pings all the time, though there are no calls, as Go's and Envoy's can be told to."""
    return watched(
        target,
        keepalive_time_ms=int(PING_SECONDS * 1000),
        keepalive_permit_without_calls=1,
        **{"http2.max_pings_without_data": 0},
    )


def test_idle_connections_may_ping(start_daemon, wait_until):
    """As often as limits.keepalive_min_interval allows: the connection stays."""
    daemon = start_daemon(limits={"keepalive_min_interval": PING_SECONDS / 2})
    with pinging(daemon.target) as (channel, states):
        wait_until(lambda: READY in states)
        time.sleep(CUT_SECONDS)
        assert states[states.index(READY) :] == [READY]
        assert ids(rank_stub(channel).Rank(request(item("a")), timeout=30)) == ["a"]


def test_connections_that_ping_too_often_are_cut(start_daemon, wait_until):
    """More often than that is cut off, so the setting is what allows it."""
    daemon = start_daemon(limits={"keepalive_min_interval": 60.0})
    with pinging(daemon.target) as (_, states):
        wait_until(lambda: READY in states)
        wait_until(lambda: states[states.index(READY) :] != [READY], what="the cut")


def test_connections_are_renewed(start_daemon, wait_until):
    """After limits.max_connection_age a connection ends, and the next call has a new one: replicas get traffic."""
    daemon = start_daemon(limits={"max_connection_age": 1.0})
    began = time.monotonic()
    with watched(daemon.target) as (channel, states):
        wait_until(lambda: READY in states)
        wait_until(lambda: states[-1] is not READY, what="the end of the connection")
        assert time.monotonic() - began > 0.5
        assert ids(rank_stub(channel).Rank(request(item("a")), timeout=30)) == ["a"]
        assert TRANSIENT_FAILURE not in states


def test_calls_outlive_the_age_of_their_connection(start_daemon, wait_until):
    """A stream goes on when its connection is told to end: nothing in flight is lost."""
    daemon = start_daemon(limits={"max_connection_age": 1.0})
    with watched(daemon.target) as (channel, states):
        go_on = threading.Event()

        def messages():
            yield rank_pb2.RankStreamRequest(sequence=1)
            go_on.wait(60)
            yield rank_pb2.RankStreamRequest(sequence=2)

        stream = rank_stub(channel).RankStream(messages(), timeout=60)
        assert next(stream).sequence == 1
        wait_until(lambda: READY in states and states[-1] is not READY)
        time.sleep(0.5)
        go_on.set()
        assert [m.sequence for m in stream] == [2]


def test_the_largest_message_is_a_setting(daemon, start_daemon):
    """By default 16 MiB, where grpc's own is 4; beyond the setting grpc itself refuses, without our details."""
    large = request(*(item(str(n), "w1 " * 330_000) for n in range(6)))
    assert large.ByteSize() > 5 * 2**20
    small = start_daemon(limits={"max_message_bytes": 2**20})
    with daemon.channel() as channel:
        assert len(rank_stub(channel).Rank(large, timeout=30).items) == 6
    with small.channel() as channel:
        with pytest.raises(grpc.RpcError) as raised:
            rank_stub(channel).Rank(large, timeout=30)
        assert ids(rank_stub(channel).Rank(request(item("a")), timeout=30)) == ["a"]
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details(raised.value) == {}
