"""The map from score to length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rankd_client.calibration import Calibration, Knot, centred, fit_monotone, length_summary, pool_adjacent_violators
from scipy.optimize import isotonic_regression


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(0.1, 10)), min_size=1, max_size=60))
def test_pool_adjacent_violators_is_isotonic_regression(pairs):
    """Equal to scipy's isotonic regression, weights included."""
    values, weights = (np.array(c) for c in zip(*pairs, strict=True))
    expected = isotonic_regression(values, weights=weights).x
    np.testing.assert_allclose(pool_adjacent_violators(values, weights), expected, atol=1e-9)


def curve(n, seed=0):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=n)
    return scores, np.exp(4 + 0.8 * scores + 0.4 * rng.normal(size=n)).round().astype(np.int64)


def test_it_recovers_a_known_curve():
    """Mean, median and 90th percentile of lognormal lengths are found within 10 % where most of the data is."""
    scores, tokens = curve(20_000)
    fitted = fit_monotone(scores, tokens, np.ones(len(tokens), dtype=bool))
    at = np.array([-1.0, 0.0, 1.0])
    median = np.exp(4 + 0.8 * at)
    np.testing.assert_allclose(fitted.expected(at), median * np.exp(0.08), rtol=0.1)
    np.testing.assert_allclose(fitted.p50(at), median, rtol=0.1)
    np.testing.assert_allclose(fitted.p90(at), median * np.exp(0.4 * 1.2816), rtol=0.1)


def test_requests_cut_short_count_as_at_least():
    """With half of the requests cut at a random cap, the map is that of the whole lengths, not of the cut ones."""
    scores, tokens = curve(20_000, 1)
    rng = np.random.default_rng(2)
    caps = np.exp(rng.normal(4.5, 1.0, size=len(tokens)))
    seen, complete = np.minimum(tokens, caps).astype(np.int64), tokens <= caps
    at = np.array([-1.0, 0.0])
    whole = fit_monotone(scores, tokens, np.ones(len(tokens), dtype=bool)).expected(at)
    np.testing.assert_allclose(fit_monotone(scores, seen, complete).expected(at), whole, rtol=0.12)
    naive = fit_monotone(scores, seen, np.ones(len(tokens), dtype=bool)).expected(at)
    assert (naive < 0.85 * whole).any()


@pytest.mark.parametrize(
    ("lengths", "complete", "mean", "median", "p90"),
    [
        # The lone cut one leaves after 30: survival 2/3 from 10, 1/3 from 20; the mean is restricted to 30.
        ([10, 20, 30], [1, 1, 0], 10 + 10 * 2 / 3 + 10 / 3, 20, 30),
        # Cut at 10, it tells nothing of what comes later: survival 1 to 20, 1/2 to 40; a half outlives 20.
        ([10, 20, 40], [0, 1, 1], 20 + 20 / 2, 20, 40),
        # Of two at 10 one is cut there, which is after the other ended.
        ([10, 10, 30, 50], [1, 0, 1, 1], 10 + 20 * 3 / 4 + 20 * 3 / 8, 30, 50),
        ([7], [0], 7, 7, 7),
    ],
)
def test_lengths_by_kaplan_and_meier(lengths, complete, mean, median, p90):
    """Worked by hand: what a length at least means for mean and quantiles."""
    got = length_summary(np.array(lengths, dtype=float), np.array(complete, dtype=bool))
    assert got == pytest.approx((mean, median, p90))


def test_violators_are_pooled_by_their_weight_with_the_prior():
    """8 completions of 100 tokens below 24 of 50, and a prior that counts for 10 in each bin: worked by hand."""
    prior = Calibration((Knot(0, 10.0, 10.0, 10.0),), 10.0)
    scores, tokens = np.repeat([0.0, 1.0], [8, 24]), np.repeat([100, 50], [8, 24])
    fitted = fit_monotone(scores, tokens, np.ones(32, dtype=bool), prior=prior, prior_weight=20)
    low, high = (8 * 100 + 10 * 10) / 18, (24 * 50 + 10 * 10) / 34
    assert [k.score for k in fitted.knots] == [0.0, 1.0]
    np.testing.assert_allclose(fitted.expected(scores), (18 * low + 34 * high) / 52)


def test_no_quantile_is_below_a_lower_one():
    """A prior that knows medians only may lift them above what was seen: the 90th percentile goes with them."""
    prior = Calibration((Knot(0, 1000.0, 1000.0),), 1000.0)
    fitted = fit_monotone(np.zeros(10), np.full(10, 10), np.ones(10, dtype=bool), prior=prior, prior_weight=10)
    (knot,) = fitted.knots
    assert (knot.p50, knot.p90) == (505.0, 505.0)


