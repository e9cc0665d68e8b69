"""Features for rankers that were exported without them."""

import shutil
import sys

import numpy as np
import onnx
import pytest
from support.ranker_start import fields_of, rehash, start
from support.tiny_ranker import make_artifact

pytest.importorskip("torch", reason="needs rankd[train]")

from benchmarks.rankers.add_features import main, with_features
from rankd.registry.artifact import load_artifact
from rankd.registry.artifact_files import MODEL
from rankd.registry.bundled import ranker_path
from rankd.scoring.onnx_model import pad
from rankd.training.export.model_card import FEATURES_LINE

NAMES_BEFORE = {"ngram": {"features": "vectors_mean", "all_features": "features"}, "minilm-l6": {"features": "n214"}}


def as_it_was(name, path):
    """A bundled ranker without the output."""
    shutil.copytree(ranker_path(name), path)
    model, before = onnx.load(path / MODEL), NAMES_BEFORE[name]
    del model.graph.output[1]
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [before.get(n, n) for n in names]
        node.name = before.get(node.name, node.name)
    onnx.save(model, path / MODEL)
    rehash(path, features_output=None)
    card = path / "README.md"
    card.write_text(card.read_text().replace(FEATURES_LINE + "\n", ""))
    return path


def run_tool(monkeypatch, ranker):
    monkeypatch.setattr(sys, "argv", ["add_features", str(ranker)])
    return main()


@pytest.mark.parametrize("name", ["minilm-l6", "ngram"])
def test_what_it_writes_is_what_is_shipped(name, tmp_path, monkeypatch, capsys):
    """A graph as it was becomes the bundled one, byte for byte, with manifest and card; and once only."""
    ranker = as_it_was(name, tmp_path / name)
    assert start(ranker)[1].features == 0
    assert "features" not in (ranker / "README.md").read_text()
    assert run_tool(monkeypatch, ranker) == 0
    for file in (MODEL, "manifest.json", "README.md"):
        assert (ranker / file).read_bytes() == (ranker_path(name) / file).read_bytes()
    assert run_tool(monkeypatch, ranker) == 1
    assert "has features already" in capsys.readouterr().err
    assert load_artifact(ranker).manifest.features_output == "features"


def test_a_graph_of_another_kind_is_refused(tmp_path, monkeypatch):
    """Nothing is written where no head is known."""
    ranker = make_artifact(tmp_path / "tiny")
    before = fields_of(ranker)
    with pytest.raises(ValueError, match="no Gemm"):
        run_tool(monkeypatch, ranker)
    assert fields_of(ranker) == before
    tokeniser, model = start(ranker)
    assert np.isfinite(model.run(*pad(tokeniser.encode(["long"])))).all()


def test_a_head_that_reads_too_much_is_refused():
    """More numbers than may travel are not cut here: the exporter does that."""
    model = onnx.load(ranker_path("minilm-l6") / MODEL)
    del model.graph.output[1]
    head = next(n for n in model.graph.node if n.op_type == "Gemm")
    weight = next(t for t in model.graph.initializer if t.name == head.input[1])
    wide = np.zeros((2, 768), np.float32)
    weight.CopyFrom(onnx.numpy_helper.from_array(wide, weight.name))
    with pytest.raises(ValueError, match="768 numbers, at most 384"):
        with_features(model)
