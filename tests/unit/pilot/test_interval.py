"""The pilot's statistics: against references, and exactly where they can be enumerated."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rankd.pilot.interval import typical_interval
from rankd.pilot.latency import summarise
from rankd.pilot.sequence import log_evidence, lower_bound, sequence_interval

latencies = st.lists(st.tuples(st.floats(0.001, 100), st.booleans()), min_size=1, max_size=60)
numbers = st.lists(st.floats(-3, 3), min_size=1, max_size=9)


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=80), st.floats(1, 120))
def test_without_censoring_figures_are_the_plain_ones(values, horizon):
    """Mean and quantiles are those of min(latency, horizon)."""
    latency = np.array(values)
    cut = np.minimum(latency, horizon)
    wanted = [cut.mean(), *np.quantile(cut, [0.5, 0.9, 0.99], method="inverted_cdf")]
    assert summarise(latency, np.ones(len(values), bool), horizon) == pytest.approx(wanted)


@given(latencies)
def test_who_gave_up_is_counted_by_kaplan_and_meier(rows):
    """The quantiles are those of scipy's product-limit estimate; where it does not come down so far, the horizon."""
    latency, ended = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    horizon = 200.0
    figures = summarise(latency, ended, horizon)
    curve = stats.ecdf(stats.CensoredData(uncensored=latency[ended], right=latency[~ended])).sf
    for figure, share in zip(figures[1:], (0.5, 0.9, 0.99), strict=True):
        down = np.flatnonzero(curve.probabilities <= 1 - share + 1e-9)
        assert figure == pytest.approx(curve.quantiles[down[0]] if len(down) else horizon)
    steps = np.diff(np.concatenate(([0.0], curve.quantiles, [horizon])))
    assert figures[0] == pytest.approx(float(steps @ np.concatenate(([1.0], curve.probabilities))))


def test_unfinished_requests_are_not_left_out():
    """One request in twenty never ends: p50 and p90 are known all the same, p99 is at least the horizon."""
    latency, ended = np.concatenate((np.full(190, 2.0), np.full(10, 60.0))), np.arange(200) < 190
    assert summarise(latency, ended, 30.0).tolist() == pytest.approx([0.95 * 2 + 0.05 * 30, 2, 2, 30])


@given(st.lists(st.floats(-2, 2), min_size=6, max_size=8), st.floats(-2, 2))
def test_the_fixed_interval_is_that_of_all_sign_flips(values, effect):
    """An effect is inside exactly where the test that flips all signs does not reject it on either side."""
    differences = np.array(values)
    low, high = typical_interval(differences[:, None], alpha=0.05)
    rest = differences - effect
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    flipped = signs @ rest
    ends = int(len(signs) * 0.025)
    above, below = np.count_nonzero(flipped >= rest.sum() - 1e-12), np.count_nonzero(flipped <= rest.sum() + 1e-12)
    if min(abs(effect - low[0]), abs(effect - high[0])) > 1e-9:
        assert (low[0] <= effect <= high[0]) == (above > ends and below > ends)


def test_the_fixed_interval_is_students_for_normal_blocks():
    """For many stretches alike it is about as wide as Student's with as many values."""
    rng = np.random.default_rng(1)
    widths = []
    for _ in range(400):
        low, high = typical_interval(rng.normal(size=(8, 1)))
        widths.append(float(high[0] - low[0]))
    student = 2 * stats.t.ppf(0.975, 7) * math.sqrt(1 / 8)
    assert np.mean(widths) == pytest.approx(student, rel=0.1)


def test_too_few_blocks_have_no_interval():
    """Below six there is none at 95 %; the sequence says nothing either."""
    assert typical_interval(np.ones((5, 4))) is None
    assert typical_interval(np.ones((6, 4))) is not None
    assert sequence_interval(np.ones(5)) == (-math.inf, math.inf)


@pytest.mark.parametrize("spread", ["normal", "heavy", "by load"])
@pytest.mark.parametrize("blocks", [8, 24])
def test_the_fixed_interval_covers(spread, blocks):
    """Nominal 95 % and 93 to 97 % within the simulation's error, for heavy tails and unequal blocks too."""
    rng = np.random.default_rng(blocks)
    runs, held = 2000, 0
    for _ in range(runs):
        differences = rng.normal(size=blocks)
        if spread == "heavy":
            differences = rng.standard_t(2, size=blocks)
        elif spread == "by load":
            differences *= np.exp(np.cumsum(rng.normal(0, 0.3, blocks)))
        low, high = typical_interval((differences + 0.2)[:, None])
        held += low[0] <= 0.2 <= high[0]
    error = 2.6 * math.sqrt(0.95 * 0.05 / runs)
    assert 0.93 - error <= held / runs <= 0.97 + error


@given(numbers)
@settings(max_examples=40)
def test_evidence_is_worth_one_in_the_mean(values):
    """Over all ways to flip signs the evidence is 1 in the mean: the bound on false stops follows, for any blocks."""
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    worth = [math.exp(log_evidence(s * np.array(values))) for s in signs]
    assert np.mean(worth) == pytest.approx(1.0)


@given(numbers)
@settings(max_examples=40)
def test_evidence_is_worth_no_more_after_any_block(values):
    """The same at every block before the end, whatever came before: looking often costs nothing."""
    values = np.array(values)
    before = math.exp(log_evidence(values[:-1])) if len(values) > 1 else 1.0
    after = [math.exp(log_evidence(np.append(values[:-1], s * values[-1]))) for s in (1, -1)]
    assert np.mean(after) == pytest.approx(before)


@given(st.lists(st.floats(-3, 3), min_size=6, max_size=40), st.floats(-1, 1))
def test_the_bound_is_where_the_evidence_ends(values, effect):
    """Effects below the lower bound are refuted, those above are not; shifting the blocks shifts the bound."""
    differences = np.array(values)
    low = lower_bound(differences, 0.05)
    assert log_evidence(differences - (low - 1e-6)) >= math.log(20) - 1e-6
    assert log_evidence(differences - (low + 1e-6)) <= math.log(20) + 1e-6
    assert lower_bound(differences + effect, 0.05) == pytest.approx(low + effect, abs=1e-6)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=40), st.floats(0, 2))
def test_more_harm_is_more_evidence(values, more):
    """Evidence grows with every block's difference."""
    assert log_evidence(np.array(values) + more) >= log_evidence(np.array(values)) - 1e-9


def test_the_sequence_covers_at_every_look():
    """Looked at after each of 60 blocks, with heavy tails: it misses in 5 % of pilots at most."""
    rng = np.random.default_rng(3)
    runs, held = 300, 0
    for _ in range(runs):
        differences = rng.standard_t(3, size=60) * 0.3
        looks = (differences[:n] for n in range(6, 61))
        held += all(log_evidence(d) < math.log(40) and log_evidence(-d) < math.log(40) for d in looks)
    assert held / runs >= 0.95 - 2.6 * math.sqrt(0.95 * 0.05 / runs)


def test_the_sequence_is_less_than_twice_as_wide():
    """What it costs to look at any time, for blocks of a usual spread."""
    rng = np.random.default_rng(4)
    for spread, blocks in ((0.1, 24), (0.3, 24), (0.3, 96), (1.0, 96)):
        differences = rng.normal(0, spread, blocks)
        low, high = sequence_interval(differences)
        assert high - low < 2.2 * 2 * 1.96 * differences.std() / math.sqrt(blocks)
