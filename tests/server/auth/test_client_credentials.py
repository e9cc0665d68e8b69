"""Clients, the command line and certificates: who they show themselves as, and rotation under load."""

import asyncio
import subprocess
import sys
import threading
import time
from contextlib import suppress

import grpc
import pytest
from rankd_client import (
    AdminClient,
    AsyncRankClient,
    Completed,
    Item,
    RankClient,
    RankdRefusedError,
    RankdUnavailableError,
    TlsConfig,
)
from rankd_client._token import local
from rankd_client.integration.settings import IntegrationSettings
from support.certificates import tls_settings
from support.credentials import ALL, TOKENS, administer, bearer, entry, rank, token_entry, write, write_tokens
from support.wire import details, item, rank_stub, request


@pytest.fixture(scope="module")
def guarded(tiny, tmp_path_factory):
    """A daemon that knows its callers."""
    from support.daemon import Daemon

    daemon = Daemon(ranker=tiny, auth={"file": write_tokens(tmp_path_factory.mktemp("auth") / "auth.toml")})
    yield daemon
    daemon.stop()


def test_a_client_shows_its_token_with_every_call(guarded, tmp_path):
    """Rank, stream, report, quality and watch, from an argument or a file; without it they fail open, or say why."""
    (tmp_path / "token").write_text(TOKENS["a"] + "\n")
    for shown in ({"token": TOKENS["a"]}, {"token_file": tmp_path / "token"}):
        with RankClient(guarded.target, timeout=30, **shown) as client:
            queue = client.rank([Item("long", "l"), Item("short", "s")])
            assert (queue.failed, [r.request_id for r in queue]) == (False, ["s", "l"])
            with client.stream() as stream:
                assert stream.step([Item("long", "l"), Item("short", "s")], max_wait=10) == ["s", "l"]
            assert client.report([Completed("l", queue[1].prediction, 9)]).error == ""
            assert client.quality().service.ranker_version == "tiny@1.0.0"
            assert next(iter(client.watch_quality())).service.ranker_version == "tiny@1.0.0"
            assert TOKENS["a"] not in repr(client)
    with RankClient(guarded.target, timeout=30) as nobody:
        queue = nobody.rank(["long"])
        assert (queue.failed, queue.reason) == (True, "error:UNAUTHENTICATED")
        with nobody.stream() as stream:
            assert stream.step([Item("long", "l")]) == ["l"]
            assert stream.reason == "error:UNAUTHENTICATED"
        with pytest.raises(RankdUnavailableError, match="needs a credential"):
            nobody.quality()


def test_the_asyncio_client_does_so_too(guarded):
    """The same calls, awaited."""

    async def run():
        async with AsyncRankClient(guarded.target, timeout=30, token=TOKENS["a"]) as client:
            queue = await client.rank([Item("long", "l")])
            async with client.stream() as stream:
                order = await stream.step([Item("long", "l")], max_wait=10)
            report = await client.report([Completed("l", queue[0].prediction, 9)])
            async for seen in client.watch_quality():
                watched = seen.service.ranker_version
                break
            return queue.failed, order, report.error, watched, (await client.quality()).service.ranker_version

    assert asyncio.run(run()) == (False, ["l"], "", "tiny@1.0.0", "tiny@1.0.0")


def test_administration_needs_its_role(guarded):
    """The admin client shows its token; a refusal says what is missing."""
    with AdminClient(guarded.admin_target, token=TOKENS["admin"]) as admin:
        assert admin.rankers().rankers[0].in_service
    wrong = AdminClient(guarded.admin_target, token=TOKENS["a"])
    with wrong as admin, pytest.raises(RankdRefusedError, match="lacks the role admin"):
        admin.rankers()
    with AdminClient(guarded.admin_target) as admin, pytest.raises(RankdRefusedError, match="needs a credential"):
        admin.rankers()


