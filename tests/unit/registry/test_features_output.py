"""A manifest that promises features: what is wrong is said at load, and what comes out broken costs no score."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.ranker_start import rehash, start
from support.tiny_ranker import make_artifact

from rankd.errors import ArtifactError
from rankd.registry.artifact import load_artifact
from rankd.registry.artifact_files import MODEL
from rankd.scoring.onnx_model import pad


def edited(ranker, edit):
    """The ranker with its graph changed."""
    model = onnx.load(ranker / MODEL)
    edit(model.graph)
    onnx.save(model, ranker / MODEL)
    rehash(ranker)
    return ranker


def as_doubles(graph):
    """Give features out in double precision."""
    graph.node.append(helper.make_node("Cast", ["features"], ["doubles"], to=TensorProto.DOUBLE))
    graph.output[1].CopyFrom(helper.make_tensor_value_info("doubles", TensorProto.DOUBLE, ["batch", 8]))


def as_one(graph):
    """Give out one number per prompt."""
    graph.output[1].CopyFrom(helper.make_tensor_value_info("masked", TensorProto.FLOAT, None))


def of_any_width(graph):
    """Say nothing of how many there are, in the graph and in what leads to it."""
    graph.node.append(helper.make_node("Concat", ["features", "real"], ["wide"], axis=1))
    graph.output[1].CopyFrom(helper.make_tensor_value_info("wide", TensorProto.FLOAT, ["batch", "d"]))


@pytest.mark.parametrize("features", [1, 8, 384])
def test_features_come_beside_the_score(tmp_path, features):
    """As many as the graph says, up to the most that may travel; they change no score."""
    tokeniser, model = start(make_artifact(tmp_path / "r", features=features))
    _, plain = start(make_artifact(tmp_path / "plain"))
    batch = pad(tokeniser.encode(["long long w1", "short", ""]))
    scores, pooled = model.run_with_features(*batch)
    assert scores.tobytes() == model.run(*batch).tobytes() == plain.run(*batch).tobytes()
    assert model.features == features
    assert pooled.shape == (3, features)
    assert pooled[0, :8].tolist() == [0, 0, 1, 1, 2, 0, 0, 1][:features]
    assert (plain.features, plain.run_with_features(*batch)[1]) == (0, None)


@pytest.mark.parametrize(
    ("edit", "name", "said"),
    [
        (
            as_doubles,
            "doubles",
            r"features_output doubles of .* is tensor\(double\)\['batch', 8\].*float32\[batch, d\]",
        ),
        (as_one, "masked", r"features_output masked of .* is tensor\(float\).*d a fixed number from 1 to 384"),
        (of_any_width, "wide", r"features_output wide of .* d a fixed number"),
        (lambda _: None, "score", r"features_output score of .* is tensor\(float\)\['batch'\]"),
        (
            lambda _: None,
            "pooled",
            r"outputs \['features', 'score'\], its manifest says features_output = 'pooled'.*leave",
        ),
    ],
)
def test_what_is_wrong_with_the_output_is_said(tmp_path, edit, name, said):
    """Type, shape and name are those of the model; the message names field and file, and what they must be."""
    ranker = edited(make_artifact(tmp_path / "r", features=8), edit)
    rehash(ranker, features_output=name)
    with pytest.raises(ArtifactError, match=said) as caught:
        start(ranker)
    assert caught.value.reason == "BAD_OUTPUT"
    assert "\n" not in str(caught.value)


def test_more_features_than_may_travel_are_refused(tmp_path):
    """A graph with one too many is refused, and served where its manifest does not name the output."""
    ranker = make_artifact(tmp_path / "r", features=385)
    with pytest.raises(ArtifactError, match="1 to 384") as caught:
        start(ranker)
    assert caught.value.reason == "BAD_OUTPUT"
    rehash(ranker, features_output=None)
    assert start(ranker)[1].features == 0


def test_a_manifest_without_the_field_is_as_it_was(tmp_path):
    """Rankers without it still load, and manifests are written without it."""
    ranker = make_artifact(tmp_path / "r")
    assert "features_output" not in json.loads((ranker / "manifest.json").read_text())
    assert load_artifact(ranker).manifest.features_output is None


@pytest.mark.parametrize("wrong", [3, ["features"], True])
def test_a_name_is_text(tmp_path, wrong):
    """Anything else is a bad manifest, by the field's name."""
    ranker = make_artifact(tmp_path / "r", features=8)
    fields = json.loads((ranker / "manifest.json").read_text())
    (ranker / "manifest.json").write_text(json.dumps(fields | {"features_output": wrong}))
    with pytest.raises(ArtifactError, match="features_output") as caught:
        load_artifact(ranker)
    assert caught.value.reason == "BAD_MANIFEST"


def test_features_that_are_no_numbers_refuse_no_ranker(tmp_path):
    """Scores are what a ranker is for: it starts, and gives them."""
    tokeniser, model = start(make_artifact(tmp_path / "r", features=8, nan_features_word="[SEP]"))
    scores, pooled = model.run_with_features(*pad(tokeniser.encode(["long", "short"])))
    assert np.isfinite(scores).all()
    assert np.isnan(pooled).any(axis=1).all()
