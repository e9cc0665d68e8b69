"""Who may call: every attempt meets the right code, and nothing of it is told anywhere."""

import contextlib
import queue
import re
from urllib.request import urlopen

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rankd_client.v1 import completion_pb2, quality_pb2, rank_pb2
from support.credentials import ALL, TOKENS, administer, bearer, entry, rank, token_entry, write, write_tokens
from support.wire import completion, completion_stub, details, ids, item, quality_stub, rank_stub, request

from rankd.auth import digest_of
from rankd.errors import ConfigError


@pytest.fixture(scope="module")
def guarded(tiny, tmp_path_factory):
    """A daemon that knows its callers."""
    from support.daemon import Daemon

    file = write_tokens(tmp_path_factory.mktemp("auth") / "auth.toml")
    daemon = Daemon(ranker=tiny, auth={"file": file})
    yield daemon
    daemon.stop()


def stream(channel, metadata):
    return next(rank_stub(channel).RankStream(iter([rank_pb2.RankStreamRequest()]), timeout=30, metadata=metadata))


def report(channel, metadata):
    return completion_stub(channel).ReportCompletions(
        completion_pb2.ReportCompletionsRequest(), timeout=30, metadata=metadata
    )


def quality(channel, metadata):
    return quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(), timeout=30, metadata=metadata)


def watch(channel, metadata):
    return next(quality_stub(channel).WatchQuality(quality_pb2.WatchQualityRequest(), timeout=30, metadata=metadata))


def reflect(channel, metadata):
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    return next(stub.ServerReflectionInfo(iter([asked]), timeout=30, metadata=metadata))


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
            status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=30).status
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
            got = rank_stub(channel).Rank(request(*items), timeout=30, metadata=bearer(name)).items
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
        got = rank_stub(channel).Rank(request(item("l", "long"), item("s", "short")), timeout=30, metadata=bearer("a"))
    assert ids(got) == ["s", "l"]


def test_a_daemon_that_asks_nobody_takes_any_token(daemon):
    """Without auth.file, on loopback, a client that has a token anyway is served as ever."""
    with daemon.channel() as channel:
        assert rank(channel, bearer("a")).items
        assert rank(channel, None).items


def test_who_has_no_credential_may_be_let_in_but_never_administers(start_daemon, tmp_path):
    """auth.anonymous = true: everything but administration; a wrong token is refused all the same."""
    daemon = start_daemon(auth={"file": write_tokens(tmp_path / "auth.toml"), "anonymous": True})
    with daemon.channel() as channel:
        assert rank(channel, None).items
        assert rank(channel, bearer("a")).items
    assert refused(daemon, rank, bearer("gone"))[1] == "CREDENTIAL_UNKNOWN"
    assert refused(daemon, rank, bearer("admin"))[1] == "ROLE_MISSING"
    assert refused(daemon, administer, None)[1] == "CREDENTIAL_MISSING"


def test_a_listener_that_others_reach_does_not_start_unasked(start_daemon, tmp_path):
    """The operator reads what to set; said explicitly, or with credentials and TLS elsewhere, it starts."""
    with pytest.raises(ConfigError, match="not on loopback, and nothing says who may call"):
        start_daemon(listen="0.0.0.0:0")
    file = write_tokens(tmp_path / "auth.toml")
    with pytest.raises(ConfigError, match="tokens would pass in the clear"):
        start_daemon(listen="0.0.0.0:0", auth={"file": file})
    for auth in ({"anonymous": True}, {"file": file, "plaintext": True}):
        assert start_daemon(listen="0.0.0.0:0", auth=auth).app.public.port


def test_quotas_are_a_credentials_and_a_tenants(start_daemon, tmp_path):
    """Calls and stream messages beyond them get RESOURCE_EXHAUSTED and RetryInfo; other callers do not notice."""
    quota = entry("tenant", "team-b", calls_per_second=0.01, call_burst=3)
    slow = token_entry("gone", roles=ALL, tenant="team-a", calls_per_second=0.01, call_burst=2)
    other = token_entry("old", roles=ALL, tenant="team-b")
    file = write_tokens(tmp_path / "auth.toml", quota, slow, other, names=("a", "b"))
    daemon = start_daemon(auth={"file": file})

    def served(name, tries):
        with daemon.channel() as channel:
            for done in range(tries):
                try:
                    rank(channel, bearer(name))
                except grpc.RpcError as error:
                    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                    assert details(error)["RetryInfo"].retry_delay.seconds > 10
                    return done
        return tries

    assert served("gone", 5) == 2
    assert served("a", 20) == 20
    assert served("b", 2) == 2
    messages = [rank_pb2.RankStreamRequest(sequence=n) for n in range(5)]
    with daemon.channel() as channel:
        answers = rank_stub(channel).RankStream(iter(messages), timeout=30, metadata=bearer("old"))
        assert next(answers).sequence == 0
        with pytest.raises(grpc.RpcError) as raised:
            next(answers)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert served("b", 5) == 0, "the tenant's are gone, whichever credential took them"


