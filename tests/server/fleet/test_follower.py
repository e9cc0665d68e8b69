"""Real daemons that tell each other what they know: they stand alike, also when one of them is gone or new."""

import itertools
import socket
import time
from concurrent import futures

import grpc
import pytest
from rankd_client import RankClient
from rankd_client.v1 import admin_pb2, quality_pb2, quality_pb2_grpc
from support.fleet_calls import administer, quality, traffic
from support.ports import free_ports

FALLBACK, RANKED = quality_pb2.GUARD_MODE_FALLBACK, quality_pb2.GUARD_MODE_RANKED
EVERY = 0.5
"""Seconds between two rounds, and how long a peer may take to answer: on a busy machine that is soon too short."""
GUARD = {"every": 10, "cohort": 64, "min_known": 60, "dwell": 0.0}


@pytest.fixture
def start_fleet(start_daemon):
    """Starts daemons that ask each other."""

    def start(count, **fleet):
        ports = free_ports(count)
        peers = ",".join(f"127.0.0.1:{p}" for p in ports)
        return [replica(start_daemon, port, peers, **fleet) for port in ports]

    return start


def replica(start_daemon, port, peers, **fleet):
    """One of a fleet.

    Who does not come to asking for as long as others take to forget it gives up its seniority. All replicas of a test
    share this process: on a busy machine all may stand still for seconds, and then any of them may lead.
    """
    fleet = {"peers": peers, "every": EVERY, "forget_after": 10 * EVERY} | fleet
    return start_daemon(listen=f"127.0.0.1:{port}", guard=GUARD, fleet=fleet)


def report(daemon, numbers, *, backwards=False):
    """Finished requests whose lengths follow their scores, or are the opposite."""
    with RankClient(daemon.target, model="m", timeout=10) as client:
        length = (lambda n: 900 - 90 * (n % 9) + n % 7) if backwards else (lambda n: 90 * (n % 9) + n % 7 + 1)
        assert traffic(client, numbers, length).accepted == len(numbers)


def goes_on_until(condition, daemon, wait_until, what):
    """Good reports keep coming: a fleet decides when some have ended, and returns when it found so more than once."""
    starts = itertools.count(200, 10)

    def one_more():
        start = next(starts)
        report(daemon, range(start, start + 10))
        time.sleep(0.05)
        return condition()

    wait_until(one_more, what=what)


def modes(daemons):
    """What mode each guard is in; None where it does not know of the model."""
    return [q.guard.mode if (q := quality(d)).model == "m" else None for d in daemons]


def leading(daemons):
    """Which of them decides."""
    return [quality(d).fleet.leading for d in daemons]


def test_replicas_without_a_report_stand_where_the_one_with_reports_does(start_fleet, wait_until):
    """One of three takes all reports, and they are bad: all fall back, and all return when it is good again.

    Those that follow say so; only one leads; the fleet's tau is the same for all.
    """
    fleet = start_fleet(3)
    for start in range(0, 120, 10):
        report(fleet[1], range(start, start + 10), backwards=True)
    wait_until(lambda: modes(fleet) == [FALLBACK] * 3, what="a fallback of all")
    wait_until(lambda: sum(leading(fleet)) == 1, what="one leader")
    told = [quality(d) for d in fleet]
    assert sorted(t.guard.reason for t in told) == ["followed", "followed", "quality"]
    wait_until(lambda: {quality(d).fleet.peer_count for d in fleet} == {2}, what="all hearing of all")
    told = [quality(d).fleet for d in fleet]
    assert all(t.followed for t in told)
    wait_until(lambda: len({quality(d).fleet.tau.value for d in fleet}) == 1, what="one tau")
    assert quality(fleet[0]).completion_count == 0
    with RankClient(fleet[0].target, model="m", timeout=10) as client:
        assert client.rank(["long", "short"]).reason == "guard"
    # The bad ones leave the cohort.
    goes_on_until(lambda: modes(fleet) == [RANKED] * 3, fleet[1], wait_until, "the return of all")


def test_bad_evidence_of_two_halves_counts_as_one(start_fleet, wait_until):
    """Neither has the 60 known lengths that a decision takes; together they have."""
    fleet = start_fleet(2)
    for start in range(0, 55, 5):
        for side, daemon in enumerate(fleet):
            report(daemon, range(1000 * side + start, 1000 * side + start + 5), backwards=True)
            time.sleep(EVERY / 2)
    wait_until(lambda: modes(fleet) == [FALLBACK] * 2, what="a fallback of both")
    assert {quality(d).fleet.replica_count for d in fleet} == {2}


