"""A student of a bundled encoder: its texts, what it is taught, and runs that go on."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs rankd[train]")

import torch

from benchmarks.rankers.distil import Round, StudentRecipe, distil
from benchmarks.rankers.distil_teacher import Teacher
from benchmarks.rankers.distil_texts import texts_from
from rankd.errors import ConfigError
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import ranker_path
from rankd.training.bases.base import Recipe
from rankd.training.bases.load import load_base
from rankd.training.data.dataset import Row
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.training.fit import checkpoint
from rankd.training.fit.options import FitOptions

PROMPTS = [
    "Write a poem about the sea. Let it rhyme.",
    "What is 2 + 2?",
    "Explain how a steam engine works, in detail and with examples.",
    "写一首关于大海的诗。要押韵。",
    "Summarize the causes of the war: trade, land and pride!\nUse three sentences.",
    "List ten names for a black cat",
]


def recipe_of(*rounds):
    return StudentRecipe(
        layers=(0, 5),
        inner=256,
        batch=256,
        rounds=tuple(Round(6, 40, epochs, words=i > 0) for i, epochs in enumerate(rounds)),
    )


RECIPE = recipe_of(2, 1)


@pytest.fixture(scope="module")
def artifact():
    return load_artifact(ranker_path("minilm-l6"))


def rows(prompts):
    return [Row(p, 10 * (i + 1), complete=True, source="s", model="m") for i, p in enumerate(prompts)]


def student(artifact, work=None, recipe=RECIPE):
    base = load_base("minilm", glosses=False)
    options = FitOptions(recipe=Recipe(loss="joint"), checkpoint_seconds=0)
    return distil(base, artifact, rows(PROMPTS), rows([f"{p} Please." for p in PROMPTS]), recipe, options, work)


def weights(fitted):
    return torch.cat([p.detach().flatten() for p in fitted.module.parameters()])


def test_texts_are_prompts_and_others_made_of_them():
    """Each once, none empty, the same for the same seed, all of words that a prompt or a way of asking has."""
    texts = texts_from(PROMPTS * 2, own=3, made=900, seed=1)
    assert texts == texts_from(PROMPTS, own=3, made=900, seed=1) != texts_from(PROMPTS, own=3, made=900, seed=2)
    assert set(texts[:3]) < set(PROMPTS)
    assert len(set(texts)) == len(texts) > 100
    assert all(text.strip() for text in texts)
    assert "Let it rhyme." in texts
    assert "要押韵。" in texts
    assert any("steam" in text and text not in PROMPTS for text in texts)


def test_a_prompt_without_a_sentence_makes_no_text():
    """Signs alone have nothing that could be cut out; the prompt itself is a text."""
    assert texts_from(["?!", "Why is the sky blue?"], own=2, made=50, seed=0)[:2] in (
        ["?!", "Why is the sky blue?"],
        ["Why is the sky blue?", "?!"],
    )


def test_labels_are_what_is_served(artifact):
    """States average to the features, the head makes the served score of these, and word vectors are the graph's."""
    teacher, ranker = Teacher(artifact), OfflineRanker(artifact)
    tokeniser = load_base("minilm", glosses=False).tokeniser()
    ids = [i.astype(np.int32) for i in tokeniser.encode(PROMPTS[:3])]
    labels = teacher.labels(ids)
    means = [
        labels.states[s : s + len(i)].mean(axis=0, dtype=np.float64) for s, i in zip(labels.starts, ids, strict=True)
    ]
    assert np.abs(np.array(means) - labels.features).max() < 5e-3
    weight, bias = teacher.head()
    assert weight.shape == (2, 384)
    assert (labels.features @ weight.T + bias)[:, 0] == pytest.approx(ranker.scores(PROMPTS[:3]), abs=1e-3)
    assert teacher.words().shape == (30522, 384)


def test_labels_are_kept_and_found_again(artifact, tmp_path):
    """A second run reads them; other texts are labelled anew."""
    teacher = Teacher(artifact)
    ids = [np.array([101, 2000 + i, 102], np.int32) for i in range(3)]
    first = teacher.labels(ids, tmp_path)
    kept = sorted(tmp_path.iterdir())
    again, other = teacher.labels(ids, tmp_path), teacher.labels(ids[:2], tmp_path)
    assert np.array_equal(first.states, again.states)
    assert np.array_equal(first.features, again.features)
    assert len(other.features) == 2
    assert len(kept) == 2
    assert len(list(tmp_path.iterdir())) == 4


def test_a_teacher_that_pools_otherwise_is_refused():
    """Of the n-gram ranker no states of tokens are known."""
    with pytest.raises(ConfigError, match="not the mean of states"):
        Teacher(load_artifact(ranker_path("ngram")))


def test_a_student_comes_nearer_and_keeps_the_teachers_shape(artifact):
    """Fewer layers and inner units, as many features; it learns towards the teacher's scores."""
    before = student(artifact, recipe=recipe_of(0))
    after = student(artifact, recipe=recipe_of(12))
    body = after.module.body
    assert len(body.encoder.layer) == body.config.num_hidden_layers == 2
    assert body.encoder.layer[1].intermediate.dense.weight.shape == (256, 384)
    assert after.has_spread
    wanted = OfflineRanker(artifact).scores(PROMPTS)
    ids = after.base.tokeniser().encode(PROMPTS)

    def away(fitted):
        with torch.inference_mode():
            found = [
                float(fitted.module(torch.from_numpy(i[None]), torch.ones(1, len(i), dtype=torch.int64))[0])
                for i in ids
            ]
        return np.abs(np.array(found) - wanted).mean()

    assert away(after) < away(before) / 2


def test_a_run_that_was_cut_goes_on_to_the_same_weights(artifact, tmp_path, monkeypatch):
    """Cut behind any step and started again, it ends as the run that was not."""
    whole = weights(student(artifact))
    save, left = checkpoint.save, [1, 4]

    def saved_then_killed(*arguments):
        save(*arguments)
        left[0] -= 1
        if left[0] == 0:
            del left[0]
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", saved_then_killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            student(artifact, tmp_path)
    monkeypatch.setattr(checkpoint, "save", save)
    assert torch.equal(weights(student(artifact, tmp_path)), whole)


def test_a_checkpoint_of_another_run_is_refused(artifact, tmp_path):
    """Another recipe does not go on with it."""
    student(artifact, tmp_path)
    with pytest.raises(ConfigError, match="other data, base or options"):
        student(artifact, tmp_path, recipe_of(3))
