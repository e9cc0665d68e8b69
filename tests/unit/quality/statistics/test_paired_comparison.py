"""The paired comparison of two rankers: against plain tau-b, a bootstrap, and known truths."""

import math

import numpy as np
import pytest

from rankd.quality.statistics import kendall as counts
from rankd.quality.statistics.paired_comparison import PairedSample, compare, dependence


def draw(rng, size, candidate=0.6, incumbent=0.5, between=0.4, session=1, shared=0.0):
    """Scores of two rankers and lengths, correlated as given; neighbours of a session have a part in common."""
    root = np.linalg.cholesky([[1, between, candidate], [between, 1, incumbent], [candidate, incumbent, 1]])
    common = np.repeat(rng.standard_normal((size // session + 1, 3)), session, axis=0)[:size]
    normal = (math.sqrt(shared) * common + math.sqrt(1 - shared) * rng.standard_normal((size, 3))) @ root.T
    return normal[:, 0], normal[:, 1], np.maximum(1, np.exp(5 + normal[:, 2])).astype(np.int64)


def sample(candidate, incumbent, tokens, *, complete=None, stratum=None, group=None):
    """A sample; by default complete, of one model, every prompt another."""
    size = len(tokens)
    return PairedSample(
        np.asarray(candidate, float),
        np.asarray(incumbent, float),
        np.asarray(tokens, np.int64),
        np.ones(size, bool) if complete is None else complete,
        np.zeros(size, np.int64) if stratum is None else stratum,
        np.arange(size) if group is None else group,
    )


def truth(candidate, incumbent):
    """The difference of two tau of normal variables, exactly (Greiner's relation)."""
    return 2 / math.pi * (math.asin(candidate) - math.asin(incumbent))


def test_without_censoring_both_tau_are_the_plain_ones():
    """With every length known each figure is Kendall's tau-b, and the difference is theirs; ties included."""
    x, y, tokens = draw(np.random.default_rng(1), 700)
    x, tokens = np.round(x, 1), tokens // 20
    result = compare(sample(x, y, tokens))
    assert result.candidate.tau.value == pytest.approx(counts.tau_b(x, tokens.astype(float)))
    assert result.incumbent.tau.value == pytest.approx(counts.tau_b(y, tokens.astype(float)))
    assert result.tau_difference.value == pytest.approx(result.candidate.tau.value - result.incumbent.tau.value)
    assert result.decided_pair_share == 1.0


def test_realised_gain_is_the_latency_that_an_order_saves():
    """The gain is that of its definition, summed over all pairs."""
    x, y, tokens = draw(np.random.default_rng(2), 120)
    result = compare(sample(x, y, tokens))
    total = sum(abs(int(a) - int(b)) for a in tokens for b in tokens)
    for score, figures in ((x, result.candidate), (y, result.incumbent)):
        pairs = zip(score, tokens, strict=True)
        gain = sum(np.sign(s - t) * (int(a) - int(b)) for s, a in pairs for t, b in zip(score, tokens, strict=True))
        assert figures.realised_gain.value == pytest.approx(gain / total)


def test_pairs_are_drawn_within_a_model_only():
    """Two models of very different lengths and scales do not mix: each alone has the same order, so tau is 1."""
    score = np.concatenate((np.arange(50.0), np.arange(50.0)))
    tokens = np.concatenate((np.arange(1, 51), 10_000 + np.arange(50)))
    apart = compare(sample(score, -score, tokens, stratum=np.repeat([0, 1], 50)))
    assert apart.candidate.tau.value == pytest.approx(1)
    assert apart.incumbent.tau.value == pytest.approx(-1)
    assert compare(sample(score, -score, tokens)).candidate.tau.value < 0.7


def test_a_row_cut_short_counts_where_its_order_is_known():
    """Cut at 100 tokens it is the longer one of every pair with a shorter known answer, and open against the others."""
    tokens = np.array([10, 20, 30, 40, 100, 200, 300, 400, 500, 600])
    complete = np.array([True] * 4 + [False] + [True] * 5)
    result = compare(sample(np.arange(10.0), -np.arange(10.0), tokens, complete=complete))
    pairs = 10 * 9 // 2
    assert result.decided_pair_share == pytest.approx((pairs - 5) / pairs)
    assert result.censored == 1
    assert result.candidate.tau.value == pytest.approx(1)
    # Scored as the shortest of all, it is wrong in the four pairs that are decided.
    wrong = np.array([0.0, 1, 2, 3, -1, 5, 6, 7, 8, 9])
    assert compare(sample(wrong, wrong, tokens, complete=complete)).candidate.tau.value == pytest.approx(
        (pairs - 5 - 8) / (pairs - 5)
    )


def test_the_standard_error_is_that_of_a_bootstrap():
    """Half the interval's width is 1.96 standard errors of the difference, as resampling the completions finds it."""
    rng = np.random.default_rng(3)
    x, y, tokens = draw(rng, 400)
    complete = rng.random(400) > 0.2
    tokens = np.where(complete, tokens, (tokens * rng.random(400)).astype(np.int64))
    result = compare(sample(x, y, tokens, complete=complete)).tau_difference
    draws = []
    for _ in range(300):
        chosen = rng.integers(0, 400, 400)
        again = compare(sample(x[chosen], y[chosen], tokens[chosen], complete=complete[chosen], group=chosen))
        draws.append(again.tau_difference.value)
    assert (result.high - result.low) / 2 / 1.959964 == pytest.approx(np.std(draws), rel=0.15)


@pytest.mark.parametrize("size", [200, 600])
@pytest.mark.parametrize("rho", [(0.6, 0.5, 0.4), (0.5, 0.5, 0.9), (0.8, 0.2, 0.1)])
def test_the_interval_covers_the_truth(size, rho):
    """Nominal 95 %: the share that covers the true difference is within 93 to 97 % and its simulation error."""
    rng = np.random.default_rng(size)
    runs, held = 300, 0
    for _ in range(runs):
        difference = compare(sample(*draw(rng, size, *rho))).tau_difference
        held += difference.low <= truth(rho[0], rho[1]) <= difference.high
    error = 2.6 * math.sqrt(0.95 * 0.05 / runs)
    assert 0.93 - error <= held / runs <= 0.97 + error


def test_equal_rankers_are_hardly_ever_found_better():
    """Two rankers that are equally good: the lower bound is above 0 in about 2.5 % of all judgements."""
    rng = np.random.default_rng(5)
    found = sum(compare(sample(*draw(rng, 300, 0.5, 0.5, 0.6))).tau_difference.low > 0 for _ in range(400))
    assert found / 400 <= 0.025 + 2.6 * math.sqrt(0.025 * 0.975 / 400)


def test_a_paired_interval_is_narrower_than_two():
    """Rankers that agree mostly: what they have in common cancels out."""
    x, y, tokens = draw(np.random.default_rng(6), 1000, 0.6, 0.55, 0.9)
    result = compare(sample(x, y, tokens))
    apart = math.hypot(
        result.candidate.tau.high - result.candidate.tau.low, result.incumbent.tau.high - result.incumbent.tau.low
    )
    assert result.tau_difference.high - result.tau_difference.low < 0.6 * apart


def test_the_same_ranker_is_no_better_than_itself():
    """The difference is 0 without any doubt, and not above 0; a constant ranker has tau 0."""
    x, _, tokens = draw(np.random.default_rng(7), 200)
    same = compare(sample(x, x, tokens)).tau_difference
    assert (same.value, same.low, same.high) == (0, 0, 0)
    constant = compare(sample(np.ones(200), x, tokens))
    assert constant.candidate.tau.value == 0
    assert constant.tau_difference.high < 0


def test_equal_prompts_are_one_piece_of_evidence():
    """Each prompt sent ten times: the interval is that of the prompts, not of ten times as many."""
    x, y, tokens = draw(np.random.default_rng(8), 80)
    group = np.tile(np.arange(80), 10)
    once = compare(sample(x, y, tokens)).tau_difference
    many = [np.tile(column, 10) for column in (x, y, tokens)]
    said = compare(sample(*many, group=group)).tau_difference
    unsaid = compare(sample(*many)).tau_difference
    assert said.high - said.low > 0.8 * (once.high - once.low)
    assert unsaid.high - unsaid.low < 0.75 * (said.high - said.low)


def test_sessions_widen_the_interval():
    """Completions that come in sessions of twenty that are alike say less; independent ones are left as they are."""
    rng = np.random.default_rng(9)
    width = {}
    for shared in (0.0, 0.5):
        all_widths = []
        for _ in range(20):
            difference = compare(sample(*draw(rng, 500, session=20, shared=shared))).tau_difference
            all_widths.append(difference.high - difference.low)
        width[shared] = np.mean(all_widths)
    assert width[0.5] > 1.3 * width[0.0]
    assert dependence(rng.standard_normal(2000), np.arange(2000)) < 1.5


def test_nothing_to_compare_is_undefined():
    """No completion, one, or all of one length: no figure, no exception."""
    for size in (0, 1, 60):
        result = compare(sample(np.arange(size), -np.arange(size), np.full(size, 7)))
        assert result.tau_difference is None
        assert result.size == size


def test_columns_must_belong_together():
    """A column that is too short is an error, not a shift of scores against lengths."""
    with pytest.raises(ValueError, match="one entry per completion"):
        sample(np.arange(5), np.arange(4), np.arange(5))
