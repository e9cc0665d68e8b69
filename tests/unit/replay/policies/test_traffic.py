"""A replay learns the traffic as the daemon would: from completions, when they end."""

from dataclasses import replace

import numpy as np
import pytest

from rankd.adaptation import FeatureHasher
from rankd.replay.engine.cost import EngineCost, at_load
from rankd.replay.policies.by_name import RankerPrior, simulate
from rankd.replay.report.metrics import latency
from rankd.replay.trace.trace import Trace
from rankd.settings import Settings

COST = EngineCost(8, 0.015, 0.0002, 0.0, 2048)
LEARNS = RankerPrior(learns=True)


@pytest.fixture(scope="module")
def taught():
    """A trace whose answers are long or short by words that its scores know nothing of, and the scores."""
    rng, hasher = np.random.default_rng(0), FeatureHasher(b"", "r@1")
    count = 900
    words = rng.integers(3, 23, (count, 3))
    worth = rng.standard_normal(23)
    output = np.exp(4.0 + 0.6 * worth[words].sum(axis=1) + 0.3 * rng.standard_normal(count)).astype(np.int64) + 1
    texts = hasher.text([np.concatenate([[1], row, [2]]) for row in words])
    trace = Trace(
        np.sort(rng.uniform(0, 100, count)),
        np.full(count, 10),
        output,
        features=[hasher.pack(text, prompt_tokens=10) for text in texts],
    )
    return at_load(trace, COST, 1.1), rng.standard_normal(count)


def test_what_was_learned_orders_once_it_is_in_use(taught):
    """The mean latency falls; it says from how many completions and from when on; the setting leaves it out."""
    trace, scores = taught
    own = simulate(trace, scores, "score", COST, ranker=LEARNS)
    assert own.learned.completions == len(trace)
    assert 100 <= own.learned.in_use_after < 600
    without = simulate(trace, scores, "score", COST, ranker=LEARNS, settings=Settings(adapt={"enabled": False}))
    assert without.learned is None
    assert latency(own).mean() < 0.9 * latency(without).mean()


def test_without_prompts_nothing_changes(taught):
    """Of a trace without features, of made-up rankers and of policies without predictions nothing is learned."""
    trace, scores = taught
    bare = replace(trace, features=None)
    for policy in ("balanced", "fcfs", "oracle", "tie"):
        plain = simulate(bare, scores, policy, COST)
        again = simulate(trace, scores, policy, COST)
        assert plain.learned is None
        assert again.learned is None
        assert np.array_equal(latency(plain), latency(again))
    assert simulate(bare, scores, "balanced", COST, ranker=LEARNS).learned is None


def test_a_part_of_a_trace_keeps_its_features(taught):
    """The first requests, in other arrivals, carry what all did."""
    trace, _ = taught
    part = trace.first(10).faster(2.0)
    assert list(part.features) == list(trace.features[:10])
    with pytest.raises(ValueError, match="features"):
        Trace(np.zeros(2), np.ones(2, np.int64), np.ones(2, np.int64), features=[b""])
