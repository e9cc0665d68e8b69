"""Nothing leaves the machine that nobody asked for: no connection, no file, and no line on stderr that is not ours."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time

import grpc
import psutil
import pytest
from support.certificates import make_certificates
from support.wire import item, rank_stub, request

OURS = "127.0.0.1"


class Watch:
    """Looks at a process and its children all the time: whom they talk to, over what."""

    def __init__(self, pid):
        self.peers, self.bound = set(), set()
        self._process, self._end = psutil.Process(pid), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self):
        while not self._end.wait(0.002):
            with contextlib.suppress(psutil.Error):  # one that has just ended
                for process in [self._process, *self._process.children(recursive=True)]:
                    self._note(process.net_connections("inet"))

    def _note(self, connections):
        for each in connections:
            if each.raddr:
                self.peers.add(each.raddr.ip)
            else:
                self.bound.add((each.laddr.ip, each.type))

    def stop(self):
        self._end.set()
        self._thread.join()


@pytest.fixture
def home(tmp_path):
    """A home directory, and all other places that programs write to, with nothing in them."""
    path = tmp_path / "home"
    path.mkdir()
    return path


def places(home):
    """Variables that leave nothing but ``home`` to write to, and onnxruntime's own unset, as it is for users."""
    names = ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "HF_HOME")
    return dict.fromkeys(names, str(home)) | {"ORT_DISABLE_TELEMETRY": ""}


def work(process, seconds):
    """Keep a daemon busy for so long, as a queue does."""
    end = time.monotonic() + seconds
    with grpc.insecure_channel(process.target) as channel:
        while time.monotonic() < end:
            answer = rank_stub(channel).Rank(request(item("a", f"long {time.monotonic()}")), timeout=30)
            assert not answer.unscored_count
            time.sleep(0.05)


@pytest.mark.parametrize("ranker", ["ngram", None], ids=["bundled", "own"])
def test_a_daemon_talks_to_nobody_and_writes_nothing(start_process, home, tiny, ranker):
    """With a ranker of the package and with one on trial: from the start to the end, and under load."""
    process = start_process(ranker or tiny, environment=places(home))
    watch = Watch(process.process.pid)
    work(process, 3.0)
    assert process.terminate() == 0
    watch.stop()
    assert watch.peers <= {OURS, f"::ffff:{OURS}", "::1"}
    assert {kind for _, kind in watch.bound} == {socket.SOCK_STREAM}
    assert list(home.rglob("*")) == []


def not_ours(process):
    """Lines on stderr that are no events."""
    found = []
    for line in process.lines:
        try:
            assert "event" in json.loads(line)
        except (ValueError, AssertionError):
            found.append(line)
    return found


def rude(target):
    """What makes gRPC's core write: bytes that are no HTTP/2, and a connection that is cut."""
    host, _, port = target.rpartition(":")
    for said in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 99,
    ):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(said)


def test_every_line_on_stderr_is_ours(start_process, home, tiny):
    """A home that cannot be written, warnings that were asked for, peers that do not speak the protocol."""
    nowhere = places(home) | {"HOME": "/proc/nowhere", "PYTHONWARNINGS": "always::RuntimeWarning"}
    process = start_process(tiny, environment=nowhere)
    for _ in range(5):
        rude(process.target)
        rude(process.admin_target)
    work(process, 0.5)
    assert process.terminate() == 0
    assert not_ours(process) == []


def test_every_line_on_stderr_is_ours_with_tls(start_process, tiny, tmp_path):
    """A port scanner, and a client without TLS, are logged by nobody."""
    pki = make_certificates(tmp_path)
    files = {"RANKD_TLS__CERTIFICATE": pki / "server.pem", "RANKD_TLS__PRIVATE_KEY": pki / "server.key"}
    process = start_process(tiny, environment={name: str(path) for name, path in files.items()})
    for _ in range(5):
        rude(process.target)
    assert process.terminate() == 0
    assert not_ours(process) == []


def test_exceptions_that_nobody_caught_are_events():
    """In the main thread, in another one and where Python cannot raise; and warnings. None shows its text."""
    code = (
        "import threading, warnings\n"
        "from rankd.telemetry.logs import configure_logs, log_loose_ends\n"
        "configure_logs('info', 'json'); log_loose_ends()\n"
        "warnings.warn('sesame', RuntimeWarning)\n"
        "def fail(): raise ValueError('sesame')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "class Bad:\n"
        "    def __del__(self): fail()\n"
        "Bad()\n"
        "fail()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "sesame" not in done.stderr
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [e["event"] for e in events[1:]] == ["internal_error"] * 3
    assert "RuntimeWarning" in events[0]["event"]
    assert os.sep not in events[1]["frames"][0]
