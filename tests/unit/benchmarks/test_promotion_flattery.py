"""Candidates that are no better do not get in, by luck or by what they were trained on."""

import numpy as np

from benchmarks.promotion_flattery import luck, made_up, shared, single, tried
from rankd.registry.trained_rows import PromptList, digests_of


def test_fifty_candidates_share_their_luck():
    """At most one of them gets in, in hardly any log; asked for 95 % each, one gets in now and then."""
    found = luck(8, 50, 300)
    assert max(o.promoted for o in found["one error for all"]) <= 1
    assert sum(o.promoted for o in found["one error for all"]) <= 1
    assert sum(o.promoted for o in found["one 95 % interval each"]) >= 1


def test_a_candidate_that_knows_its_rows_by_heart_does_not_get_in():
    """As it did on its own rows; those left out, it orders by nothing. The prompts that are left are new ones."""
    log = made_up(900, seed=1)
    tokens = np.array([r.tokens for r in log], np.int64)
    rng = np.random.default_rng(1)
    scores = [rng.standard_normal(900), np.where(np.arange(900) < 600, np.log(tokens), rng.standard_normal(900))]
    everything = [np.ones(900, np.bool_)] * 2
    listed = PromptList(b"key", np.unique(digests_of((r.prompt for r in log[:600]), b"key")))
    kept = [everything[0], ~listed.has([r.prompt for r in log])]
    assert kept[1].sum() == 300
    times = list(range(900))
    assert tried(scores, tokens, everything, single).promoted == 1
    assert tried(scores, tokens, kept, shared(times)).promoted == 0