def test_the_fleet_outlives_its_leader_and_a_newcomer_joins_it(start_daemon, wait_until):
    """The one that decided is stopped: the rest stand as before and go on deciding. A new one stands where they do."""
    ports = free_ports(3)
    peers = ",".join(f"127.0.0.1:{p}" for p in ports)
    first, second = (replica(start_daemon, port, peers) for port in ports[:2])
    for start in range(0, 120, 10):
        report(second, range(start, start + 10), backwards=True)
    wait_until(lambda: modes([first, second]) == [FALLBACK] * 2, what="a fallback of both")
    wait_until(lambda: sum(leading([first, second])) == 1, what="one leader")
    # The first to start, unless it stood still for so long that it gave that up.
    leader, rest = (first, second) if leading([first])[0] else (second, first)
    before = quality(rest).guard.since
    leader.stop()
    third = replica(start_daemon, ports[2], peers)
    wait_until(lambda: modes([third]) == [FALLBACK], what="the newcomer's fallback")
    assert abs(quality(third).guard.since.ToNanoseconds() - before.ToNanoseconds()) < 1e9
    wait_until(lambda: sum(leading([rest, third])) == 1, what="another leader")
    # The old cohort of who had the bad reports weighs less and less, as nothing comes to it.
    goes_on_until(lambda: modes([rest, third]) == [RANKED] * 2, third, wait_until, "the return of both")


def test_who_does_not_follow_sees_the_fleet_and_decides_alone(start_fleet, wait_until):
    """``fleet.follow = false``: shown, not obeyed."""
    fleet = start_fleet(2, follow=False)
    report(fleet[0], range(5))
    for start in range(0, 120, 10):
        report(fleet[1], range(1000 + start, 1010 + start), backwards=True)
    wait_until(lambda: modes(fleet)[1] == FALLBACK, what="a fallback of the one with bad reports")
    wait_until(lambda: quality(fleet[0]).fleet.peer_count == 1, what="its figure at the other")
    time.sleep(4 * EVERY)
    told = quality(fleet[0])
    assert told.guard.mode != FALLBACK
    assert not told.fleet.followed
    wait_until(lambda: quality(fleet[0]).fleet.tau.high < 0, what="the fleet's figure")


def test_peers_that_cannot_be_reached_leave_a_guard_to_its_own_evidence(start_daemon, wait_until):
    """Nobody listens, one never answers, one name is unknown: calls are answered, and bad reports lead to fallback."""
    hole = socket.create_server(("127.0.0.1", 0))
    peers = f"127.0.0.1:{free_ports(1)[0]},127.0.0.1:{hole.getsockname()[1]},no-such-host.invalid:1"
    daemon = replica(start_daemon, free_ports(1)[0], peers)
    with RankClient(daemon.target, model="m", timeout=10) as client:
        for _ in range(40):
            assert not client.rank(["long", "short"]).failed
    for start in range(0, 120, 10):
        report(daemon, range(start, start + 10), backwards=True)
    wait_until(lambda: modes([daemon]) == [FALLBACK], what="a fallback")
    told = quality(daemon)
    assert (told.guard.reason, told.fleet.followed, told.fleet.peer_count) == ("quality", False, 0)
    hole.close()


def test_a_pin_is_one_replicas_own(start_fleet, wait_until):
    """An operator who holds one replica holds that one; it follows again when the pin ends."""
    fleet = start_fleet(2)
    report(fleet[0], range(20))
    wait_until(lambda: modes(fleet)[1] is not None, what="a window at the other")
    before = modes(fleet)[0]
    pin = admin_pb2.PinGuardRequest(model="m", mode=FALLBACK)
    pin.duration.FromSeconds(60)
    administer(fleet[1], "PinGuard", pin)
    time.sleep(3 * EVERY)
    assert modes(fleet) == [before, FALLBACK]
    administer(fleet[1], "UnpinGuard", admin_pb2.UnpinGuardRequest(model="m"))
    wait_until(lambda: modes(fleet) == [before] * 2, what="the guard at the other's mode")


def test_all_addresses_of_a_name_are_asked_but_not_oneself(start_daemon, wait_until):
    """``dns:///`` as of a headless Service. The name here has this daemon's address, which it leaves alone."""
    port = free_ports(1)[0]
    daemon = replica(start_daemon, port, f"dns:///localhost:{port}")
    wait_until(lambda: daemon.app.peers._myself, what="itself among the addresses")
    assert daemon.app.follower.replicas == 1


class _Recorder(quality_pb2_grpc.QualityServiceServicer):
    """Keeps what it was sent as ``authorization``."""

    def __init__(self):
        self.seen = []

    def GetFleetShare(self, request, context):  # noqa: N802
        del request
        self.seen.append(dict(context.invocation_metadata()).get("authorization"))
        return quality_pb2.GetFleetShareResponse(instance="other", senior_since={"seconds": 1})


def test_the_token_in_the_file_goes_along_and_follows_the_file(start_daemon, wait_until, tmp_path):
    """A token is rotated by writing the file; nobody restarts."""
    server, recorder = grpc.server(futures.ThreadPoolExecutor(2)), _Recorder()
    quality_pb2_grpc.add_QualityServiceServicer_to_server(recorder, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    token = tmp_path / "token"
    token.write_text("first\n")
    replica(start_daemon, free_ports(1)[0], f"127.0.0.1:{port}", token_file=token)
    wait_until(lambda: "Bearer first" in recorder.seen, what="the token")
    token.write_text("second\n")
    wait_until(lambda: "Bearer second" in recorder.seen, what="the new token")
    server.stop(None)
