"""Sums that replicas are added up by: against brute force, and their intervals against simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from benchmarks.fleet_coverage import Z, compared, drawn
from rankd.quality.statistics.cohort_sums import CohortSums, combined
from rankd.quality.statistics.pair_counters import SIZE, Comparer, CounterTotals, counters
from rankd.quality.statistics.pair_sums import pair_sums


def brute_force(scores, tokens, window):
    """Every pair by itself: pairs and length differences by kind, and each report's averages."""
    pairs = dict.fromkeys(("concordant", "discordant", "tied_score", "tied_length", "tied_both"), 0)
    length = dict.fromkeys(("concordant", "discordant", "tied_score"), 0)
    averages = []
    for i in range(1, len(scores)):
        own = []
        for j in range(max(0, i - window), i):
            ds, dl = np.sign(scores[i] - scores[j]), int(tokens[i]) - int(tokens[j])
            sign = ds * np.sign(dl)
            if ds and dl:
                kind = "concordant" if sign > 0 else "discordant"
            else:
                kind = "tied_both" if not ds and not dl else "tied_score" if not ds else "tied_length"
            pairs[kind] += 1
            if kind in length:
                length[kind] += abs(dl)
            own.append((sign > 0, sign < 0, ds != 0, dl != 0, ds * dl, abs(dl)))
        averages.append(np.mean(np.array(own, dtype=float), axis=0))
    return pairs, length, np.array(averages)


reports = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 6)), min_size=2, max_size=60)


@given(reports, st.integers(1, 20))
def test_every_sum_is_what_going_through_all_pairs_gives(stream, window):
    """Ties of every kind, windows that fill and windows that do not."""
    scores, tokens = (np.array(column, dtype=float) for column in zip(*stream, strict=True))
    sums = CounterTotals(compared(scores, tokens, window))
    pairs, length, averages = brute_force(scores, tokens, window)
    assert sums.reports == len(stream) - 1
    assert sums.pairs == pairs
    assert sums.tokens == length
    k, d, s, u, gain, spread = averages.T
    up, down = (spread_part(scores, tokens, window, sign) for sign in (1, -1))
    expected = [(k - d) ** 2, k * s, d * s, k * u, d * u, s * s, s * u, u * u, gain**2, up * spread, down * spread]
    found = [*sums.products.values(), *sums.token_products.values()]
    assert found == pytest.approx([e.sum() for e in [*expected, spread * spread]])


def spread_part(scores, tokens, window, sign):
    """Each report's average length difference over its concordant (1) or discordant (-1) pairs."""
    out = []
    for i in range(1, len(scores)):
        before = slice(max(0, i - window), i)
        ds, dl = np.sign(scores[i] - scores[before]), tokens[i] - tokens[before]
        out.append(np.mean(np.where(ds * np.sign(dl) == sign, np.abs(dl), 0)))
    return np.array(out)


@given(reports)
def test_no_counter_ever_falls(stream):
    """Prometheus would take a fall for a restart."""
    comparer, before = Comparer(5), np.zeros(SIZE)
    for score, tokens in stream:
        comparer.add(score, tokens)
        assert (comparer.totals >= before).all()
        before = comparer.totals
    assert sum(1 for _ in counters(before)) == SIZE == 21


@pytest.mark.parametrize("ties", [False, True])
def test_with_room_for_all_it_is_kendalls_tau_and_the_normalised_gini(ties):
    """A window that holds everything compares every pair once: scipy's tau-b of the sample."""
    rng = np.random.default_rng(1)
    scores = rng.normal(size=400)
    tokens = np.exp(5 + 0.6 * scores + rng.normal(size=400)).astype(np.int64)
    if ties:
        scores, tokens = np.round(scores), tokens // 100
    sums = CounterTotals(compared(scores, tokens, 400))
    assert sums.tau(Z).value == pytest.approx(kendalltau(scores, tokens).statistic)
    whole = pair_sums([scores], tokens, np.ones(400, bool), np.zeros(400, np.int64))
    assert sums.realised_gain(Z).value == pytest.approx(whole.realised_gain()[0])
    # The interval from reports' averages over those before them is near the one from averages over all others.
    _, influence = whole.tau_b()
    assert deviation_of(sums.tau(Z)) == pytest.approx(np.std(influence) / math.sqrt(400), rel=0.2)


