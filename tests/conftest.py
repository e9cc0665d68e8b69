"""Real daemons for tests: in a thread of this process, or as a process that can be killed."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

sys.path.insert(0, str(Path(__file__).parent / "unit"))

from hypothesis import settings
from make_artifact import make_artifact

from rankd.daemon import App
from rankd.settings import load_settings

# A machine may be slow; what takes how long is measured elsewhere.
settings.register_profile("rankd", deadline=None)
settings.load_profile("rankd")

for name in [n for n in os.environ if n.startswith(("RANKD_", "OTEL_"))]:
    del os.environ[name]


_shared = []
"""The daemon that tests share, while there is one."""


class Daemon:
    """A daemon on real ports, in a thread with an event loop of its own."""

    def __init__(self, **settings):
        defaults = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "metrics": "127.0.0.1:0", "provider": "cpu"}
        self.settings = load_settings(**(defaults | settings))
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-daemon", daemon=True)
        self._thread.start()
        self._stopped = False
        try:
            self.app = self.run(self._start())
        except BaseException:
            self._end_loop()
            raise

    async def _start(self):
        app = App(self.settings)
        await app.start()
        return app

    def run(self, coroutine, timeout=60):
        """Run a coroutine on the daemon's loop and give its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)

    def call(self, function, *arguments):
        """Call a function on the daemon's loop and give its result."""

        async def wrapped():
            return function(*arguments)

        return self.run(wrapped())

    @property
    def target(self):
        return f"127.0.0.1:{self.app.public.port}"

    @property
    def admin_target(self):
        return f"127.0.0.1:{self.app.admin.port}"

    @property
    def http(self):
        return f"http://127.0.0.1:{self.app.http.port}"

    @property
    def scorer(self):
        return self.app.registry.in_service.scorer

    @contextmanager
    def channel(self, target=None):
        with grpc.insecure_channel(
            target or self.target,
            options=[("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)],
        ) as channel:
            yield channel

    def stop(self):
        if not self._stopped:
            self._stopped = True
            self.run(self.app.stop())
            self._end_loop()

    def _end_loop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny ranker's directory: its score counts the words "long" and "short"."""
    return make_artifact(tmp_path_factory.mktemp("rankers") / "tiny")


@pytest.fixture(scope="session")
def daemon(tiny):
    """A daemon with default settings and a tiny ranker, shared by tests that leave no trace in it."""
    daemon = Daemon(ranker=tiny)
    _shared.append(daemon)
    yield daemon
    _shared.clear()
    daemon.stop()


@pytest.fixture(autouse=True)
def leaves_no_trace():
    """Reported waits change the patience, and so the keys, of all later tests: they go to ``reported_daemon``."""
    yield
    for daemon in list(_shared):
        if any(not v.model and v.load.wait.mean is not None for v in daemon.app.monitor.reported_windows()):
            _shared.remove(daemon)  # told of once
            raise AssertionError("this test reported to `daemon` how long requests waited: take `reported_daemon`")


@pytest.fixture
def start_daemon(tiny):
    """Starts daemons with settings of the test's own."""
    started = []

    def start(**settings):
        started.append(Daemon(**({"ranker": tiny} | settings)))
        return started[-1]

    yield start
    for daemon in started:
        daemon.stop()


class DaemonProcess:
    """``rankd serve`` as a user runs it."""

    def __init__(self, ranker, *, port=0, environment=None, prefix=()):
        command = [
            *prefix, sys.executable, "-m", "rankd", "serve", "--listen", f"127.0.0.1:{port}",
            "--metrics", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--provider", "cpu",
        ]  # fmt: skip
        if ranker is not None:
            command += ["--ranker", str(ranker)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | (environment or {})
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._ready = threading.Event()
        self._reader.start()
        if not self._ready.wait(60):
            self.kill()
            raise AssertionError("the daemon did not start:\n" + "".join(self.lines))

    def _read(self):
        import json

        for line in self.process.stderr:
            self.lines.append(line)
            if '"event": "started"' in line:
                event = json.loads(line)
                self.target, self.admin_target, self.http = event["listen"], event["admin"], event["metrics"]
                self._ready.set()

    @property
    def port(self):
        return int(self.target.rpartition(":")[2])

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def terminate(self, timeout=30):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)


@pytest.fixture
def start_process(tiny):
    """Starts ``rankd serve`` processes."""
    started = []

    def start(ranker=tiny, **options):
        started.append(DaemonProcess(ranker, **options))
        return started[-1]

    yield start
    for process in started:
        if process.process.poll() is None:
            process.kill()


@pytest.fixture
def wait_until():
    """Waits for a condition, within a time."""

    def wait(condition, seconds=10.0, what="the condition"):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
            time.sleep(0.01)

    return wait


@pytest.fixture
def start_engine():
    """Starts raw servers in the place of engines."""
    from upstream import Upstream

    started = []

    def start(*arguments, **options):
        started.append(Upstream(*arguments, **options))
        return started[-1]

    yield start
    for upstream in started:
        upstream.close()


@pytest.fixture(scope="session")
def reported_daemon(tiny):
    """A daemon like ``daemon``, for what reports completions to it, as proxies do by themselves."""
    daemon = Daemon(ranker=tiny)
    yield daemon
    daemon.stop()


@pytest.fixture
def start_proxy(reported_daemon):
    """Starts proxies before engines."""
    from upstream import Through

    started = []

    def start(upstream, target=reported_daemon.target, **options):
        started.append(Through(upstream if isinstance(upstream, str) else upstream.url, target, **options))
        return started[-1]

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture
def start_proxy_process(reported_daemon):
    """Starts ``rankd proxy`` processes."""
    from upstream import ProxyProcess

    started = []

    def start(upstream, *flags, target=reported_daemon.target, **environment):
        started.append(ProxyProcess(upstream.url, target, *flags, **environment))
        return started[-1]

    yield start
    for proxy in started:
        proxy.kill()
