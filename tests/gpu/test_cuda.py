"""The bundled ranker on a real GPU: that it runs there, scores as on the CPU, and fails as it should.

Skipped, with a reason, where onnxruntime has no CUDA provider or the machine no GPU.
"""

import json
import urllib.request

import numpy as np
import onnx
import pytest
from support.daemon import Daemon

from benchmarks.gpu.daemons import write_ranker
from benchmarks.gpu.encoder import CUDA_GRAPH, find_encoder
from benchmarks.gpu.graphs import GraphKind, write_graph
from benchmarks.gpu.placement import where_nodes_ran
from benchmarks.gpu.prompts import batches, encode, texts, tokeniser_of
from benchmarks.gpu.session import Session, SessionPlan
from rankd.errors import InferenceError
from rankd.quality.statistics.kendall import tau_b
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import default_ranker_path
from rankd.scoring.gpu import CUDA, cuda_device_present
from rankd.scoring.onnx_model import ModelSpec, OnnxModel, SessionOptions, pad

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not cuda_device_present(), reason="no CUDA device, no driver, or no CUDA build of onnxruntime on this machine"
    ),
]


@pytest.fixture(scope="module")
def bundled():
    return load_artifact(default_ranker_path())


@pytest.fixture(scope="module")
def encoder(bundled):
    """The bundled encoder; a stand-in of its shape where it has no graph for CUDA."""
    return find_encoder(bundled, None)


@pytest.fixture(scope="module")
def graph(encoder, tmp_path_factory):
    """The file of the graph that CUDA runs."""
    if encoder.graph is not None:
        return str(encoder.graph)
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    onnx.save(write_graph(encoder.weights, GraphKind("mask", "fp16")), str(path))
    return str(path)


@pytest.fixture(scope="module")
def rows(bundled):
    tokeniser = tokeniser_of(bundled)
    return encode(tokeniser, texts("mixed", 256, tokeniser))


@pytest.fixture(scope="module")
def load(graph):
    def loaded(**options):
        spec = ModelSpec(graph, ("input_ids", "attention_mask"), "score", 128)
        return OnnxModel(spec, SessionOptions("cuda", **options))

    return loaded


@pytest.fixture(scope="module")
def scores(load, rows):
    """Scores of all rows in batches as they are served."""
    model, found = load(), np.empty(len(rows))
    for batch in batches(rows, 16384, 16, 512):
        found[batch] = model.run(*pad([rows[i] for i in batch], 16))
    return found


def test_the_first_provider_is_cuda(load):
    model = load()

    assert model.provider == "cuda"
    assert model._session.get_providers()[0] == CUDA


def test_no_matrix_product_runs_on_the_cpu(graph, tmp_path):
    session = Session(SessionPlan(graph, "cuda", profile=str(tmp_path / "profile")))
    ids = np.full((8, 64), 5, dtype=np.int64)
    session.run(ids, np.ones_like(ids))

    placed = where_nodes_ran(session.end_profile())

    assert placed["products_on_cpu"] == []
    assert placed["device_share"] > 0.5


def test_scores_are_those_of_the_cpu(encoder, scores, rows, tmp_path):
    onnx.save(write_graph(encoder.weights, GraphKind("mask", "fp32")), str(tmp_path / "fp32.onnx"))
    on_cpu = Session(SessionPlan(str(tmp_path / "fp32.onnx"), "cpu"))

    expected = np.array([float(on_cpu.run(*pad([row]))[0]) for row in rows])

    assert np.abs(scores - expected).max() < 0.05 * expected.std()
    assert tau_b(scores, expected) > 0.99


def test_scores_do_not_depend_on_the_batch(load, scores, rows):
    model = load()

    alone = np.array([float(model.run(*pad([row], 16))[0]) for row in rows[:32]])

    assert np.abs(alone - scores[:32]).max() < 0.05 * scores.std()


@pytest.mark.parametrize("feed", ["bound", "pinned", "graph"])
def test_other_ways_to_hand_batches_over_score_the_same(feed, graph, scores, rows):
    session = Session(SessionPlan(graph, "cuda", feed))

    for _ in range(2):  # a CUDA graph is captured, then played
        found = session.run(*pad(rows[:32], 16))

    assert np.abs(found - scores[:32]).max() < 0.05 * scores.std()


@pytest.mark.parametrize("attention", ["lengths", "heads", "packed"])
def test_other_forms_of_attention_score_the_same(attention, encoder, scores, rows, tmp_path):
    onnx.save(write_graph(encoder.weights, GraphKind(attention, "fp16")), str(tmp_path / "graph.onnx"))

    found = Session(SessionPlan(str(tmp_path / "graph.onnx"), "cuda")).run(*pad(rows[:64], 16))

    assert np.abs(found - scores[:64]).max() < 0.05 * scores.std()


def test_features_have_the_shape_that_is_promised(bundled, encoder, rows):
    if encoder.graph is None or bundled.manifest.features_output is None:
        pytest.skip("the bundled ranker has no graph for CUDA with features")
    spec = ModelSpec(
        str(encoder.graph), ("input_ids", "attention_mask"), "score", 128, None, bundled.manifest.features_output
    )
    model = OnnxModel(spec, SessionOptions("cuda"))

    scores, features = model.run_with_features(*pad(rows[:7], 16))

    assert (features.shape, features.dtype) == ((7, model.features), np.float32)
    assert np.isfinite(features).all()
    assert scores.shape == (7,)


def test_a_batch_that_does_not_fit_fails_and_the_next_one_is_scored(load, rows):
    model = load(cuda_memory_limit=2**28)
    huge = np.full((4096, 128), 5, dtype=np.int64)

    with pytest.raises(InferenceError, match="out of memory"):
        model.run(huge, np.ones_like(huge))

    assert np.isfinite(model.run(*pad(rows[:4], 16))).all()


def test_a_daemon_serves_on_the_gpu_and_says_so(bundled, graph, tmp_path, start_client_call):
    has_own = (bundled.path / CUDA_GRAPH).exists()
    ranker = bundled.path if has_own else write_ranker(tmp_path / "ranker", bundled, graph, "a test")
    daemon = Daemon(ranker=ranker, provider="cuda")
    try:
        answer = start_client_call(daemon, ["Explain black holes.", "What is 2 + 2?"])
        with urllib.request.urlopen(f"{daemon.http}/status.json") as page:
            status = json.load(page)
    finally:
        daemon.stop()

    assert answer.unscored_count == 0
    ranker = status["rankers"][0]
    assert ranker["provider"] == "cuda"
    assert ranker.get("device_share", 1.0) > 0.5


@pytest.fixture
def start_client_call():
    """Ranks prompts once."""
    from rankd_client.v1 import rank_pb2_grpc

    from rankd.bench.scenarios import rank_request

    def called(daemon, prompts):
        with daemon.channel() as channel:
            return rank_pb2_grpc.RankServiceStub(channel).Rank(rank_request(prompts), timeout=60)

    return called
