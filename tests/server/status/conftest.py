"""Servers of metrics, probes and the page, without a daemon."""

import pytest
from prometheus_client import CollectorRegistry
from support.page_server import READY

from rankd.settings import HttpSection
from rankd.status.http import HttpServer
from rankd.status.http_pages import Views


@pytest.fixture
def start_page():
    """Starts pages with a state, and limits, of the test's own."""
    started = []

    def begin(snapshot=lambda: READY, address="127.0.0.1:0", registry=None, **limits):
        def ready():
            state = snapshot()
            return state["ready"], state["reason"]

        settings = HttpSection(**limits)
        views = Views(registry or CollectorRegistry(), ready, snapshot, lambda w, span: f"{w} {span}".encode())
        started.append(HttpServer(address, views, settings, settings.max_connections))
        return started[-1]

    yield begin
    for server in started:
        server.close()
