"""The chart's proxy as it is rendered: a real one, before an engine, beside a real daemon or with a token over TLS."""

import http.client
import json

import pytest
from support.containers import TOKEN, Running, Stand, certificates, listening_anywhere
from support.fake_engine import Upstream, whole

from tools.chart.examples import rendered

ANSWER = {"choices": [{"text": "4", "finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}


@pytest.fixture
def engine():
    upstream = Upstream(whole(json.dumps(ANSWER).encode()))
    yield upstream
    upstream.close()


def _asked(port, prompt):
    """An answer through the proxy."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    body = json.dumps({"model": "m", "prompt": prompt, "max_tokens": 9})
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.status == 200
    return json.loads(answer.read())


def _count(port, outcome):
    """Requests of an outcome, by the proxy's metrics."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    return sum(float(x.split()[-1]) for x in lines if x.startswith("rankd_proxy_requests_total") and outcome in x)


def _metrics(running):
    return int(running.started["metrics"].rpartition(":")[2])


def test_beside_rankd_in_the_engines_pod_requests_are_ranked(engine, tiny, tmp_path):
    documents = rendered("proxied")
    (tmp_path / "rankd").mkdir()
    (tmp_path / "proxy").mkdir()
    rankd = Stand(documents, "ConfigMap", "rankd", tmp_path / "rankd", {})
    proxy = Stand(documents, "ConfigMap", "proxy", tmp_path / "proxy", {})
    others = {"RANKD_RANKER": str(tiny)}
    with Running(rankd, **listening_anywhere(rankd), **others) as daemon:
        ours = {"RANKD_TARGET": f"127.0.0.1:{daemon.port}", "RANKD_PROXY_UPSTREAM": engine.url, "RANKD_TIMEOUT": "30"}
        with Running(proxy, event="proxy_started", **listening_anywhere(proxy), **ours) as running:
            assert _asked(running.port, "What is 2+2?") == ANSWER
            assert engine.seen[-1].priority is not None
            assert _count(_metrics(running), '"ranked"') == 1


def test_with_pods_of_its_own_it_shows_its_token_over_tls(engine, tiny, tmp_path):
    """The daemon takes nobody else. The token is in the proxy's Secret, the roots are those of the chart's clients."""
    (tmp_path / "pki").mkdir()
    pki = certificates(tmp_path / "pki", ["r-rankd.serving.svc"])
    (tmp_path / "rankd").mkdir()
    (tmp_path / "proxy").mkdir()
    tokens = rendered("tls")
    secrets = {"r-rankd-tls": pki["server"], "rankd-client": {"token": "-"}}
    rankd = Stand(tokens, "Deployment", "rankd", tmp_path / "rankd", secrets)
    secrets = {"rankd-server": pki["server"], "rankd-proxy": {"token": TOKEN}}
    proxy = Stand(rendered("proxy"), "Deployment/r-rankd-proxy", "proxy", tmp_path / "proxy", secrets)
    with Running(rankd, **listening_anywhere(rankd), RANKD_RANKER=str(tiny)) as daemon:
        ours = {"RANKD_TARGET": f"127.0.0.1:{daemon.port}", "RANKD_PROXY_UPSTREAM": engine.url, "RANKD_TIMEOUT": "30"}
        ours |= {"RANKD_PROXY_UPSTREAM_CA": ""}  # the engine here speaks no TLS
        with Running(proxy, event="proxy_started", **listening_anywhere(proxy), **ours) as running:
            assert _asked(running.port, "What is 2+2?") == ANSWER
            assert _count(_metrics(running), '"ranked"') == 1
