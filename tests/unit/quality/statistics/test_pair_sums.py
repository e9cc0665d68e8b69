"""Sums over pairs: the fast way and the way through all pairs are one."""

import numpy as np
import pytest

from rankd.quality.statistics.pair_sums import _of_bounded, _of_known, pair_sums, strata
from rankd.quality.statistics.rolling_pairs import PairWindow


def draw(size, seed=0):
    """Scores and lengths with plenty of ties."""
    rng = np.random.default_rng(seed)
    return np.round(rng.standard_normal(size), 1), np.exp(rng.normal(4, 1, size)).astype(np.int64)


@pytest.mark.parametrize("size", [1, 2, 3, 257, 700])
def test_the_fast_way_equals_the_one_through_all_pairs(size):
    """Where every length is known, sorting gives the very sums that comparing all pairs gives, for every score."""
    (first, length), (second, _) = draw(size), draw(size, 1)
    fast = _of_known([first, second], length)
    slow = _of_bounded([first, second], length, np.ones(size, bool))
    np.testing.assert_array_equal(fast, slow)


def test_sums_equal_those_of_the_live_window():
    """A sample judged offline gets the figures that the daemon would show for the same completions."""
    score, length = draw(400)
    window = PairWindow(400)
    for one, tokens in zip(score.tolist(), length.tolist(), strict=True):
        window.add(one, tokens)
    live, sums = window.sums(), pair_sums([score], length, np.ones(400, bool), np.zeros(400, np.int64))
    assert sums.tau_b()[0] == pytest.approx(live.tau_b(1.96).value, abs=1e-12)
    assert sums.realised_gain()[0] == pytest.approx(live.realised_gain(1.96).value, abs=1e-12)
    np.testing.assert_array_equal(sums.spread, live.spread)


def test_strata_do_not_meet():
    """The sums of two strata together are those of each alone, with a stratum of one row counting nothing."""
    score, length = draw(301)
    stratum = np.array([5] * 100 + [2] * 200 + [9])
    known = np.random.default_rng(3).random(301) < 0.7
    known[stratum == 2] = True
    together = pair_sums([score], length, known, stratum)
    for rows in strata(stratum):
        alone = pair_sums([score[rows]], length[rows], known[rows], np.zeros(len(rows), np.int64))
        np.testing.assert_array_equal(together.at(rows).agree[0], alone.agree[0])
        np.testing.assert_array_equal(together.at(rows).decided, alone.decided)
    assert together.decided[300] == 0


def test_a_lower_bound_counts_where_the_order_is_known():
    """Beside a known 10, "at least 20" is longer and "at least 5" may be either; two bounds never tell."""
    sums = pair_sums(
        [np.array([1.0, 2.0, 3.0])], np.array([10, 20, 5]), np.array([True, False, False]), np.zeros(3, np.int64)
    )
    np.testing.assert_array_equal(sums.decided, [1, 1, 0])
    np.testing.assert_array_equal(sums.agree[0], [1, 1, 0])
    assert sums.spread.sum() == 0
