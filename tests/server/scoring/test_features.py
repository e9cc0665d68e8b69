"""Scores come with the text's part of what is learned from, where a daemon is to learn from texts."""

import hashlib

import numpy as np
import pytest
from support.gate import Gate
from support.tiny_ranker import WORDS, make_artifact

from rankd.adaptation import FeatureHasher
from rankd.adaptation.features import pack, unpack
from rankd.errors import InferenceError
from rankd.registry.artifact import load_artifact
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.types import Reason

PROMPTS = ["long long w1", "short w2", "", "w1", "long " * 60, "w3 w4 w5 w6 w7 w8"]
SOON = 10.0


@pytest.fixture
def ranker(tmp_path):
    return make_artifact(tmp_path / "ranker", features=8, nan_features_word="w57")


def scored(daemon, prompts=PROMPTS):
    """What the daemon's scorer says of prompts."""

    async def score():
        return await daemon.scorer.score([daemon.scorer.cut(p) for p in prompts], daemon.loop.time() + 60)

    return daemon.run(score())


def test_a_score_comes_with_its_text(start_daemon, ranker):
    """As the offline ranker makes it, of every prompt of a batch, and from the cache the second time."""
    daemon = start_daemon(ranker=ranker)
    found = scored(daemon)
    offline = OfflineRanker(load_artifact(ranker))
    assert found == offline.scored(PROMPTS)
    assert [s.score for s in found] == offline.scores(PROMPTS).tolist()
    assert daemon.scorer.cached == 0
    assert scored(daemon) == found
    assert daemon.scorer.cached == len(PROMPTS)
    features = unpack(pack(found[0].text))
    counts = np.rint(features.dense * features.scale).tolist()
    assert counts == [0, 0, 1, 1, 2, 0, 0, 1]
    ids = np.array([WORDS.index(w) for w in ("[CLS]", "long", "long", "w1", "[SEP]")])
    assert features.words.tolist() == offline.hasher.words(ids).tolist()


def test_a_ranker_without_the_output_gives_words_alone(start_daemon, tmp_path):
    """Its text is learned from by its words."""
    daemon = start_daemon(ranker=make_artifact(tmp_path / "plain"))
    features = unpack(pack(scored(daemon)[0].text))
    assert len(features.dense) == 0
    assert len(features.words) > 3


def test_features_that_are_no_numbers_cost_no_score(start_daemon, ranker):
    """Of a prompt whose features are NaN the words are kept, and its neighbours lose nothing."""
    daemon = start_daemon(ranker=ranker)
    broken, whole = scored(daemon, ["long w57", "long w5"])
    assert broken.score == pytest.approx(whole.score)
    features = unpack(pack(broken.text))
    assert (features.scale, len(features.words) > 3) == (0.0, True)
    assert unpack(pack(whole.text)).scale > 0


@pytest.mark.parametrize("adapt", [{"enabled": False}, {"text": False}])
def test_where_texts_are_not_learned_from_none_are_kept(start_daemon, ranker, adapt):
    """Switched off nothing is packed; without texts the shape still is."""
    daemon = start_daemon(ranker=ranker, adapt=adapt)
    assert {s.text for s in scored(daemon)} == {b""}
    hasher = daemon.app.registry.in_service.hasher
    if not adapt.get("enabled", True):
        assert hasher is None
        return
    packed = unpack(hasher.pack(b"", tenant="a", max_tokens=100))
    assert len(packed.shape) == 2
    assert len(packed.words) == len(packed.dense) == 0


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({}, b""),
        ({"adapt": {"key": "own"}, "quality": {"snapshot_key": "other"}}, b"own"),
        ({"quality": {"snapshot_key": "other"}}, b"other"),
        ({"adapt": {"key": "k" * 64}}, b"k" * 64),
        ({"adapt": {"key": "ü" * 60}}, hashlib.blake2b(("ü" * 60).encode()).digest()),
    ],
)
def test_words_are_hashed_with_the_key_of_the_settings(start_daemon, ranker, settings, key):
    """The section's own, else that of snapshots, else none; a long one is hashed to what the hash takes."""
    daemon = start_daemon(ranker=ranker, **settings)
    expected = FeatureHasher(key, "tiny@1.0.0")
    assert daemon.app.registry.in_service.hasher.key_id == expected.key_id
    assert scored(daemon) == OfflineRanker(load_artifact(ranker), key=key).scored(PROMPTS)


def test_a_shadow_makes_no_features(start_daemon, ranker, tmp_path):
    """Nobody learns from what it reads; once it no longer is one it does, and the one in service always did."""
    daemon = start_daemon(ranker=ranker)
    other = make_artifact(tmp_path / "other", name="other", features=8, scale=2.0)
    candidate = daemon.run(daemon.app.registry.load(other))
    daemon.call(lambda: daemon.app.registry.set_background(candidate, background=True))

    def asked(prompt):
        async def ask():
            return await candidate.scorer.score([prompt], daemon.loop.time() + SOON)

        return daemon.run(ask())[0]

    assert asked("long w1").text == b""
    assert scored(daemon, ["long w1"])[0].text
    daemon.call(lambda: daemon.app.registry.set_background(candidate, background=False))
    assert asked("long w2").text


def test_a_batch_that_fails_has_neither(start_daemon, ranker):
    """No score, no text, and the next batch has both."""
    daemon = start_daemon(ranker=ranker)
    gate = Gate(daemon)
    gate.fail = True
    assert scored(daemon, ["long"]) == [Reason.RANKER_UNAVAILABLE]
    with pytest.raises(InferenceError):
        gate.run_with_features(np.zeros((1, 1), np.int64), np.ones((1, 1), np.int64))
    gate.fail = False
    assert scored(daemon, ["long"])[0].text


def test_features_take_their_place_in_the_cache(start_daemon, ranker):
    """The cache is bounded in bytes: with features fewer scores are kept."""
    daemon = start_daemon(ranker=ranker, scoring={"cache_bytes": 20_000})
    prompts = [f"w{i} w{j}" for i in range(15) for j in range(15)]
    assert all(s.text for s in scored(daemon, prompts))
    assert 20 < daemon.scorer.cached_scores < 20_000 / 256
    plain = start_daemon(ranker=ranker, scoring={"cache_bytes": 20_000}, adapt={"text": False})
    scored(plain, prompts)
    assert plain.scorer.cached_scores == 20_000 // 256
