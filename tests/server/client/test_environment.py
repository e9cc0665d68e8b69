"""A client in an engine's process, under variables that others set: it is imported, ranks, and says nothing."""

import os
import socket
import subprocess
import sys
import threading

import pytest
from rankd_client import RankClient, _trace
from rankd_client.integration import IntegrationSettings

ENGINE = """
import asyncio, sys
import rankd_client, rankd_client.integration
target = sys.argv[1]
with rankd_client.RankClient(target, timeout=30) as client:
    for _ in range(2):
        queue = client.rank(["long", "short"])
        assert queue.order == [1, 0], (queue.reason, client.stats.last_error)
    assert client.quality().policies is not None
    with client.stream() as stream:
        item = rankd_client.Item("long", request_id="a")
        assert stream.step([item], max_wait=10) == ["a"] and not stream.reason, stream.reason
async def ask():
    async with rankd_client.AsyncRankClient(target, timeout=30) as client:
        assert not (await client.rank(["a"])).failed
asyncio.run(ask())
"""
PROXY = dict.fromkeys(
    [name for lower in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy") for name in (lower, lower.upper())],
    "http://127.0.0.1:9",
)


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_PROPAGATORS": "tracecontext,baggage,b3"},
        {"OTEL_PROPAGATORS": "xray", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_PYTHON_TRACER_PROVIDER": "foo", "OTEL_PYTHON_CONTEXT": "foo"},
        # An SDK that is there, and fails by another variable.
        {"OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider", "OTEL_ATTRIBUTE_COUNT_LIMIT": "abc"},
        {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "cpp"},
        {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
        {"GRPC_POLL_STRATEGY": "epollex"},
        {"GRPC_ASYNCIO_ENGINE": "custom_io_manager"},
        {**PROXY, "no_proxy": ""},
        {"GRPC_ADDRESS_HTTP_PROXY": "127.0.0.1:9", "GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES": "0.0.0.0/0,::/0"},
        {"PYTHONWARNINGS": "error", "PYTHONIOENCODING": "ascii", "TZ": "No/Where", "TMPDIR": "/nowhere"},
        {"RANKD_PORT": "tcp://10.0.0.1:50051", "RANKD_SERVICE_HOST": "10.0.0.1", "RANKD_FOO": "1"},
    ],
    ids=lambda environment: ",".join(f"{k}={v}" for k, v in list(environment.items())[:2]),
)
def test_an_engine_imports_it_and_is_ranked(daemon, environment):
    """Whatever these variables say; nothing is written to the engine's stderr."""
    done = subprocess.run(
        [sys.executable, "-c", ENGINE, daemon.target],
        env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_a_value_that_grpc_would_end_the_process_for_costs_the_order_only(daemon):
    """The engine loaded gRPC before, so that it cannot be loaded without: nothing is asked, and the reason is told."""
    code = (
        "import grpc, sys; from rankd_client import RankClient\n"
        "client = RankClient(sys.argv[1], timeout=30); queue = client.rank(['long', 'short'])\n"
        "print(queue.order, queue.reason, client.stats.last_error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, daemon.target],
        env=os.environ | {"GRPC_POLL_STRATEGY": "nonsense"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("[0, 1] error:ENVIRONMENT GRPC_POLL_STRATEGY ")


class Broken:
    """Stands for a tracer whose exporter, or sampler, raises."""

    def __init__(self, where):
        self._where = where

    def start_span(self, *_, **__):
        if self._where == "start":
            raise RuntimeError
        return self

    def get_span_context(self):
        from opentelemetry.trace import INVALID_SPAN_CONTEXT

        return INVALID_SPAN_CONTEXT

    def end(self):
        raise RuntimeError


@pytest.mark.parametrize("where", ["start", "end"])
def test_a_tracer_that_fails_costs_no_call(daemon, connect, monkeypatch, caplog, where):
    """Ranked all the same; where there can be no span it is told once."""
    tracing = _trace._Tracing()
    tracing.load()
    monkeypatch.setattr(_trace, "_tracing", tracing)
    monkeypatch.setattr(tracing.trace, "get_tracer", lambda *_: Broken(where))
    client = connect(daemon.target, timeout=30)
    for _ in range(3):
        assert client.rank(["long", "short"]).order == [1, 0]
    assert len([r for r in caplog.records if r.name == "rankd_client.tracing"]) == (where == "start")


def test_it_goes_through_a_web_proxy_where_it_is_told_to(monkeypatch):
    """With `web_proxy` the named one is asked for the daemon; without, nobody is."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(1024))

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        with RankClient("127.0.0.1:1", timeout=0.5) as straight:
            assert straight.rank(["a"]).failed
        assert not asked
        settings = IntegrationSettings.from_environment({"RANKD_WEB_PROXY": "true", "RANKD_TARGET": "127.0.0.1:1"})
        with RankClient(**settings.connection) as through:
            assert through.rank(["a"], timeout=5).failed
        thread.join(30)
    assert asked
    assert asked[0].startswith(b"CONNECT 127.0.0.1:1 ")


def test_a_token_is_not_shown_to_a_web_proxy_in_the_clear():
    """A target on this machine is none, where the way to it is through another."""
    with pytest.raises(ValueError, match=r"token: a web proxy is not on this machine"):
        RankClient("127.0.0.1:1", token="secret", web_proxy=True)
    with pytest.raises(ValueError, match="RANKD_TOKEN"):
        IntegrationSettings.from_environment({"RANKD_TOKEN": "secret", "RANKD_WEB_PROXY": "true"})
    RankClient("127.0.0.1:1", token="secret").close()
