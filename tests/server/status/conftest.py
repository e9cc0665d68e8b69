"""Servers of metrics, probes and the page, without a daemon, and a browser to look at pages with."""

import pytest
from prometheus_client import CollectorRegistry
from support.browser import Chromium, need_browser
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


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """The browser, shared: each page has a profile of its own."""
    need_browser()
    browser = Chromium(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()


@pytest.fixture
def look(chromium, start_daemon):
    """Opens pages; whatever a test does, none may complain or ask anybody else. They close before daemons stop."""
    del start_daemon
    opened = []

    def begin(daemon, path="/", **how):
        page = chromium.open(daemon.http + path, **how)
        opened.append((page, daemon.http))
        return page

    yield begin
    for page, origin in opened:
        assert page.complaints == []
        assert page.failed == []
        assert [url for url in page.asked if not url.startswith(origin + "/")] == []
        page.close()