@pytest.mark.parametrize("kind", [RankClient, AdminClient, AsyncRankClient])
def test_a_token_is_not_sent_over_a_network_in_the_clear(kind, tmp_path):
    """Without TLS, to another machine, only where that is said; and what is no token is named without telling it."""
    with pytest.raises(ValueError, match=r"token: rankd:1 .*without TLS .*plaintext_token"):
        kind("rankd:1", token=TOKENS["a"])

    async def made(**good):
        closing = kind("rankd:1", token=TOKENS["a"], **good).close()
        if closing is not None:
            await closing

    for good in ({"tls": TlsConfig()}, {"plaintext_token": True}):
        asyncio.run(made(**good))
    with pytest.raises(ValueError, match="give one of them"):
        kind("127.0.0.1:1", token="x", token_file="y")
    with pytest.raises(ValueError, match=r"token_file: .*none cannot be read: No such file"):
        kind("127.0.0.1:1", token_file=tmp_path / "none")
    for text in ("two words", "", "sesam\u00e9"):
        (tmp_path / "bad").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="token_file: ") as raised:
            kind("127.0.0.1:1", token_file=tmp_path / "bad")
        assert not text or text not in str(raised.value)


@pytest.mark.parametrize(
    ("target", "here"),
    [
        ("127.0.0.1:1", True), ("localhost:1", True), ("[::1]:1", True), ("unix:/run/rankd", True),
        ("dns:///localhost:1", True), ("ipv4:127.0.0.1:1,127.0.0.2:1", True), ("ipv6:[::1]:1", True),
        ("localhost", True), ("rankd:1", False), ("dns:///rankd:1", False), ("ipv4:127.0.0.1:1,10.0.0.1:1", False),
        ("0.0.0.0:1", False), ("dns://127.0.0.1/rankd:1", False), ("xds:///localhost.evil:1", False), ("", False),
        ("ipv6:[2001:db8::1]:1", False), ("127.0.0.1.evil.org:1", False),
    ],
)  # fmt: skip
def test_what_a_client_takes_for_this_machine(target, here):
    """All of what a target names, in each form that grpc knows."""
    assert local(target) is here


def rankd(*arguments, **environment):
    import os

    done = subprocess.run(
        [sys.executable, "-m", "rankd", *arguments], capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | environment,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_command_line_shows_tokens(guarded, tmp_path):
    """By flag before variables, RANKD_TOKEN_FILE or RANKD_TOKEN; without, it says what is missing."""
    (tmp_path / "a").write_text(TOKENS["a"])
    (tmp_path / "admin").write_text(TOKENS["admin"])
    status = ("status", "--target", guarded.target)
    assert rankd(*status, RANKD_TOKEN=TOKENS["a"])[0] == 0
    assert rankd(*status, RANKD_TOKEN_FILE=str(tmp_path / "a"))[0] == 0
    assert rankd(*status, "--token-file", str(tmp_path / "a"), RANKD_TOKEN=TOKENS["gone"])[0] == 0
    code, said = rankd(*status)
    assert code == 1
    assert "needs a credential" in said
    code, said = rankd(*status, "--token-file", str(tmp_path / "none"))
    assert code == 2
    assert "none cannot be read" in said
    roll_back = ("rollback", "--admin", guarded.admin_target)
    code, said = rankd(*roll_back, "--token-file", str(tmp_path / "a"))
    assert code == 2
    assert "lacks the role admin" in said
    assert "lacks the role" not in rankd(*roll_back, "--token-file", str(tmp_path / "admin"))[1]


def test_engines_read_their_token_from_the_environment(tmp_path):
    """As a variable or a file; a setting that cannot be is named, before anything is served."""
    (tmp_path / "token").write_text(TOKENS["a"])
    read = IntegrationSettings.from_environment({"RANKD_TOKEN_FILE": str(tmp_path / "token")})
    assert read.connection["token_file"] == tmp_path / "token"
    assert TOKENS["a"] not in repr(IntegrationSettings.from_environment({"RANKD_TOKEN": TOKENS["a"]}))
    for wrong in (
        {"RANKD_TOKEN_FILE": "/nowhere"},
        {"RANKD_TOKEN": TOKENS["a"], "RANKD_TARGET": "rankd:1"},
        {"RANKD_TOKEN": TOKENS["a"], "RANKD_PLAINTEXT_TOKEN": "maybe"},
        {"RANKD_TOKEN": "two words"},
    ):
        with pytest.raises(ValueError, match=r"RANKD_(TOKEN|PLAINTEXT_TOKEN)") as raised:
            IntegrationSettings.from_environment(wrong)
        assert TOKENS["a"] not in str(raised.value)
    meshed = {"RANKD_TOKEN": TOKENS["a"], "RANKD_TARGET": "rankd:1", "RANKD_PLAINTEXT_TOKEN": "true"}
    assert IntegrationSettings.from_environment(meshed).plaintext_token


def test_names_in_client_certificates_are_credentials(start_daemon, wait_until, pki, tmp_path):
    """Alternative name or common name: tenant and roles; an unknown name is refused; a token goes before it."""
    file = write(
        tmp_path / "auth.toml",
        entry("certificate", "client", tenant="team-c", roles=["rank", "admin"]),
        token_entry("b", tenant="team-b", roles=ALL),
    )
    daemon = start_daemon(tls=tls_settings(pki, client_ca=pki / "ca.pem"), auth={"file": file})

    def channel_of(name, target=daemon.target):
        files = [(pki / f).read_bytes() for f in ("ca.pem", f"{name}.key", f"{name}.pem")]
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(*files))

    with channel_of("client") as channel:
        got = rank_stub(channel).Rank(request(item("r", "long")), timeout=30).items[0].prediction
        assert got.tenant == "team-c"
        assert rank(channel, bearer("b")).items[0].prediction.tenant == "team-b"
        with pytest.raises(grpc.RpcError) as raised:
            rank(channel, bearer("gone"))
        assert details(raised.value)["ErrorInfo"].reason == "CREDENTIAL_UNKNOWN"
    with channel_of("client", daemon.admin_target) as channel:
        assert administer(channel, None).rankers
    with channel_of("other") as channel, pytest.raises(grpc.RpcError) as raised:
        rank(channel, None)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    write(file, entry("certificate", "other", roles=["rank"]))

    def known():
        with suppress(grpc.RpcError), channel_of("other") as channel:
            return rank(channel, None).items

    wait_until(known, what="the other name")
    with channel_of("client") as channel, pytest.raises(grpc.RpcError):
        rank(channel, None)