def test_a_stream_ends_when_its_token_is_taken_back(start_daemon, tmp_path, wait_until):
    """At its next message, of the caller or of the daemon; streams of other tokens go on."""
    file = write_tokens(tmp_path / "auth.toml")
    daemon = start_daemon(auth={"file": file})
    with daemon.channel() as channel:
        steps = {name: queue.SimpleQueue() for name in ("a", "b")}
        streams = {
            name: rank_stub(channel).RankStream(iter(steps[name].get, None), timeout=30, metadata=bearer(name))
            for name in steps
        }
        asked = quality_pb2.WatchQualityRequest(interval={"nanos": 100_000_000})
        watching = quality_stub(channel).WatchQuality(asked, timeout=30, metadata=bearer("a"))
        next(watching)
        for name, answers in streams.items():
            steps[name].put(rank_pb2.RankStreamRequest())
            next(answers)
        write_tokens(file, names=("b", "any"))
        wait_until(lambda: refused_now(channel, "a"))
        for step in steps.values():
            step.put(rank_pb2.RankStreamRequest())
        assert next(streams["b"]) is not None
        for ended in (streams["a"], watching):
            with pytest.raises(grpc.RpcError) as raised:
                list(ended)
            assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        steps["b"].put(None)


def test_a_stream_ends_when_its_tenants_quota_changes(start_daemon, tmp_path, wait_until):
    """Else a quota given to stop a flood would not hold for the stream that brings it."""
    file = write_tokens(tmp_path / "auth.toml")
    daemon = start_daemon(auth={"file": file})
    with daemon.channel() as channel:
        steps = queue.SimpleQueue()
        answers = rank_stub(channel).RankStream(iter(steps.get, None), timeout=30, metadata=bearer("b"))
        steps.put(rank_pb2.RankStreamRequest())
        next(answers)
        before = daemon.app.authenticator.file.current
        write_tokens(file, entry("tenant", "team-b", calls_per_second=0.01, call_burst=1))
        wait_until(lambda: daemon.app.authenticator.file.current is not before)
        steps.put(rank_pb2.RankStreamRequest())
        with pytest.raises(grpc.RpcError) as raised:
            next(answers)
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        steps.put(None)


def refused_now(channel, name):
    try:
        rank(channel, bearer(name))
    except grpc.RpcError as error:
        return error.code() is grpc.StatusCode.UNAUTHENTICATED
    return False


def test_over_share_reports_are_accepted_and_counted(start_daemon, tmp_path):
    """A tenant beyond its share is told nothing of it; the metric is."""
    daemon = start_daemon(auth={"file": write_tokens(tmp_path / "auth.toml")}, guard={"min_known": 8})

    def accepted(channel, name, count):
        batch = completion_pb2.ReportCompletionsRequest(
            completions=[completion(f"{name}{n}", n % 7, n % 90, "tiny@1.0.0") for n in range(count)]
        )
        return completion_stub(channel).ReportCompletions(batch, timeout=9, metadata=bearer(name)).accepted_count

    with daemon.channel() as channel:
        assert [accepted(channel, "any", 100), accepted(channel, "a", 500)] == [100, 500]
    text = urlopen(daemon.http + "/metrics").read().decode()
    counts = dict(re.findall(r'rankd_completions_total\{.*kind="final".*outcome="(\w+)".*\} ([0-9.]+)', text))
    assert 1 < float(counts["accepted"]) - 100 < 330
    assert float(counts["over_share"]) + float(counts["accepted"]) == 600


def test_nothing_of_an_attempt_is_told_anywhere(start_process, wait_until, tmp_path):
    """After every attempt neither log nor metrics hold a token, a part of one, a tenant or a request id."""
    file = write_tokens(tmp_path / "auth.toml")
    process = start_process(environment={"RANKD_AUTH__FILE": str(file)})
    attempts = [n[1] for n in NOBODY] + [bearer("reader"), bearer("a")]
    with grpc.insecure_channel(process.target) as channel:
        for metadata in attempts:
            for call in (rank, stream, report, quality):
                with contextlib.suppress(grpc.RpcError):
                    call(channel, metadata)
        with contextlib.suppress(grpc.RpcError):
            rank_stub(channel).Rank(
                request(item("secret-id", "long", tenant="team-b")), timeout=30, metadata=bearer("a")
            )
        metrics = urlopen(process.http + "metrics").read().decode()
        write(file, f'[[token]]\nname = "a"\ntoken = "{WRONG}"\nroles = ["root"]')
        wait_until(lambda: any("secrets_unusable" in line for line in process.lines))
    process.terminate()
    counts = dict(re.findall(r'rankd_auth_refused_total\{.*reason="(\w+)".*\} ([0-9.]+)', metrics))
    assert {r: float(v) for r, v in counts.items()} == {
        "missing": 4, "unknown": 28, "expired": 4, "role": 3, "tenant": 1,
    }  # fmt: skip
    told = metrics + "".join(process.lines)
    for secret in (*TOKENS.values(), WRONG):
        assert secret[:12] not in told
        assert digest_of(secret).hex()[:12] not in told
    assert not re.search(r"team-[ab]|secret-id", told)
