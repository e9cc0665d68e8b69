"""What only the model can show: each fault has its own reason at start. And what the tiny ranker promises to tests."""

import numpy as np
import pytest
from support.tiny_ranker import make_artifact

from rankd.errors import ArtifactError
from rankd.registry.artifact import load_artifact
from rankd.registry.loaded import WARM_UP_PROMPTS
from rankd.scoring.onnx_model import ModelSpec, OnnxModel, SessionOptions, pad, wanted_provider, warm_up
from rankd.scoring.tokeniser import Tokeniser, Truncation


def start(path):
    """Everything a daemon does with a directory before it serves."""
    artifact = load_artifact(path)
    manifest = artifact.manifest
    cut = manifest.truncation
    tokeniser = Tokeniser(artifact.tokenizer_path, Truncation(cut.max_tokens, cut.head_tokens, cut.tail_tokens))
    spec = ModelSpec(str(artifact.model_path), manifest.inputs, manifest.output, cut.max_tokens)
    model = OnnxModel(spec, SessionOptions("cpu"))
    warm_up(model, tokeniser.encode([tokeniser.cut(p) for p in WARM_UP_PROMPTS]), max_batch_tokens=128)
    return tokeniser, model


def rehash(path, **fields):
    import json

    from rankd.registry.artifact import write_manifest

    old = json.loads((path / "manifest.json").read_text())
    write_manifest(path, {**{k: v for k, v in old.items() if k not in ("manifest_version", "sha256")}, **fields})


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        ({"constant": True}, "CONSTANT_SCORES"),
        ({"nan": True}, "NAN_SCORES"),
        ({"declared_inputs": ("input_ids",)}, "BAD_INPUTS"),
        ({"declared_inputs": ("input_ids", "attention_mask", "token_type_ids")}, "BAD_INPUTS"),
    ],
)
def test_model_at_fault(tmp_path, knobs, reason):
    """Wrong input names, NaN and constant scores stop the start, each under its own reason."""
    path = make_artifact(tmp_path / "r", **knobs)
    with pytest.raises(ArtifactError) as caught:
        start(path)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


def test_other_output_name(tmp_path):
    """An output that the model does not have is BAD_OUTPUT, naming both sides."""
    path = make_artifact(tmp_path / "r")
    rehash(path, output="length")
    with pytest.raises(ArtifactError, match=r"score.*length") as caught:
        start(path)
    assert caught.value.reason == "BAD_OUTPUT"


def test_not_a_model(tmp_path):
    """A file with the right hash that is no ONNX model is BAD_MODEL."""
    path = make_artifact(tmp_path / "r")
    (path / "model.onnx").write_bytes(b"not a model")
    rehash(path)
    with pytest.raises(ArtifactError) as caught:
        start(path)
    assert caught.value.reason == "BAD_MODEL"


def test_not_a_tokenizer(tmp_path):
    """A file with the right hash that is no tokenizer is BAD_TOKENIZER."""
    path = make_artifact(tmp_path / "r")
    (path / "tokenizer.json").write_text("{}")
    rehash(path)
    with pytest.raises(ArtifactError) as caught:
        start(path)
    assert caught.value.reason == "BAD_TOKENIZER"


def test_a_batch_that_memory_does_not_hold_names_the_setting(tmp_path):
    """The largest batch is tried before serving; where it fails the setting is said, not where Python gave up."""
    tokeniser, model = start(make_artifact(tmp_path / "r"))
    with pytest.raises(ArtifactError, match="RANKD_SCORING__MAX_BATCH_TOKENS") as caught:
        warm_up(model, tokeniser.encode(WARM_UP_PROMPTS), max_batch_tokens=10**15)
    assert caught.value.reason == "BATCH_TOO_LARGE"


@pytest.mark.parametrize("work", [0, 3])
def test_tiny_ranker_scores_as_foretold(tmp_path, work):
    """Other tests rely on it: score = scale * (long - short + 0.01 * tokens), alone or padded, whatever the work."""
    tokeniser, model = start(make_artifact(tmp_path / "r", scale=2.0, work=work))
    prompts = ["long long w1", "short w1 w2 w3", "w1", "long short long long"]
    encoded = tokeniser.encode(prompts)
    expected = [2.0 * (2 + 0.05), 2.0 * (-1 + 0.06), 2.0 * 0.03, 2.0 * (2 + 0.06)]
    assert np.allclose(model.run(*pad(encoded)), expected, atol=1e-4)
    assert np.allclose([model.run(*pad([e]))[0] for e in encoded], expected, atol=1e-4)
    assert [len(e) for e in encoded] == [5, 6, 3, 6]


def test_a_gpu_that_is_there_is_wanted_unless_the_cpu_was_asked_for(tmp_path):
    """``auto`` should use the GPU that the machine shows, whatever onnxruntime makes of it; a choice is a choice."""
    shown = tmp_path / "nvidiactl"
    assert wanted_provider("auto", [shown]) == "cpu"
    assert wanted_provider("cuda", [shown]) == "cuda"
    shown.touch()
    assert [wanted_provider(p, [tmp_path / "none", shown]) for p in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]
