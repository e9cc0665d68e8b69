"""A daemon on a machine with a GPU that has no kernels for its ranker: it says so, and under ``auto`` serves on.

The fault: onnxruntime is taken to have CUDA, and places every node on the CPU, which its own profile then shows.
"""

import json
from urllib.request import urlopen

import numpy as np
import pytest
from rankd_client import AdminClient, Item, RankClient
from structlog.testing import capture_logs
from support.ranker_start import with_second_graph
from support.tiny_ranker import make_artifact

from rankd.bench.floor import OfflineLoop
from rankd.errors import ArtifactError
from rankd.registry.artifact import load_artifact
from rankd.registry.artifact_files import CUDA_MODEL, MODEL
from rankd.registry.bundled import default_ranker_path
from rankd.scoring import gpu, session
from rankd.scoring.placement import CPU
from rankd.scoring.session import SessionOptions
from rankd.training.evaluation.offline_ranker import OfflineRanker

NGRAM = default_ranker_path().parent / "ngram"
LEFT = {"MatMulInteger": 2, "Gemm": 2, "FusedGemm": 1}
NAMED = "2 x Gemm, 2 x MatMulInteger, 1 x FusedGemm"


@pytest.fixture
def silent_fallback(monkeypatch):
    """A provider that is there and runs nothing. The ranker comes with the package: no process of its own tries it."""
    monkeypatch.setattr(gpu, "cuda_device_present", lambda: True)
    monkeypatch.setattr(session, "CUDA", CPU)


def told(daemon):
    """What ``/status.json`` says of the ranker in service."""
    with urlopen(daemon.http + "/status.json", timeout=10) as answer:
        return json.loads(answer.read())["rankers"][0]


@pytest.mark.filterwarnings("ignore:Duplicate provider")
@pytest.mark.usefixtures("silent_fallback")
def test_auto_serves_on_the_cpu_and_says_why(start_daemon, call):
    """Log, metric, status JSON, client and command line name the operators; prompts are scored all the same."""
    with capture_logs() as logs:
        daemon = start_daemon(ranker=NGRAM, provider="auto")
    (warning,) = [log for log in logs if log["event"] == "ranker_not_on_gpu"]
    assert (warning["log_level"], warning["operators"]) == ("warning", NAMED)
    ranker = told(daemon)
    assert (ranker["provider"], ranker["cpu_products"], ranker["device_share"]) == ("cpu", LEFT, None)
    with urlopen(daemon.http + "/metrics", timeout=10) as answer:
        lines = [x for x in answer.read().decode().splitlines() if x.startswith("rankd_ranker_cpu_products{")]
    assert sorted(line.split()[-1] for line in lines) == ["1.0", "2.0", "2.0"]
    assert 'operator="MatMulInteger"' in "".join(lines)
    with RankClient(daemon.target, model="llm", timeout=30) as client:
        assert all(r.prediction for r in client.rank([Item("a"), Item("Write an essay")]))
        assert dict(client.quality().service.placement.cpu_products) == LEFT
    with AdminClient(daemon.admin_target) as admin:
        assert dict(admin.rankers().rankers[0].placement.cpu_products) == LEFT
    shown = " ".join(call("status", "--target", daemon.target).stdout.split())
    assert "no CUDA kernel for 1 x FusedGemm, 2 x Gemm, 2 x MatMulInteger" in shown


@pytest.fixture
def two_graphs(tmp_path):
    """A ranker whose graph for CUDA has three products, and gives twice the scores."""
    other = make_artifact(tmp_path / "other", scale=2.0, work=2)
    return with_second_graph(make_artifact(tmp_path / "r"), other)


@pytest.mark.filterwarnings("ignore:Duplicate provider")
@pytest.mark.usefixtures("silent_fallback")
def test_auto_serves_the_graph_for_cpus_where_there_are_two(start_daemon, two_graphs):
    """The one for CUDA was tried, its products are named, and the other one scores: not that one on a CPU."""
    daemon = start_daemon(ranker=two_graphs, provider="auto")
    ranker = told(daemon)
    assert (ranker["provider"], ranker["cpu_products"]) == ("cpu", {"MatMul": 3})
    with RankClient(daemon.target, model="llm", timeout=30) as client:
        (answer,) = client.rank([Item("long long")])
    assert answer.prediction.score == pytest.approx(2.04)


@pytest.mark.filterwarnings("ignore:Duplicate provider")
@pytest.mark.usefixtures("silent_fallback")
def test_beside_the_daemon_the_graph_for_cpus_is_loaded_too(two_graphs):
    """Evaluation scores with it after the warm-up, and says what it loaded."""
    auto = OfflineRanker(load_artifact(two_graphs), provider="auto")
    assert auto.graph.path.name == CUDA_MODEL
    auto.warm_up()
    assert (auto.provider, auto.graph.path.name, auto.placement.cpu_products) == ("cpu", MODEL, {"MatMul": 3})
    assert auto.scores(["long long"])[0] == pytest.approx(2.04)
    assert OfflineLoop(load_artifact(two_graphs), SessionOptions("auto")).provider == "cpu"


@pytest.mark.filterwarnings("ignore:Duplicate provider")
@pytest.mark.usefixtures("silent_fallback")
def test_cuda_refuses_to_start(start_daemon):
    """The error names operators, how many, and the remedy."""
    with pytest.raises(ArtifactError, match=rf"5 of its matrix products .*{NAMED}.*--provider cpu"):
        start_daemon(ranker=NGRAM, provider="cuda")


@pytest.mark.filterwarnings("ignore:Duplicate provider")
@pytest.mark.usefixtures("silent_fallback")
def test_rankers_beside_the_daemon_go_where_it_would_put_them():
    """``rankd evaluate`` and ``rankd bench`` judge what would serve, and refuse what it would refuse."""
    artifact = load_artifact(NGRAM)
    auto = OfflineRanker(artifact, provider="auto")
    auto.warm_up()
    assert (auto.provider, auto.device_share, auto.placement.cpu_products) == ("cpu", None, LEFT)
    assert np.array_equal(auto.scores(["a", "Write an essay"]), OfflineRanker(artifact).scores(["a", "Write an essay"]))
    assert OfflineLoop(artifact, SessionOptions("auto")).provider == "cpu"
    with pytest.raises(ArtifactError, match=NAMED):
        OfflineRanker(artifact, provider="cuda").warm_up()
    with pytest.raises(ArtifactError, match=NAMED):
        OfflineLoop(artifact, SessionOptions("cuda"))


def test_where_nothing_was_asked_of_a_gpu_nothing_is_said(start_daemon, tmp_path):
    """No metric, no placement: a daemon for the CPU profiles nothing."""
    daemon = start_daemon(ranker=make_artifact(tmp_path / "r"))
    assert told(daemon)["cpu_products"] == {}
    with urlopen(daemon.http + "/metrics", timeout=10) as answer:
        assert "rankd_ranker_cpu_products{" not in answer.read().decode()
