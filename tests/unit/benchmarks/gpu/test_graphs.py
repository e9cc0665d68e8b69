"""The graphs that `make gpu` compares are one and the same ranker."""

import numpy as np
import onnx
import pytest

from benchmarks.gpu.encoder import as_float32, find_encoder, stand_in
from benchmarks.gpu.graphs import GraphKind, write_graph
from benchmarks.gpu.session import Session, SessionPlan
from rankd.errors import ConfigError
from rankd.registry.artifact import load_artifact
from rankd.training.export.read_encoder import read_encoder

WORDS = 500


@pytest.fixture(scope="module")
def encoder():
    return stand_in(layers=2, words=WORDS)


@pytest.fixture(scope="module")
def batch():
    ids = np.random.default_rng(1).integers(1, WORDS, (6, 24))
    mask = (np.arange(24) < np.array([[24], [1], [7], [12], [2], [23]])).astype(np.int64)
    return ids, mask


@pytest.fixture(scope="module")
def write(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")

    def written(attention, precision):
        path = folder / f"{attention}-{precision}.onnx"
        if not path.exists():
            onnx.save(write_graph(encoder, GraphKind(attention, precision)), str(path))
        return str(path)

    return written


@pytest.fixture(scope="module")
def expected(write, batch):
    return Session(SessionPlan(write("mask", "fp32"), "cpu")).run(*batch)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("attention", ["mask", "lengths", "heads"])
def test_forms_of_attention_give_the_same_scores(attention, precision, write, batch, expected):
    scores = Session(SessionPlan(write(attention, precision), "cpu")).run(*batch)

    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(scores, expected, atol=2e-5 if precision == "fp32" else 1e-2)


def test_padding_changes_no_score(write, batch, expected):
    ids, mask = batch
    session = Session(SessionPlan(write("lengths", "fp32"), "cpu"))

    alone = [session.run(ids[i : i + 1, :n], mask[i : i + 1, :n])[0] for i, n in enumerate(mask.sum(axis=1))]

    np.testing.assert_allclose(alone, expected, atol=2e-5)


@pytest.mark.parametrize("feed", ["fresh", "bound", "pinned"])
def test_ways_to_hand_a_batch_over_give_the_same_scores(feed, write, batch, expected):
    ids, mask = batch
    session = Session(SessionPlan(write("mask", "fp32"), "cpu", feed))

    session.run(ids[:3], mask[:3])  # buffers of another shape
    session.run(ids[::-1], mask[::-1])  # what stood in the buffers is not read again

    np.testing.assert_allclose(session.run(ids, mask), expected, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_padding_is_taken_out_before_the_first_layer(precision, write):
    model = onnx.load(write("packed", precision))

    operators = [node.op_type for node in model.graph.node]
    assert operators.count("PackedAttention") == 2
    assert operators.index("RemovePadding") < operators.index("PackedAttention")
    assert operators.index("RestorePadding") > operators.index("BiasGelu")
    kernels_between = operators[operators.index("RemovePadding") : operators.index("RestorePadding")]
    assert "Cast" not in kernels_between, "each layer would be cast back and forth"
    onnx.checker.check_model(model)


def test_half_precision_is_read_back_as_the_encoder_it_was(encoder, write):
    back = read_encoder(as_float32(onnx.load(write("mask", "fp16"))))

    assert back is not None
    assert (back.heads, len(back.layers), back.width) == (encoder.heads, 2, encoder.width)
    np.testing.assert_allclose(back.layers[1].up, encoder.layers[1].up, atol=1e-3)
    np.testing.assert_allclose(back.words, encoder.words, atol=1e-2)


def test_pytorch_scores_as_the_graph(write, batch, expected):
    torch_ranker = pytest.importorskip("benchmarks.gpu.torch_ranker", exc_type=ImportError)

    scores = torch_ranker.TorchRanker(write("mask", "fp32"), device="cpu", precision="fp32").run(*batch)

    np.testing.assert_allclose(scores, expected, atol=2e-5)


def test_a_named_graph_is_the_ranker_and_a_ranker_without_one_gets_a_stand_in(tiny, write):
    artifact = load_artifact(tiny)

    found = find_encoder(artifact, type(tiny)(write("mask", "fp16")))
    assert (found.real, len(found.weights.layers)) == (True, 2)

    assert not find_encoder(artifact, None).real
    with pytest.raises(ConfigError, match="is not a BERT"):
        find_encoder(artifact, artifact.model_path)