def test_the_prior_gives_way_to_evidence():
    """A few completions hardly move the prior; many replace it."""
    prior = Calibration((Knot(-3, 10.0, 8.0, 20.0), Knot(3, 10.0, 8.0, 20.0)), 10.0)
    scores = np.linspace(-1, 1, 4000)
    tokens = np.full(4000, 1000)
    known = np.ones(4000, dtype=bool)
    few = fit_monotone(scores[::400], tokens[::400], known[::400], prior=prior, prior_weight=200)
    many = fit_monotone(scores, tokens, known, prior=prior, prior_weight=200)
    assert few.expected(np.array([0.0]))[0] < 100
    assert many.expected(np.array([0.0]))[0] > 900


def test_nothing_to_learn_from():
    """Without completions the prior stays; without either it is an error."""
    prior = Calibration((Knot(0, 10.0),), 10.0)
    empty = np.empty(0)
    assert fit_monotone(empty, empty.astype(np.int64), empty.astype(bool), prior=prior) is prior
    with pytest.raises(ValueError, match="neither"):
        fit_monotone(empty, empty.astype(np.int64), empty.astype(bool))


@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, 0.0, 0.5, 2.0, 7.0]), st.integers(0, 10**6), st.booleans()),
        min_size=1,
        max_size=300,
    )
)
def test_any_completions_give_a_map(rows):
    """Ties, constants, all censored: the map never decreases, and stays within what was seen where there were scores.

    Beyond the outermost knots it may double at most.
    """
    scores, tokens, complete = (np.array(c) for c in zip(*rows, strict=True))
    fitted = fit_monotone(scores.astype(float), tokens, complete)
    expected = fitted.expected(np.linspace(-2, 8, 50))
    assert (np.diff(expected) >= 0).all()
    assert expected.min() >= 0
    assert max(knot.expected for knot in fitted.knots) <= tokens.max() + 1e-6
    assert expected.max() <= 2 * tokens.max() + 1e-6


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(st.one_of(finite, st.floats()), st.integers(0, 1000)), min_size=1, max_size=80))
def test_no_score_stops_the_learning(rows):
    """Scores come from strangers: huge, tiny, adjacent or NaN, they give a map of numbers, or leave the prior."""
    prior = Calibration((Knot(0, 10.0, 8.0, 20.0),), 10.0)
    scores, tokens = (np.array(c) for c in zip(*rows, strict=True))
    fitted = fit_monotone(scores.astype(float), tokens, np.ones(len(tokens), dtype=bool), prior=prior, knots=4)
    expected = fitted.expected(np.array([-1e308, -1.0, 0.0, 1.0, 1e308]))
    assert np.isfinite(expected).all()
    assert (np.diff(expected) >= 0).all()
    assert 0 <= expected.min() <= expected.max() <= max(1000.0, tokens.max())


def test_one_hostile_report_does_not_stop_the_learning():
    """A score near the largest float made the mean of its bin infinite, and every fit after it fail."""
    scores, tokens = curve(4000)
    scores[:16] = 1.7e308
    fitted = fit_monotone(scores, tokens, np.ones(len(tokens), dtype=bool))
    np.testing.assert_allclose(fitted.expected(np.array([0.0])), np.exp(4.08), rtol=0.1)


@pytest.mark.parametrize(
    ("knots", "words"),
    [
        ((), "at least one"),
        ((Knot(1, 5.0), Knot(1, 6.0)), "score"),
        ((Knot(1, 5.0), Knot(2, 4.0)), "expected"),
        ((Knot(1, 5.0, 1.0), Knot(2, 6.0)), "p50"),
        ((Knot(float("nan"), 5.0),), "score"),
    ],
)
def test_what_is_no_map_is_refused(knots, words):
    """The error names what is wrong."""
    with pytest.raises(ValueError, match=words):
        Calibration(knots, 10.0)


rising_scores = st.lists(st.integers(-50, 50), min_size=1, max_size=20, unique=True).map(sorted)


