"""Fixtures of all tests; tests/README.md says which is for what."""

import os
import sys
import time

import pytest
from hypothesis import settings

pytest.register_assert_rewrite("support")

from support.command_line import InProcess  # noqa: E402
from support.daemon import Daemon, DaemonProcess  # noqa: E402
from support.examples import SOAK  # noqa: E402
from support.tiny_ranker import make_artifact  # noqa: E402

# A machine may be slow; what takes how long is measured elsewhere. Every run tries the same examples, so that it fails
# for what was changed and for nothing else; a soak draws new ones.
settings.register_profile("rankd", deadline=None, derandomize=True)
settings.register_profile("soak", deadline=None, max_examples=400)
settings.load_profile("soak" if SOAK else "rankd")

# Tests run side by side: each process keeps to one core.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

for name in [n for n in os.environ if n.startswith(("RANKD_", "OTEL_"))]:
    del os.environ[name]


def pytest_make_parametrize_id(val, argname):
    """Long values make no names."""
    return f"{argname}-{len(val)}" if isinstance(val, bytes | str) and len(val) > 100 else None


_shared = []
"""The daemon that tests share, while there is one."""


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
        # Shown where a test fails: what a daemon says of an internal error is nowhere else.
        sys.stderr.writelines(process.lines[-200:])


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls the command line in this process."""
    return InProcess(monkeypatch, capsys)


@pytest.fixture
def wait_until():
    """Waits for a condition, within a time."""

    def wait(condition, seconds=60.0, what="the condition"):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
            time.sleep(0.01)

    return wait


@pytest.fixture
def start_engine():
    """Starts raw servers in the place of engines."""
    from support.fake_engine import Upstream

    started = []

    def start(*arguments, **options):
        started.append(Upstream(*arguments, **options))
        return started[-1]

    yield start
    for upstream in started:
        upstream.close()


@pytest.fixture(scope="session")
def reported_daemon(tiny):
    """A daemon like ``daemon``, for what reports completions to it, as proxies do by themselves.

    What it learns of them changes no order, so that no test depends on those before it.
    """
    fixed = {"patience_backlog_share": 0.0, "tune_every": 0, "recalibrate_every": 10**9}
    daemon = Daemon(ranker=tiny, order=fixed, guard={"enabled": False})
    yield daemon
    daemon.stop()


@pytest.fixture
def start_proxy(reported_daemon):
    """Starts proxies before engines."""
    from support.fake_engine import Through

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
    from support.fake_engine import ProxyProcess

    started = []

    def start(upstream, *flags, target=reported_daemon.target, **environment):
        started.append(ProxyProcess(upstream.url, target, *flags, **environment))
        return started[-1]

    yield start
    for proxy in started:
        proxy.kill()
