"""Fixtures of the proxy's tests."""

import asyncio

import pytest
from upstream import ProxyProcess, Through, Upstream


def run(coroutine):
    """Run on a loop of its own, within a minute."""
    return asyncio.run(asyncio.wait_for(coroutine, 60))


@pytest.fixture
def engine():
    """Starts engines."""
    started = []

    def start(*arguments, **options):
        started.append(Upstream(*arguments, **options))
        return started[-1]

    yield start
    for upstream in started:
        upstream.close()


@pytest.fixture
def through(daemon):
    """Starts proxies before engines."""
    started = []

    def start(upstream, target=daemon.target, **options):
        started.append(Through(upstream if isinstance(upstream, str) else upstream.url, target, **options))
        return started[-1]

    yield start
    for proxy in started:
        proxy.stop()


@pytest.fixture
def proxy_process(daemon):
    """Starts ``rankd proxy`` processes."""
    started = []

    def start(upstream, *flags, target=daemon.target, **environment):
        started.append(ProxyProcess(upstream.url, target, *flags, **environment))
        return started[-1]

    yield start
    for proxy in started:
        proxy.kill()