@given(rising_scores, st.data())
def test_flat_stretches_rise(scores, data):
    """Centred isotonic regression: strictly rising between the middles of blocks, equal to the fit at them, and no
    further from it than a factor of 2 at the ends; a map of one block stays as it is.
    """
    blocks = sorted(data.draw(st.lists(st.integers(1, 9), min_size=len(scores), max_size=len(scores))))
    scores, values = np.array(scores, dtype=float), np.array(blocks, dtype=float)
    got = centred(scores, values)
    levels = np.unique(values)
    if len(levels) == 1:
        assert (got == values).all()
        return
    middles = [scores[values == v].mean() for v in levels]
    inside = (scores >= middles[0]) & (scores <= middles[-1])
    assert got[inside] == pytest.approx(np.interp(scores[inside], middles, levels))
    assert (np.diff(got[inside]) > 0).all()
    assert (np.diff(got) >= 0).all()
    assert (got >= levels[0] / 2 - 1e-9).all()
    assert (got <= levels[-1] * 2 + 1e-9).all()


def test_a_manifest_with_steps_ties_nobody():
    """What a step ties, the risen map orders; quantiles stay in order."""
    steps = Calibration(
        tuple(Knot(float(s), 10.0 * (s // 3), 8.0 * (s // 3), 20.0 * (s // 4)) for s in range(12)), 50.0
    )
    risen = steps.rising()
    expected = risen.expected(np.linspace(1, 10, 60))
    assert (np.diff(expected) > 0).all()
    assert all(k.p50 <= k.p90 for k in risen.knots)
    assert risen.mean_expected == 50.0


def test_scores_beyond_those_that_completed_keep_what_the_prior_says():
    """A burst drains shortest first: after some completions of low scores the others are still told apart."""
    prior = Calibration(tuple(Knot(float(s), 20.0 * s + 10) for s in range(20)), 200.0)
    scores = np.linspace(0, 4, 300)
    tokens = np.rint(20 * scores + 10).astype(int)
    learned = fit_monotone(scores, tokens, np.ones(300, bool), prior=prior)
    expected = learned.expected(np.arange(5.0, 20.0))
    assert (np.diff(expected) > 0).all()
    assert expected[-1] == pytest.approx(390.0)


def test_scores_beyond_the_outermost_knots_are_told_apart():
    """Two prompts that promise less than any before: the one that promises least goes first; within a factor of 2."""
    steep = Calibration(
        (Knot(-1.0, 10.0, 8.0, 20.0), Knot(0.0, 100.0, 90.0, 150.0), Knot(1.0, 110.0, 95.0, 160.0)), 50.0
    )
    below, above = steep.expected(np.linspace(-3, -1, 50)), steep.expected(np.linspace(1, 3, 50))
    assert (np.diff(below) > 0).all()
    assert (np.diff(above) > 0).all()
    assert below[0] == pytest.approx(5.0), "half, where the slope would be more"
    assert above[-1] == pytest.approx(110 * 1.1**2), "the slope of the logarithm"
    assert steep.expected(np.array([-1e300, 1e300])).tolist() == [below[0], above[-1]]
    assert (steep.p50(np.linspace(-9, 9, 99)) <= steep.p90(np.linspace(-9, 9, 99))).all()


@pytest.mark.parametrize(
    "knots",
    [(Knot(0.0, 7.0),), (Knot(0.0, 7.0), Knot(1.0, 7.0)), (Knot(-1.5e308, 7.0), Knot(1.5e308, 7.5))],
    ids=["one", "flat", "as far as floats go"],
)
def test_a_map_without_a_slope_stays_as_it_is_beyond_its_knots(knots):
    """A ranker that tells nothing tells nothing there either; nothing overflows."""
    far = Calibration(knots, 7.0).expected(np.array([-1.7e308, 1.7e308]))
    assert far.tolist() == [knots[0].expected, knots[-1].expected]


@given(data=st.data())
def test_one_score_is_mapped_as_a_column_of_them(data):
    """To the last bit, between knots, on them, beyond them, and where floats overflow."""
    size = data.draw(st.sampled_from([1.0, 1e3, 1e307]))
    scores = sorted(data.draw(st.sets(st.floats(-size, size), min_size=1, max_size=8)))
    lengths = sorted(data.draw(st.lists(st.floats(0, 1e4), min_size=len(scores), max_size=len(scores))))
    known = data.draw(st.booleans())
    fitted = Calibration(
        tuple(
            Knot(s, length, length / 2 if known else None, length + 1 if known else None)
            for s, length in zip(scores, lengths, strict=True)
        ),
        100.0,
    )
    score = data.draw(st.sampled_from([*scores, np.inf, -np.inf, np.nan]) | st.floats(-4 * size, 4 * size))
    column = np.array([score])
    for found, wanted in zip(
        fitted.at(score), (f(column) for f in (fitted.expected, fitted.p50, fitted.p90)), strict=True
    ):
        assert (found is None) is (wanted is None)
        if found is not None:
            np.testing.assert_array_equal(found, wanted[0])
