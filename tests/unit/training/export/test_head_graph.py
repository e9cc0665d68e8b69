"""A learned head in a graph computes what the daemon computes of features."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rankd.adaptation import FeatureHasher, TextHead, pack, unpack
from rankd.adaptation.features import BUCKETS
from rankd.adaptation.folding import FoldedHead
from rankd.errors import ArtifactError
from rankd.registry.bundled import ranker_path
from rankd.scoring.onnxruntime_import import import_onnxruntime
from rankd.training.export.head_graph import fold

LENGTHS = (2, 3, 4, 5, 8, 30, 100, 128)


def batch(most, seed=0):
    """Token ids below ``most`` and masks of prompts of many lengths, padded to the longest."""
    rng = np.random.default_rng(seed)
    ids, mask = np.zeros((2, len(LENGTHS), max(LENGTHS)), np.int64)
    for row, length in enumerate(LENGTHS):
        ids[row, :length], mask[row, :length] = rng.integers(5, most if row % 2 else 60, length), 1
    return {"input_ids": ids, "attention_mask": mask}


def head_of(hasher, dense, seed=1):
    """Random weights."""
    rng = np.random.default_rng(seed)
    weights = (rng.standard_normal(n).astype(np.float32) for n in (dense, BUCKETS))
    return FoldedHead.of(TextHead(4.2, 0.7, *weights), hasher)


def expected(head, hasher, feed, scores, pooled):
    """By definition, from the bytes that predictions carry."""
    rows = [ids[: int(mask.sum())] for ids, mask in zip(feed["input_ids"], feed["attention_mask"], strict=True)]
    out = []
    for score, text in zip(scores.tolist(), hasher.text(rows, pooled), strict=True):
        features = unpack(pack(text))
        total = head.head.intercept + head.head.slope * score
        total += float((features.dense.astype(float) * features.scale) @ head.head.dense)
        if len(features.words):
            total += float(head.head.words[features.words].astype(float).sum()) / np.sqrt(len(features.words))
        out.append(total)
    return np.array(out)


def session(model):
    """It, in onnxruntime."""
    return import_onnxruntime().InferenceSession(model.SerializeToString())


@pytest.mark.parametrize("ranker", ["ngram", "minilm-l6"])
def test_scores_are_those_of_the_features(ranker):
    """Of bundled rankers: special tokens alone, first words, pairs, repeated words, more words than are kept."""
    model, feed = onnx.load(ranker_path(ranker) / "model.onnx"), batch(20_000)
    hasher = FeatureHasher(b"key", f"{ranker}@1")
    scores, pooled = session(model).run(["score", "features"], feed)
    head = head_of(hasher, pooled.shape[1])
    assert FoldedHead.unpack(head.pack()).pack() == head.pack()
    folded, name = fold(model, head, score="score", features="features")
    found, kept = session(folded).run([name, "features"], feed)
    np.testing.assert_allclose(found, expected(head, hasher, feed, scores, pooled), atol=1e-4)
    assert np.array_equal(kept, pooled)
    twice, second = fold(folded, head_of(hasher, pooled.shape[1], 2), score=name, features="features")
    again = session(twice).run([second], feed)[0]
    wanted = expected(head_of(hasher, pooled.shape[1], 2), hasher, feed, found, pooled)
    np.testing.assert_allclose(again, wanted, atol=1e-4)


def maskless():
    """A graph that reads token ids alone, and adds them up."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["floats", "one"], ["score"], keepdims=0),
    ]
    ids = helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])
    one = helper.make_tensor("one", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "sum", [ids], [score], [one])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_ranker_without_mask_and_features_gets_a_mask():
    """Words alone are folded in; a head with dense weights is refused."""
    model, feed = maskless(), batch(64)
    hasher = FeatureHasher(b"", "tiny@1")
    head = head_of(hasher, 0)
    scores = session(model).run(["score"], {"input_ids": feed["input_ids"]})[0]
    folded, name = fold(model, head, score="score", features=None)
    found = session(folded).run([name], feed)[0]
    np.testing.assert_allclose(found, expected(head, hasher, feed, scores, None), rtol=1e-5, atol=1e-4)
    with pytest.raises(ArtifactError, match="pooled features"):
        fold(model, head_of(hasher, 8), score="score", features=None)
    with pytest.raises(ArtifactError, match="outputs"):
        fold(model, head, score="other", features=None)


def test_bytes_that_are_no_head_are_refused():
    """Cut, empty, of another layout."""
    good = head_of(FeatureHasher(b"", "r@1"), 3).pack()
    for bad in (b"", good[:20], good[:-1], good + b"x", good[:32] + b"\1" + good[33:]):
        with pytest.raises(ValueError, match="head"):
            FoldedHead.unpack(bad)
