"""The bundled rankers: named, whole, and as good as their manifests say."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.ranker_start import rehash, start

from rankd.registry.artifact import load_artifact
from rankd.registry.artifact_files import MODEL
from rankd.registry.bundled import default_ranker_path, ranker_path, wanted_ranker
from rankd.scoring.onnx_model import pad


LONG = "Write a detailed essay of 2000 words about the causes of the First World War, with examples."
SHORT = "What is the capital of France? Answer in one word."
PROMPTS = ("", "Hi", SHORT, LONG, "List ten rivers of Asia.", "x " * 400, "请写一首关于春天的诗。")


def test_bundled_rankers_have_names(tmp_path, monkeypatch):
    """A bundled ranker's name means it, unless there is such a path; anything else is left as it is."""
    monkeypatch.chdir(tmp_path)
    default = default_ranker_path()
    assert ranker_path(default.name) == default
    assert ranker_path("ngram") == default.with_name("ngram")
    for other in ("nowhere", "./ngram", "ngram/", "a/b", "/tmp", "..", "a\0b", "x" * 5000, str(default)):
        assert ranker_path(other) == Path(other)
    (tmp_path / default.name).mkdir()
    assert ranker_path(default.name) == Path(default.name)
    (tmp_path / "ngram").symlink_to("nowhere")
    assert ranker_path("ngram") == Path("ngram")


def test_only_a_ranker_that_is_not_set_is_the_default(tmp_path, monkeypatch):
    """An empty setting is not one that is left out, and a Path is a path."""
    monkeypatch.chdir(tmp_path)
    default = default_ranker_path()
    assert wanted_ranker(None) == default
    assert wanted_ranker("ngram") == default.with_name("ngram")
    assert wanted_ranker("") == Path()
    assert wanted_ranker(Path("ngram")) == Path("ngram")


def test_bundled_ranker_is_whole():
    """The ranker in the package loads by its own hashes, is calibrated, measured and keeps head and tail."""
    manifest = load_artifact(default_ranker_path()).manifest
    assert manifest.calibration is not None
    assert manifest.measured_tau is not None
    assert manifest.truncation.head_tokens > 0
    assert manifest.truncation.tail_tokens > 0
    assert manifest.licence
    assert manifest.data


@pytest.mark.parametrize("name", ["minilm-l6", "ngram"])
def test_bundled_rankers_give_scores_and_features_and_nothing_else(name):
    """The graph has these two outputs, and no node but those that lead to the score: features cost none."""
    graph = onnx.load(ranker_path(name) / MODEL).graph
    assert [o.name for o in graph.output] == ["score", "features"]
    read = {name for node in graph.node for name in node.input} | {"score"}
    assert all(read & set(node.output) for node in graph.node)


REFERENCE = {
    "minilm-l6": (-2.3517747, -2.2964978, -1.1689489, 0.4036236, -0.3125121, 0.2941676, -0.6809770),
    "ngram": (-0.8464464, -0.8488361, -0.9415473, 0.2730302, -0.2704949, -1.1007335, -0.0891769),
}
"""Scores of ``PROMPTS`` before the graphs gave features too."""


@pytest.mark.parametrize("name", ["minilm-l6", "ngram"])
def test_features_change_no_score(name, tmp_path):
    """Scores are the same to the bit whether features are asked for or not, and without the output, in any batch."""
    without = shutil.copytree(ranker_path(name), tmp_path / "without")
    model = onnx.load(without / MODEL)
    del model.graph.output[1]
    onnx.save(model, without / MODEL)
    rehash(without, features_output=None)
    (tokeniser, now), (_, before) = start(ranker_path(name)), start(without)
    assert (now.features, before.features) == ({"minilm-l6": 384, "ngram": 128}[name], 0)
    ids = tokeniser.encode([tokeniser.cut(p) for p in PROMPTS])
    assert before.run(*pad(ids)) == pytest.approx(REFERENCE[name], abs=1e-3)
    for batch in [ids, *([i] for i in ids), ids[:2], ids[2:5], ids[::-1], ids * 20]:
        for multiple in (1, 16):
            padded = pad(batch, multiple)
            scores, pooled = now.run_with_features(*padded)
            assert scores.tobytes() == now.run(*padded).tobytes() == before.run(*padded).tobytes()
            assert pooled.shape == (len(batch), now.features)
            assert pooled.dtype == np.float32
    assert before.run_with_features(*pad(ids))[1] is None


