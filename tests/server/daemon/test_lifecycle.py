"""Start, health, reflection, drain, kill: what an operator sees."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from urllib.error import HTTPError
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rankd_client.v1 import quality_pb2, rank_pb2
from support.tiny_ranker import make_artifact
from support.wire import details, ids, item, quality_stub, rank_stub, request


def health(channel, service=""):
    stub = health_pb2_grpc.HealthStub(channel)
    return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=30).status


def test_health_and_reflection(daemon):
    """Ready, live, and each service by name; a client without our protos can list them."""
    with daemon.channel() as channel:
        for service in ("", "liveness", "rankd.v1.RankService", "rankd.v1.QualityService"):
            assert health(channel, service) == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        names = {s.name for s in next(stub.ServerReflectionInfo(iter([ask]))).list_services_response.service}
    assert {
        "rankd.v1.RankService",
        "rankd.v1.CompletionService",
        "rankd.v1.QualityService",
        "grpc.health.v1.Health",
    } <= names
    assert "rankd.v1.AdminService" not in names


def test_metrics_and_page(daemon):
    """The page beside gRPC: metrics with our names, probes, something to look at, and an error for the rest."""
    with daemon.channel() as channel:
        rank_stub(channel).Rank(request(item("private-id", "private prompt long")), timeout=30)
    metrics = urlopen(daemon.http + "/metrics").read().decode()
    for name in (
        "rpc_server_call_duration_seconds_count",
        "rankd_answers_total",
        "rankd_stage_duration_seconds_bucket",
        "rankd_queue_prompts",
        "rankd_guard_mode",
        "rankd_ranker_info",
    ):
        assert f"\n{name}" in metrics
    assert 'rpc_method="rankd.v1.RankService/Rank"' in metrics
    page = urlopen(daemon.http + "/").read().decode()
    assert "tiny@1.0.0 on cpu" in page
    assert "private" not in metrics + page
    assert json.load(urlopen(daemon.http + "/readyz")) == {"ready": True, "reason": "serving"}
    assert urlopen(daemon.http + "/livez").status == 200
    with pytest.raises(HTTPError) as raised:
        urlopen(daemon.http + "/etc/passwd")
    assert raised.value.code == 404


def test_a_slow_http_client_holds_nothing_up(daemon):
    """Connections that send nothing do not keep others from the metrics."""
    address = ("127.0.0.1", daemon.app.http.port)
    idle = [socket.create_connection(address) for _ in range(10)]
    try:
        assert urlopen(daemon.http + "/livez", timeout=30).status == 200
    finally:
        for connection in idle:
            connection.close()


def queued(http):
    """Prompts that wait for the model, by the metrics."""
    page = urlopen(http.rstrip("/") + "/metrics").read().decode()
    return float(re.search(r"^rankd_queue_prompts\S* (\S+)$", page, re.MULTILINE)[1])


PATIENT = {"RANKD_DRAIN_DELAY": "1.0", "RANKD_DRAIN_TIMEOUT": "240"}


def test_sigterm_drains_and_loses_nothing(start_process, wait_until, tmp_path):
    """Calls under way at SIGTERM are answered, new ones are told to come back, streams end, the process exits 0."""
    process = start_process(make_artifact(tmp_path / "slow", work=60), environment=PATIENT)
    with grpc.insecure_channel(process.target) as channel:
        stub = rank_stub(channel)
        watch = quality_stub(channel).WatchQuality(quality_pb2.WatchQualityRequest())
        next(watch)
        stream = stub.RankStream(iter_then_wait(rank_pb2.RankStreamRequest(arrived=[item("s", "w1")])))
        next(stream)
        slow = stub.Rank.future(
            request(*(item(str(n), f"w{n % 58} " * 60 + f"w{n // 58}") for n in range(150))), timeout=240
        )
        wait_until(lambda: queued(process.http) > 0)
        assert not slow.done()
        process.process.send_signal(signal.SIGTERM)
        wait_until(lambda: health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING)
        assert health(channel, "liveness") == health_pb2.HealthCheckResponse.SERVING
        answer = slow.result(timeout=240)
        assert len(answer.items) == 150
        assert answer.unscored_count == 0
        for open_call in (watch, stream):
            with pytest.raises(grpc.RpcError) as raised:
                for _ in open_call:
                    pass
            assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
            assert details(raised.value)["RetryInfo"].retry_delay.ToMilliseconds() > 0
        assert process.ended() == 0
    assert '"event": "stopped"' in process.lines[-1]


def iter_then_wait(*messages):
    yield from messages
    threading.Event().wait(60)


def serve(*arguments, environment=None, timeout=60):
    """Run ``rankd serve`` to its end; gives exit status and stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "rankd", "serve", "--provider", "cpu", *arguments],
        capture_output=True, text=True, timeout=timeout, env=os.environ | (environment or {}), check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize("event", ["ranker_loaded", "started"])
def test_a_signal_as_soon_as_there_is_a_daemon_ends_it_well(tiny, event):
    """SIGTERM in the moment of the start: nothing is left half done, and the process exits 0."""
    command = [
        sys.executable, "-m", "rankd", "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0",
        "--admin", "127.0.0.1:0", "--provider", "cpu", "--ranker", str(tiny),
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if f'"event": "{event}"' in line:
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stderr.read()
        assert process.wait(60) == 0
    assert "Traceback" not in rest
    assert event == "ranker_loaded" or '"event": "stopped"' in rest


def test_a_taken_port_is_an_error_that_names_the_setting(daemon, tiny):
    """No second server shares a port silently, neither gRPC nor HTTP."""
    free = ("--metrics", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--ranker", str(tiny))
    code, said = serve("--listen", daemon.target, *free)
    assert code == 2
    assert "listen (RANKD_LISTEN): cannot listen on" in said
    code, said = serve(
        "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--metrics", f"127.0.0.1:{daemon.app.http.port}",
        "--ranker", str(tiny),
    )  # fmt: skip
    assert code == 2
    assert "metrics (RANKD_METRICS): cannot listen on" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"constant": True}, "same score"),
        ({"nan": True}, "NaN"),
        ({"declared_inputs": ("input_ids",)}, "takes inputs"),
    ],
)
def test_a_wrong_ranker_is_an_error_at_start(tmp_path, knobs, reason):
    """What only the model can show is found at warm-up; the daemon does not start, and says why."""
    ranker = make_artifact(tmp_path / "r", **knobs)
    code, said = serve("--listen", "127.0.0.1:0", "--metrics", "", "--admin", "", "--ranker", str(ranker))
    assert code == 2
    assert reason in said
    assert "Traceback" not in said


def test_cuda_that_is_not_there_is_an_error(tiny):
    """--provider cuda never falls back silently."""
    from rankd.scoring.gpu import cuda_device_present

    if cuda_device_present():
        pytest.skip("this machine has CUDA")
    code, said = serve("--provider", "cuda", "--listen", "127.0.0.1:0", "--ranker", str(tiny))
    assert code == 2
    assert "provider cuda" in said


def test_a_second_daemon_in_the_same_process_keeps_its_own_metrics(start_daemon):
    """Nothing of telemetry is global."""
    one, two = start_daemon(), start_daemon()
    with one.channel() as channel:
        assert ids(rank_stub(channel).Rank(request(item("a", "w1")), timeout=30)) == ["a"]
    assert "rankd_answers_total{" in urlopen(one.http + "/metrics").read().decode()
    assert "rankd_answers_total{" not in urlopen(two.http + "/metrics").read().decode()
