"""The key of what is learned from: one for features, tenants' names and the snapshot."""

import pytest

from rankd.adaptation import FeatureHasher
from rankd.adaptation.sources import SourceHasher, feature_key
from rankd.monitor.tracker_settings import feature_key_id
from rankd.registry.feature_hashing import FeatureHashing
from rankd.settings import load_settings


@pytest.mark.parametrize(
    ("adapt", "snapshot", "key"),
    [("own", "of-the-snapshot", b"own"), ("", "of-the-snapshot", b"of-the-snapshot"), ("", "", b"")],
)
def test_everything_is_hashed_with_the_same_key(adapt, snapshot, key):
    """``adapt.key``, else ``quality.snapshot_key``, else none."""
    settings = load_settings(adapt={"key": adapt}, quality={"snapshot_key": snapshot})
    assert feature_key(settings) == FeatureHashing.of(settings).key == key
    hasher = FeatureHashing.of(settings).hasher("r@1")
    assert hasher is not None
    assert feature_key_id(settings, "r@1") == hasher.key_id.hex() == FeatureHasher(key, "r@1").key_id.hex()


def test_a_key_of_any_length_and_any_letters_does():
    """The hash takes 64 bytes: longer ones count whole."""
    keys = {feature_key(load_settings(adapt={"key": secret})) for secret in ("k" * 64, "k" * 65, "k" * 66, "ключ" * 40)}
    assert len(keys) == 4
    assert all(len(key) <= 64 for key in keys)


def test_tenants_are_told_apart_by_who_has_the_key_alone():
    """All without a name are one source; another key, another hash."""
    mine, others = SourceHasher(b"mine"), SourceHasher(b"others")
    assert mine.source("") == others.source("") == 0
    assert len({mine.source("a"), mine.source("b"), others.source("a"), 0}) == 4
    assert mine.source("a") == SourceHasher(b"mine").source("a")
    assert mine.key_id != others.key_id
