"""What a pilot's intervals are worth on a queue with busy times; the long version is ``benchmarks.pilot_coverage``."""

import math

import numpy as np
import pytest

from benchmarks.pilot_coverage import fixed_coverage, main, pilots, run, sequence_coverage, stopped_at
from benchmarks.pilot_simulation import Orders, Traffic, _serve, slot_statistics

SAME = Orders(0.0, 0.0)


def error(runs, share=0.95):
    """2.6 standard errors of a share: one test in a hundred is beyond by chance."""
    return 2.6 * math.sqrt(share * (1 - share) / runs)


@pytest.fixture(scope="module")
def nothing():
    """A long switchback between a policy and itself, on restless traffic: any constant effect looks like this."""
    return run(Traffic(requests=60), SAME, 6000, 5)


@pytest.fixture(scope="module")
def shortest():
    """First come, first served against shortest first."""
    return run(Traffic(unrest=0.15, memory=0.5, requests=60), Orders(), 4800, 6)


def test_the_simulated_queue_is_that_of_theory():
    """One server, Poisson arrivals, first come, first served: the mean wait of Pollaczek and Khinchine."""
    rng = np.random.default_rng(1)
    count, load = 200_000, 0.7
    arrival = np.cumsum(rng.exponential(1 / load, count))
    size = np.exp(rng.normal(-0.125, 0.5, count))
    latency = _serve(arrival, size, SAME, np.zeros(1, bool), Traffic(servers=1))
    wait = load * math.exp(0.25) / (2 * (1 - load))
    assert latency.mean() - 1 == pytest.approx(wait, rel=0.05)


def test_shortest_first_is_shorter_in_the_mean_only():
    """The simulated treatment does what it is known for: mean and p50 fall, the tail gains nothing."""
    control, treatment = slot_statistics(Traffic(requests=60), Orders(), 600, 3)
    ratio = np.exp((treatment - control).mean(axis=0))
    assert ratio[0] < 0.9
    assert ratio[1] < 0.8
    assert ratio[1] < ratio[2] < ratio[3]


@pytest.mark.parametrize("blocks", [8, 20])
def test_the_fixed_interval_covers_a_constant_effect(nothing, blocks):
    """93 to 97 % in every metric, within the simulation's error."""
    share, _ = fixed_coverage(nothing, blocks)
    runs = 6000 // blocks
    assert (share >= 0.93 - error(runs)).all()
    assert (share <= 0.97 + error(runs)).all()


def test_the_sequence_covers_a_constant_effect(nothing):
    """At least 95 % of pilots never see it miss."""
    share, _ = sequence_coverage(nothing, 30, most=200)
    assert (share >= 0.95 - error(200)).all()


def test_the_intervals_cover_what_shortest_first_does(shortest):
    """An effect that varies with the load: both intervals cover what it was on the pilot's own traffic."""
    _, own = fixed_coverage(shortest, 24)
    assert (own >= 0.93 - error(200)).all()
    _, always = sequence_coverage(shortest, 24, most=200)
    assert (always >= 0.95 - error(200)).all()


def test_nothing_hardly_ever_stops_a_pilot(nothing):
    """With no effect and no tolerance, harm-stops in any metric are rarer than 1 %, within the simulation's error."""
    cut = pilots(nothing.differences, 30)
    stops = np.array([[stopped_at(p[:, m], 0.0) is not None for m in range(4)] for p in cut])
    assert (stops.mean(axis=0) <= 0.01 + error(len(cut), 0.01)).all()


def test_harm_is_found(nothing):
    """A p99 of twice as long stops nearly every pilot of 40 blocks, at a tolerance of a tenth."""
    cut = pilots(nothing.differences, 40)
    found = [stopped_at(p[:, 3] + math.log(2.0), 0.1) for p in cut]
    assert np.mean([f is not None for f in found]) > 0.9


def test_the_tables_are_printed(capsys):
    """The script of docs/measurements/2026-11-25-pilot-coverage.md runs."""
    main(["96"])
    text = capsys.readouterr().out
    assert "constant effect" in text
    assert "no effect, tolerance" in text
