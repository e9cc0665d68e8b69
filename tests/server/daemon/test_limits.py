"""Calls in flight, drains, rates and quotas: who is refused is told when to come back, and costs no memory."""

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families
from rankd_client.v1 import (
    admin_pb2,
    quality_pb2,
    rank_pb2,
)
from support.gate import Gate
from support.wire import admin_stub, details, ids, item, quality_stub, rank_stub, request

from rankd.auth import Caller, Credential, Quota
from rankd.transport.rate_limit import RateLimit


def test_only_our_own_calls_are_work_to_wait_for(daemon, wait_until):
    """An open watch of health is not in flight; one of quality is."""
    with daemon.channel() as channel:
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        next(health)
        wait_until(lambda: daemon.app.interceptor.in_flight == 0)
        quality = quality_stub(channel).WatchQuality(quality_pb2.WatchQualityRequest())
        next(quality)
        assert daemon.app.interceptor.in_flight == 1
        quality.cancel()
        wait_until(lambda: daemon.app.interceptor.in_flight == 0)
        health.cancel()


def test_administration_stays_on_its_own_listener(start_daemon):
    """What the admin listener served before is not to be found on the public one (they share an interceptor)."""
    daemon = start_daemon()
    for _ in range(2):
        with daemon.channel(daemon.admin_target) as channel:
            assert admin_stub(channel).ListRankers(admin_pb2.ListRankersRequest(), timeout=30).rankers
        with daemon.channel() as channel, pytest.raises(grpc.RpcError) as raised:
            admin_stub(channel).ListRankers(admin_pb2.ListRankersRequest(), timeout=30)
        assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_open_health_watches_do_not_hold_a_drain(start_daemon):
    """Clients that watch health, as Go's do by default, hear of the drain and do not make it last for its grace."""
    daemon = start_daemon(drain_delay=0.3, drain_timeout=3600.0)
    with daemon.channel() as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        daemon.stop()
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(grpc.RpcError) as raised:
            next(watch)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    "says", [b"", GREETING[:9], GREETING, b"\x16\x03\x01\x02", b"GET / HTTP/1.1\r\n\r\n"],
    ids=["nothing", "half a greeting", "a greeting", "half of TLS", "HTTP/1.1"],
)  # fmt: skip
def test_connections_that_say_nothing_do_not_hold_a_drain(start_daemon, says):
    """Nor those that do not answer the goodbye: to any port, however long calls may take."""
    daemon = start_daemon(drain_timeout=3600.0)
    ports = [daemon.app.public.port, daemon.app.admin.port, daemon.app.http.port]
    held = [socket.create_connection(("127.0.0.1", port)) for port in ports]
    for connection in held:
        connection.sendall(says)
    daemon.stop()
    for connection in held:
        connection.settimeout(30)
        with suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
        connection.close()


def test_a_call_under_way_is_waited_for_beside_silent_connections(start_daemon, wait_until):
    """What is cut at once is what says nothing."""
    daemon = start_daemon(drain_timeout=60.0)
    gate = Gate(daemon)
    gate.open.clear()
    with daemon.channel() as channel, socket.create_connection(("127.0.0.1", daemon.app.public.port)):
        call = rank_stub(channel).Rank.future(request(item("a", "long")), timeout=60)
        wait_until(lambda: daemon.app.interceptor.in_flight == 1)
        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(daemon.stop)
            time.sleep(2.5)
            assert not stopping.done()
            gate.open.set()
            assert ids(call.result()) == ["a"]
            stopping.result(60)


def test_connections_are_bounded_and_administration_has_its_own(start_daemon):
    """One too many is closed at once; whoever holds all places of the one listener keeps nobody from the other."""
    daemon = start_daemon(limits={"max_connections": 8})

    def connected(port, number):
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(number)]
        for connection in held:
            connection.settimeout(20)
        return held, [bool(connection.recv(9)) for connection in held]

    public, greeted = connected(daemon.app.public.port, 10)
    assert sum(greeted) == 6
    with daemon.channel(daemon.admin_target) as channel:
        assert admin_stub(channel).ListRankers(admin_pb2.ListRankersRequest(), timeout=30).rankers
    for connection in public:
        connection.close()
    with daemon.channel() as channel:
        assert ids(rank_stub(channel).Rank(request(item("a", "w1")), timeout=30, wait_for_ready=True)) == ["a"]