def deviation_of(bounded):
    """The standard deviation behind an interval that is symmetric in atanh."""
    return (math.atanh(bounded.high) - math.atanh(bounded.low)) / 2 / Z * (1 - bounded.value**2)


@pytest.mark.parametrize(
    ("scores", "tokens", "tau", "gain"),
    [
        ([1.0] * 40, list(range(40)), None, 0.0),
        (list(range(40)), [7] * 40, None, None),
        (list(range(40)), list(range(40)), 1.0, 1.0),
        (list(range(40)), list(range(40, 0, -1)), -1.0, -1.0),
        (list(range(29)), list(range(29)), None, None),
    ],
)
def test_what_is_undefined_is_none_and_never_nan(scores, tokens, tau, gain):
    """Constant scores, equal lengths, perfect orders, too few reports."""
    sums = CounterTotals(compared(scores, tokens))
    for found, expected in ((sums.tau(Z), tau), (sums.realised_gain(Z), gain)):
        assert (found and found.value) == expected


def truth(rho, ties):
    """Tau-b and realised gain of a large sample."""
    scores, tokens = drawn(np.random.default_rng(99), 200_000, rho, ties)
    parts = np.arange(200_000) // 4000
    whole = pair_sums([scores], tokens, np.ones(len(tokens), bool), parts)
    return whole.tau_b()[0], whole.realised_gain()[0]


def test_intervals_of_a_fleet_hold_the_truth_as_often_as_they_say():
    """Three replicas, four laws, with and without ties: 95 % of intervals hold the truth, hardly ever fewer.

    Reports share their windows, so they are not independent; the derivation in docs/science/fleet.md says why the
    sum of squares is right all the same, and a little too wide where the window is short.
    """
    rng = np.random.default_rng(7)
    held = []
    for rho, ties in ((0.0, False), (0.3, True), (0.6, False), (0.9, True)):
        tau, gain = truth(rho, ties)
        for _ in range(100):
            sums = CounterTotals(sum(compared(*drawn(rng, 150, rho, ties), 64) for _ in range(3)))
            for found, true in ((sums.tau(Z), tau), (sums.realised_gain(Z), gain)):
                held.append(found.low <= true <= found.high)
    coverage = np.mean(np.reshape(held, (-1, 2)), axis=0)
    assert (coverage > 0.92).all()
    assert (coverage < 0.995).all()


def test_replicas_with_traffic_of_their_own_are_each_judged_within():
    """Chat on one replica, essays on the other: pooled, the ranker is credited with telling them apart."""
    rng = np.random.default_rng(3)
    chat, essays = drawn(rng, 1500, 0.3, ties=False), drawn(rng, 1500, 0.3, ties=False)
    essays = essays[0] + 4, essays[1] * 8
    apart = CounterTotals(compared(*chat) + compared(*essays)).tau(Z)
    scores, tokens = (np.concatenate(pair) for pair in zip(chat, essays, strict=True))
    pooled = kendalltau(scores, tokens).statistic
    assert pooled > apart.value + 0.2
    # Where a balancer spreads the same requests over both, each replica sees the mix, and the two are one.
    mixed = rng.permutation(3000)
    spread = sum(compared(scores[half], tokens[half]) for half in (mixed[::2], mixed[1::2]))
    together = CounterTotals(spread).tau(Z)
    assert together.low < pooled < together.high
    assert together.value == pytest.approx(pooled, abs=0.02)


def test_a_tau_of_next_to_no_pairs_is_none_and_no_error():
    """A peer may say anything: what it says must not end the round of everybody else."""
    sums = CohortSums(320, 200.0, 1.0, 900, (1.0, 1e-300, 1e-300), (0.1,) * 9, 0.0)
    assert combined([(1.0, sums)]).tau(Z) is None
    assert sums.as_cohort(Z).tau is None
