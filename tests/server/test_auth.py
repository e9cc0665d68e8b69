"""Who may call: every attempt meets the right code, and nothing of it is told anywhere."""

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rankd_client.v1 import admin_pb2, completion_pb2, quality_pb2, rank_pb2
from secrets_files import TOKENS, bearer, write_tokens
from wire import admin_stub, completion_stub, details, ids, item, quality_stub, rank_stub, request


@pytest.fixture(scope="module")
def guarded(tiny, tmp_path_factory):
    """A daemon that knows its callers."""
    from conftest import Daemon

    file = write_tokens(tmp_path_factory.mktemp("auth") / "auth.toml")
    daemon = Daemon(ranker=tiny, auth={"file": file})
    yield daemon
    daemon.stop()


def rank(channel, metadata):
    return rank_stub(channel).Rank(request(item("r", "long")), timeout=5, metadata=metadata)


def stream(channel, metadata):
    return next(rank_stub(channel).RankStream(iter([rank_pb2.RankStreamRequest()]), timeout=5, metadata=metadata))


def report(channel, metadata):
    return completion_stub(channel).ReportCompletions(
        completion_pb2.ReportCompletionsRequest(), timeout=5, metadata=metadata
    )


def quality(channel, metadata):
    return quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(), timeout=5, metadata=metadata)


def watch(channel, metadata):
    return next(quality_stub(channel).WatchQuality(quality_pb2.WatchQualityRequest(), timeout=5, metadata=metadata))


def administer(channel, metadata):
    return admin_stub(channel).ListRankers(admin_pb2.ListRankersRequest(), timeout=5, metadata=metadata)


def reflect(channel, metadata):
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    return next(stub.ServerReflectionInfo(iter([asked]), timeout=5, metadata=metadata))


CALLS = [rank, stream, report, quality, watch, administer, reflect]
WRONG = "wrong-secret-0123456789abcdefghij"
NOBODY = [
    ("none", None, "CREDENTIAL_MISSING"),
    ("wrong", (("authorization", f"Bearer {WRONG}"),), "CREDENTIAL_UNKNOWN"),
    ("cut short", (("authorization", f"Bearer {TOKENS['a'][:-1]}"),), "CREDENTIAL_UNKNOWN"),
    ("one more", (("authorization", f"Bearer {TOKENS['a']}x"),), "CREDENTIAL_UNKNOWN"),
    ("taken back", bearer("gone"), "CREDENTIAL_UNKNOWN"),
    ("empty", (("authorization", "Bearer "),), "CREDENTIAL_UNKNOWN"),
    ("another scheme", (("authorization", f"Basic {TOKENS['a']}"),), "CREDENTIAL_UNKNOWN"),
    ("two at once", bearer("a") + bearer("b"), "CREDENTIAL_UNKNOWN"),
    ("expired", bearer("old"), "CREDENTIAL_EXPIRED"),
]


def refused(daemon, call, metadata):
    """How a call is refused."""
    target = daemon.admin_target if call is administer else None
    with daemon.channel(target) as channel, pytest.raises(grpc.RpcError) as raised:
        call(channel, metadata)
    return raised.value.code(), details(raised.value)["ErrorInfo"].reason, raised.value.details()


@pytest.mark.parametrize("call", CALLS, ids=lambda c: c.__name__)
@pytest.mark.parametrize(("metadata", "reason"), [n[1:] for n in NOBODY], ids=[n[0] for n in NOBODY])
def test_who_is_not_known_is_refused(guarded, call, metadata, reason):
    """No credential, a wrong one, and one whose time is over: UNAUTHENTICATED by every method of every arity."""
    code, found, text = refused(guarded, call, metadata)
    assert (code, found) == (grpc.StatusCode.UNAUTHENTICATED, reason)
    assert not any(secret in text for secret in (*TOKENS.values(), WRONG))


MAY = {
    "a": {rank, stream, report, quality, watch, reflect},
    "reader": {quality, watch, reflect},
    "admin": {administer, reflect},
}


@pytest.mark.parametrize("call", CALLS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", MAY)
def test_roles_say_who_may_do_what(guarded, call, name):
    """Each method asks for its role: PERMISSION_DENIED without, an answer with it."""
    if call in MAY[name]:
        with guarded.channel(guarded.admin_target if call is administer else None) as channel:
            assert isinstance(call(channel, bearer(name)), Message)
    else:
        assert refused(guarded, call, bearer(name))[:2] == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING")


def test_health_answers_anybody(guarded):
    """Probes have no credential."""
    for target in (guarded.target, guarded.admin_target):
        with guarded.channel(target) as channel:
            status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5).status
    assert status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(
    ("name", "tenants", "answer"),
    [
        ("a", ["", "team-a"], ["team-a", "team-a"]),
        ("any", ["", "team-b"], ["", "team-b"]),
        ("a", ["team-a", "team-b"], None),
        ("b", ["team-a"], None),
    ],
)
def test_tenants_come_from_the_credential(guarded, name, tenants, answer):
    """An empty tenant is filled in, the own one stays, another one is PERMISSION_DENIED, named by its index."""
    items = [item(f"r{n}", "long", tenant=t) for n, t in enumerate(tenants)]

    def asked(channel):
        if name == "a":
            message = rank_pb2.RankStreamRequest(arrived=items)
            message.max_wait.seconds = 5
            got = next(rank_stub(channel).RankStream(iter([message]), timeout=9, metadata=bearer(name))).changed_items
        else:
            got = rank_stub(channel).Rank(request(*items), timeout=5, metadata=bearer(name)).items
        return [i.prediction.tenant for i in sorted(got, key=lambda i: i.request_id)]

    with guarded.channel() as channel:
        if answer is not None:
            assert asked(channel) == answer
            return
        with pytest.raises(grpc.RpcError) as raised:
            asked(channel)
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert details(raised.value)["ErrorInfo"].reason == "WRONG_TENANT"
    assert f"[{len(tenants) - 1}].tenant" in raised.value.details()
    assert "team-" not in raised.value.details()


def test_tenants_change_no_order_of_ones_own(guarded):
    """What is filled in is one tenant's: the order is as without."""
    with guarded.channel() as channel:
        got = rank_stub(channel).Rank(request(item("l", "long"), item("s", "short")), timeout=5, metadata=bearer("a"))
    assert ids(got) == ["s", "l"]