def test_a_draining_daemon_refuses_new_calls_but_not_health(start_daemon):
    """New calls are told when to come back; a health check is still answered."""
    daemon = start_daemon()
    daemon.call(daemon.app.interceptor.drain)
    with daemon.channel() as channel:
        with pytest.raises(grpc.RpcError) as raised:
            rank_stub(channel).Rank(request(item("a", "w1")), timeout=30)
        assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    found = details(raised.value)
    assert found["ErrorInfo"].reason == "NOT_SERVING"
    assert found["RetryInfo"].retry_delay.ToMilliseconds() > 0


def test_callers_beyond_their_rate_are_told_when_to_come_back(start_daemon):
    """The burst is served, the next call gets RESOURCE_EXHAUSTED and RetryInfo, and is counted; health is exempt."""
    daemon = start_daemon(limits={"calls_per_second": 0.01, "call_burst": 3})
    with daemon.channel() as channel:
        for _ in range(3):
            assert ids(rank_stub(channel).Rank(request(item("a", "w1")), timeout=30)) == ["a"]
        with pytest.raises(grpc.RpcError) as raised:
            rank_stub(channel).Rank(rank_pb2.RankRequest(), timeout=30)
        for _ in range(5):
            assert health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    found = details(raised.value)
    assert found["ErrorInfo"].reason == "RATE_LIMITED"
    assert 0 < found["RetryInfo"].retry_delay.ToSeconds() <= 100
    families = text_string_to_metric_families(urlopen(daemon.http + "/metrics").read().decode())
    assert [f.samples[0].value for f in families if f.name == "rankd_rate_limited"] == [1]


def test_rates_are_each_callers_own_and_bounded_in_number():
    """A bucket refills with time, one caller's does not empty another's, and there is a most of them."""
    a, b = Caller("a"), Caller("b")
    rate = RateLimit(per_second=2.0, burst=2)
    assert [rate.take_of(a, 0.0) for _ in range(3)] == [0.0, 0.0, 0.5]
    assert rate.take_of(b, 0.0) == 0.0
    assert rate.take_of(a, 0.25) == 0.25
    assert rate.take_of(a, 0.5) == 0.0
    assert rate.take_of(a, 0.4) > 0  # a clock that goes back gives nothing
    for n in range(10_000):
        rate.take_of(Caller(str(n)), 1.0)
    assert len(rate._buckets) <= 4096
    off = RateLimit(per_second=0.0, burst=1)
    assert [off.take_of(a, 0.0) for _ in range(5)] == [0.0] * 5
    assert not off._buckets


def test_a_quota_of_ones_own_and_one_that_a_tenant_shares():
    """A credential's own quota goes before the limits of all; a tenant's is emptied by all of its credentials."""
    shared = Quota(1.0, 3)
    one, other, plain = (
        Caller(f"token {name}", "team", Credential(name, "team", frozenset(), quota=quota, digest=b"x"), shared)
        for name, quota in (("one", Quota(1.0, 1)), ("other", Quota(1.0, 9)), ("plain", None))
    )
    rate = RateLimit(per_second=0.0, burst=1)
    assert [rate.take_of(one, 0.0), rate.take_of(one, 0.0)] == [0.0, 1.0]
    assert [rate.take_of(other, 0.0), rate.take_of(plain, 0.0)] == [0.0, 0.0]
    assert [rate.take_of(other, 0.0), rate.take_of(plain, 0.0)] == [1.0, 1.0], "the tenant's three are gone"
    assert rate.take_of(one, 1.0) == 0.0, "refused calls cost nothing"


def test_what_a_refused_call_sent_is_let_go_of(start_process, tmp_path):
    """Grpc keeps an abort's frames in a cycle: with the request in them, whoever has no token fills the memory."""
    file = tmp_path / "auth.toml"
    file.write_text(f'[[token]]\nname = "x"\nsha256 = "{"0" * 64}"\nroles = ["rank"]\n')
    daemon = start_process(environment={"RANKD_AUTH__FILE": str(file)})
    status = Path(f"/proc/{daemon.process.pid}/status")

    def resident():
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read_text())[1]) / 1024

    ranked = request(item("r", "x" * 8 * 2**20))
    asked = health_pb2.HealthCheckRequest(service="x" * 8 * 2**20)
    with grpc.insecure_channel(f"127.0.0.1:{daemon.port}") as channel:
        calls = [
            (rank_stub(channel).Rank, ranked, grpc.StatusCode.UNAUTHENTICATED),
            (health_pb2_grpc.HealthStub(channel).Check, asked, grpc.StatusCode.NOT_FOUND),
        ]
        before = None
        for call, message, code in calls:
            for number in range(30):
                with pytest.raises(grpc.RpcError) as raised:
                    call(message, timeout=20)
                assert raised.value.code() is code
                if number == 5 and before is None:
                    before = resident()
    assert resident() - before < 150, "MB, of 430 that were sent"
