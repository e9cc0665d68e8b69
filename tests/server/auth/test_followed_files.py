"""Files that a daemon follows: a withdrawn token is refused, and where its file cannot be used, that is told."""

import json
import os
import resource
import shutil
import ssl
from urllib.request import urlopen

import grpc
import pytest
from rankd_client import RankClient
from rankd_client.v1 import quality_pb2
from support.command_line import run
from support.credentials import ALL, TOKENS, bearer, rank, token_entry, write
from support.wire import quality_stub

BOTH = token_entry("a", roles=ALL), token_entry("b", roles=ALL)
ONE = token_entry("b", roles=ALL)


@pytest.fixture
def guarded(start_daemon, tmp_path):
    """A daemon with two tokens, and their file."""
    path = write(tmp_path / "auth.toml", *BOTH)
    return start_daemon(auth={"file": path}), path


def accepted(daemon, name):
    """Whether a token is."""
    with daemon.channel() as channel:
        try:
            rank(channel, bearer(name))
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            return False
        return True


def told(daemon, name="auth.file"):
    """What the metrics, the page, its JSON and the status say of a file: whether it fails, by each."""
    http = daemon.http
    metrics = urlopen(http + "/metrics").read().decode().splitlines()
    (alarm,) = [m for m in metrics if m.startswith("rankd_file_failing{") and f'setting="{name}"' in m]
    (file,) = [f for f in json.load(urlopen(http + "/status.json"))["files"] if f["setting"] == name]
    with RankClient(daemon.target, timeout=30, token=TOKENS["b"]) as client:
        service = client.quality().service
    page = urlopen(http + "/").read().decode()
    return [
        alarm.endswith(" 1.0"), file["failing_for"] is not None, name in service.failing_files,
        f"{name}</th><td>not in force" in page,
    ]  # fmt: skip


def test_a_typo_in_the_tokens_is_told_everywhere(guarded, wait_until, tmp_path):
    """The old tokens are valid meanwhile, and calls are answered: all replicas have the same file."""
    daemon, path = guarded
    assert told(daemon) == [False] * 4
    write(path, ONE, "[[token]]\nname = ")
    wait_until(lambda: all(told(daemon)), what="the alarm")
    assert accepted(daemon, "a")
    assert json.load(urlopen(daemon.http + "/readyz"))["ready"] is True
    (tmp_path / "token").write_text(TOKENS["b"])
    said = run("status", "--target", daemon.target, "--token-file", str(tmp_path / "token"))
    assert "not in force: auth.file" in said.stdout
    write(path, ONE)
    wait_until(lambda: not accepted(daemon, "a"), what="the withdrawal")
    assert accepted(daemon, "b")
    wait_until(lambda: not any(told(daemon)), what="the end of the alarm")


@pytest.mark.parametrize("fault", ["gone", "directory", "empty"])
def test_a_token_is_withdrawn_though_its_file_was_away(guarded, wait_until, fault):
    """And came back with the time it had before."""
    daemon, path = guarded
    status = path.stat()
    path.unlink()
    if fault == "directory":
        path.mkdir()
    elif fault == "empty":
        path.touch()
    wait_until(lambda: all(told(daemon)), what="the alarm")
    assert accepted(daemon, "a")
    if fault == "directory":
        path.rmdir()
    write(path, ONE)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    wait_until(lambda: not accepted(daemon, "a"), what="the withdrawal")
    assert accepted(daemon, "b")


def test_a_certificate_that_could_not_be_read_is_served_as_soon_as_it_can(start_daemon, pki, tmp_path, wait_until):
    """Nothing was seen of it at a handshake without descriptors, and its files are as they were then."""
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    shutil.copy(pki / "server.pem", certificate)
    shutil.copy(pki / "server.key", key)
    daemon = start_daemon(tls={"certificate": certificate, "private_key": key})
    file = daemon.app.certificates.file
    old = file.current
    shutil.copy(pki / "client.pem", certificate)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    with file._looking:  # the daemon's own looks wait
        shutil.copy(pki / "client.key", key)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit[1]))
        try:
            file._look(0.0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        assert file.current is old
        assert file.state().failing_for is not None
    new = ssl.PEM_cert_to_DER_cert((pki / "client.pem").read_text())

    def served():
        return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", daemon.app.public.port), timeout=30))

    wait_until(lambda: served() == new, what="the new certificate")
    wait_until(lambda: daemon.app.files.failing() == [], what="the end of the alarm")


def test_the_token_for_peers_is_kept_while_its_file_cannot_be_read(start_daemon, tmp_path, wait_until):
    """A replica goes on being heard, and its file is told of."""
    token = tmp_path / "token"
    token.write_text(TOKENS["a"])
    auth = write(tmp_path / "auth.toml", token_entry("a", roles=["quality"]), ONE)
    peer = start_daemon(auth={"file": auth})
    fleet = {"every": 0.1, "forget_after": 1.0, "peers": peer.target, "token_file": token}
    daemon = start_daemon(fleet=fleet, auth={"file": auth})
    wait_until(lambda: daemon.app.follower.replicas == 2, what="the peer")
    token.unlink()
    wait_until(lambda: all(told(daemon, "fleet.token_file")), what="the alarm")
    token.write_text("two tokens")
    wait_until(lambda: daemon.app.peers._token._refused[0], what="another look")
    assert daemon.app.follower.replicas == 2
    token.write_text(TOKENS["b"])
    wait_until(lambda: not any(told(daemon, "fleet.token_file")), what="the end of the alarm")
    assert daemon.app.peers._token.current == [("authorization", f"Bearer {TOKENS['b']}")]


def test_nothing_is_told_where_nothing_is_followed(daemon):
    """No sample, and an empty list."""
    assert "rankd_file_failing{" not in urlopen(daemon.http + "/metrics").read().decode()
    assert json.load(urlopen(daemon.http + "/status.json"))["files"] == []
    with daemon.channel() as channel:
        answer = quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(), timeout=30)
    assert list(answer.service.failing_files) == []