@pytest.mark.parametrize("name", ["minilm-l6", "ngram"])
def test_features_do_not_depend_on_the_batch(name):
    """A prompt's pooled features are those that it has alone, but for rounding, and differ from other prompts'."""
    tokeniser, model = start(ranker_path(name))
    ids = tokeniser.encode([tokeniser.cut(p) for p in PROMPTS])
    together = model.run_with_features(*pad(ids))[1]
    alone = np.concatenate([model.run_with_features(*pad([i]))[1] for i in ids])
    assert np.abs(together - alone).max() < 1e-4 * np.abs(alone).max()
    assert np.ptp(alone, axis=0).min() > 0


def test_features_of_the_n_gram_ranker_are_its_mean_word_vector():
    """They add up: those of a prompt are the mean over its tokens, each of which has a vector of its own."""
    _, model = start(ranker_path("ngram"))
    tokens = np.array([[100, 200, 300]])
    each = np.concatenate([model.run_with_features(t[None], np.ones((1, 1), np.int64))[1] for t in tokens.T])
    mean = model.run_with_features(tokens, np.ones_like(tokens))[1][0]
    np.testing.assert_allclose(mean, each.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_a_ranker_of_an_older_export_serves_the_same_scores(tmp_path):
    """A graph with an output `spread` besides, and a manifest that names it, loads and scores to the bit as without."""
    older = shutil.copytree(ranker_path("ngram"), tmp_path / "older")
    model = onnx.load(older / MODEL)
    model.graph.initializer.append(numpy_helper.from_array(np.int64(1), "second_column"))
    model.graph.node.append(helper.make_node("Gather", ["out", "second_column"], ["log_spread"], axis=1))
    model.graph.node.append(helper.make_node("Exp", ["log_spread"], ["spread"]))
    model.graph.output.append(helper.make_tensor_value_info("spread", TensorProto.FLOAT, ["batch"]))
    onnx.save(model, older / MODEL)
    rehash(older, spread_output="spread")
    assert load_artifact(older).manifest.spread_output == "spread"
    (tokeniser, now), (_, before) = start(ranker_path("ngram")), start(older)
    batch = pad(tokeniser.encode([tokeniser.cut(p) for p in (LONG, SHORT, "", "List ten rivers of Asia.")]))
    assert before.run(*batch).tobytes() == now.run(*batch).tobytes()
    assert np.ptp(now.run(*batch)) > 1.0


@pytest.fixture(scope="module")
def bundled():
    """Scores of the bundled ranker."""
    tokeniser, model = start(default_ranker_path())
    return lambda prompt: float(model.run(*pad(tokeniser.encode([tokeniser.cut(prompt)])))[0])


def test_bundled_ranker_tells_long_from_short(bundled):
    """By more than a factor of e in length, by its score, and of two in calibrated tokens."""
    assert bundled(LONG) > bundled(SHORT) + 1.0  # log length
    calibration = load_artifact(default_ranker_path()).calibration()
    assert calibration.expected(bundled(LONG)) > 2 * calibration.expected(bundled(SHORT))


@pytest.mark.parametrize("end", ["head", "tail"])
def test_bundled_ranker_reads_head_and_tail(bundled, end):
    """What stands at either end of a long prompt moves its score; what stands in the middle is not read."""
    context = "The committee met on Tuesday and noted the report. " * 200

    def score(request, where):
        parts = {"head": [request, context], "tail": [context, request], "middle": [context, request, context]}
        return bundled(" ".join(parts[where]))

    assert score(LONG, end) > score(SHORT, end) + 0.3
    assert score(LONG, "middle") == score(SHORT, "middle")


def test_bundled_figures_are_what_they_are_said_to_be():
    """``measured_tau`` is the median over unseen data sets in English, each counting once, and is said to be."""
    from statistics import fmean, median

    manifest = load_artifact(default_ranker_path()).manifest
    unseen = [m for m in manifest.measurements if not m.trained_on]
    sets = {m.dataset for m in unseen}
    english = sets - {"cello_zh", "logickor_ko"}
    taus = [fmean(m.kendall_tau for m in unseen if m.dataset == name) for name in english]
    assert len(taus) == len(sets) - 2
    assert manifest.measured_tau == pytest.approx(median(taus), abs=1e-4)
    assert "median over the English data sets" in manifest.description
    assert not sets & {d.name for d in manifest.data}
    assert all(m.dataset in {d.name for d in manifest.data} for m in manifest.measurements if m.trained_on)
    assert 16 <= len(manifest.calibration.knots) <= 32
