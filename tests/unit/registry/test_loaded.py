"""What only the model can show: each fault has its own reason at start. And what the tiny ranker promises to tests."""

import numpy as np
import pytest
from support.ranker_start import rehash, start
from support.tiny_ranker import make_artifact

from rankd.errors import ArtifactError
from rankd.registry.artifact import load_artifact
from rankd.registry.artifact_files import MODEL, TOKENIZER
from rankd.registry.preparation import WARM_UP_PROMPTS
from rankd.scoring.gpu import wanted_provider
from rankd.scoring.onnx_model import pad, warm_up


def test_other_output_name(tmp_path):
    """An output that the model does not have is BAD_OUTPUT, naming both sides."""
    path = make_artifact(tmp_path / "r")
    rehash(path, output="length")
    with pytest.raises(ArtifactError, match=r"score.*length") as caught:
        start(path)
    assert caught.value.reason == "BAD_OUTPUT"


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


@pytest.fixture
def ranker(tmp_path):
    """A ranker of the test's own, to spoil."""
    return make_artifact(tmp_path / "ranker")


def fails_to_start(path):
    with pytest.raises(ArtifactError) as caught:
        start(path)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(("knob", "reason"), [("nan", "NAN_SCORES"), ("constant", "CONSTANT_SCORES")])
def test_useless_scores_are_found_at_warm_up(tmp_path, knob, reason):
    """A model of the right shape that ranks nothing does not come into service."""
    path = make_artifact(tmp_path / "r", **{knob: True})
    load_artifact(path)  # the directory itself is in order
    error = fails_to_start(path)
    assert error.reason == reason
    assert "score" in str(error)


@pytest.mark.parametrize("declared", [("input_ids",), ("input_ids", "attention_mask", "token_type_ids")])
def test_inputs_declared_are_not_the_real_ones(tmp_path, declared):
    """The message names the file, both sides and the remedy."""
    path = make_artifact(tmp_path / "r", declared_inputs=declared)
    error = fails_to_start(path)
    assert error.reason == "BAD_INPUTS"
    assert str(path / MODEL) in str(error)
    assert str(list(declared)) in str(error)
    assert "attention_mask" in str(error)
    assert "correct the manifest's inputs" in str(error)


@pytest.mark.parametrize("spoil", [lambda _: b"not a model", lambda data: data[: len(data) // 2]], ids=["junk", "cut"])
def test_corrupt_model_with_the_right_hash(ranker, spoil):
    """A hash vouches for bytes, not for a model: onnxruntime's refusal is BAD_MODEL and names the file."""
    (ranker / MODEL).write_bytes(spoil((ranker / MODEL).read_bytes()))
    rehash(ranker)
    error = fails_to_start(ranker)
    assert error.reason == "BAD_MODEL"
    assert str(ranker / MODEL) in str(error)


@pytest.mark.parametrize("text", ["{}", "[]", '{"version": "1.0", "model": {"type": "Nonsense"}}', "{"])
def test_bad_tokenizer_with_the_right_hash(ranker, text):
    """A tokenizer that ``tokenizers`` cannot read is BAD_TOKENIZER and names the file."""
    (ranker / TOKENIZER).write_text(text)
    rehash(ranker)
    error = fails_to_start(ranker)
    assert error.reason == "BAD_TOKENIZER"
    assert str(ranker / TOKENIZER) in str(error)
