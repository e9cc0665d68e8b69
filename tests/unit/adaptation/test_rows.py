"""A bounded ring of completions as arrays."""

from __future__ import annotations

import numpy as np
from support.learned_traffic import LearnedTraffic

from rankd.adaptation.features import unpack
from rankd.adaptation.rows import CompletionRing


def filled(most: int, size: int) -> tuple[CompletionRing, LearnedTraffic]:
    """A ring that took ``size`` completions, a second apart."""
    traffic, ring = LearnedTraffic(1), CompletionRing(most)
    for one in traffic.completions(size):
        features = unpack(one.features)
        assert features is not None
        ring.add(one.score, features, one.tokens, one.complete, one.source, one.at)
    return ring, traffic


def test_the_latest_are_kept_oldest_first() -> None:
    ring, _ = filled(50, 120)
    assert len(ring) == 50
    assert ring.latest(50).at.tolist() == list(range(70, 120))
    assert ring.latest(10).at.tolist() == list(range(110, 120))
    assert ring.latest(50, since=100.0).at.tolist() == list(range(100, 120))


def test_memory_does_not_grow() -> None:
    assert filled(64, 500)[0].nbytes == filled(64, 65)[0].nbytes


def test_features_come_back_as_they_were_added() -> None:
    ring, traffic = filled(8, 0)
    completions = traffic.completions(8)
    for one in completions:
        features = unpack(one.features)
        assert features is not None
        ring.add(one.score, features, one.tokens, one.complete, one.source, one.at)
    rows = ring.latest(8)
    ends = np.cumsum(rows.bags.count)
    for i, one in enumerate(completions):
        features = unpack(one.features)
        assert features is not None
        own = rows.bags.index[ends[i] - rows.bags.count[i] : ends[i]]
        assert own.tolist() == [*features.words.tolist(), *(features.shape.astype(int) + 16381).tolist()]
        assert rows.dense[i].tolist() == features.dense.tolist()
        assert rows.tokens[i] == one.tokens


def test_another_number_of_dense_features_counts_as_none() -> None:
    ring, traffic = filled(8, 1)
    features = unpack(traffic.completion().features)
    assert features is not None
    from dataclasses import replace

    ring.add(0.0, replace(features, dense=np.ones(5, np.int8)), 1, True, 0, 0.0)
    assert ring.latest(1).scale.tolist() == [0.0]


def test_what_is_forgotten_is_overwritten_and_the_ring_goes_on() -> None:
    """In whatever order they came; those that are left stay in theirs."""
    ring, traffic = CompletionRing(50), LearnedTraffic(1)
    times = [float(i) if i % 3 else 1000.0 + i for i in range(70)]

    def add(at: float) -> None:
        one = traffic.completion(at)
        features = unpack(one.features)
        assert features is not None
        ring.add(one.score, features, one.tokens, one.complete, 7, one.at)

    for at in times:
        add(at)
    tokens = ring.latest(50).tokens[ring.latest(50).at >= 500.0].tolist()
    assert not ring.forget(20.0)
    assert ring.forget(500.0)
    left = [at for at in times[20:] if at >= 500.0]
    assert ring.latest(50).at.tolist() == left
    assert ring.latest(50).tokens.tolist() == tokens
    assert (len(ring), ring.taken) == (len(left), 70)
    kept = [array for array in vars(ring).values() if isinstance(array, np.ndarray)]
    assert not any(array[len(left) :].any() for array in kept)
    for at in range(2000, 2060):
        add(float(at))
        left.append(float(at))
    assert ring.latest(50).at.tolist() == left[-50:]
    assert ring.forget(3000.0)
    assert len(ring) == len(ring.latest(50)) == 0