def test_rotation_under_load_drops_no_call(start_daemon, wait_until, tmp_path):
    """Daemon first, then clients, then the old token goes, twice over: calls and streams are ranked."""
    tokens = [f"rotating-{n}-0123456789abcdef" for n in range(3)]
    book, held = tmp_path / "auth.toml", tmp_path / "token"

    def know(*known):
        write(book, *(token_entry("engine", tokens[n], roles=ALL, tenant="t") for n in known))

    def hold(n):
        held.with_suffix(".new").write_text(tokens[n])
        held.with_suffix(".new").replace(held)

    know(0)
    hold(0)
    daemon = start_daemon(auth={"file": book})
    stop, failed, done = threading.Event(), [], [0, 0]

    def load(n):
        with RankClient(daemon.target, timeout=30, token_file=held) as client, client.stream() as stream:
            stream.step([Item("short", "s"), Item("long", "l")], max_wait=10)
            while not stop.wait(0.005):
                queue = client.rank([Item("long", f"l{n}"), Item("short", f"s{n}")])
                order = stream.step()
                done[n] += 1
                if queue.failed or stream.reason or order != ["s", "l"]:
                    failed.append((queue.reason, stream.reason, order))

    threads = [threading.Thread(target=load, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()

    def accepted(n):
        with daemon.channel() as channel, suppress(grpc.RpcError):
            return rank(channel, (("authorization", f"Bearer {tokens[n]}"),)).items

    for old in range(2):
        know(old, old + 1)
        wait_until(lambda new=old + 1: accepted(new), what="the new token")
        hold(old + 1)
        time.sleep(1.1)  # clients look once a second, at a call
        before = list(done)
        wait_until(lambda before=before: all(now > then + 2 for now, then in zip(done, before, strict=True)))
        know(old + 1)
        wait_until(lambda old=old: not accepted(old), what="the end of the old token")
    stop.set()
    for thread in threads:
        thread.join(20)
    assert failed == []
    assert min(done) > 10
