"""The simulated engine against queueing theory: one slot, Poisson arrivals, a token a second."""

from itertools import pairwise

import numpy as np
import pytest
from support.traces import trace_of

from rankd.replay.engine.cost import step_cost
from rankd.replay.engine.engine import run
from rankd.replay.policies.baselines import FixedKey, KeyOrder, ShortestRemaining

LOAD = 0.6
LENGTHS = np.array([20, 60, 200, 400])
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
"""Four lengths: every integral of the closed forms is a sum."""
REQUESTS = 200_000


@pytest.fixture(scope="module")
def queue():
    rng = np.random.default_rng(11)
    output = rng.choice(LENGTHS, REQUESTS, p=SHARES)
    gaps = rng.exponential(float(LENGTHS @ SHARES) / LOAD, REQUESTS)
    return trace_of(np.cumsum(gaps), np.zeros(REQUESTS, dtype=int), output)


def rate():
    return LOAD / float(LENGTHS @ SHARES)


def load_up_to(length):
    """Load of the requests that are at most so long, and of those that are shorter."""
    most = rate() * float((LENGTHS * SHARES)[length >= LENGTHS].sum())
    return most, most - rate() * float((LENGTHS * SHARES)[length == LENGTHS].sum())


def fcfs_wait():
    """Pollaczek and Khinchine's mean wait: rate * E[S^2] / (2 (1 - load))."""
    return rate() * float(LENGTHS**2 @ SHARES) / (2 * (1 - LOAD))


def sjf_wait():
    """Mean wait of shortest job first without preemption (Phipps 1956; Conway, Maxwell and Miller 1967).

    Equal lengths are one class, first come, first served: W = rate * E[S^2] / (2 (1 - shorter) (1 - up to)).
    """
    residual = rate() * float(LENGTHS**2 @ SHARES) / 2
    waits = [residual / ((1 - load_up_to(s)[1]) * (1 - load_up_to(s)[0])) for s in LENGTHS]
    return float(SHARES @ waits)


def srpt_response():
    """Mean response of shortest remaining processing time (Schrage and Miller 1966), ties first come, first served.

    For length x: rate * (sum over s <= x of s^2 p + x^2 P(s > x)) / (2 (1 - shorter)(1 - up to)) waiting, and the
    residence, the integral from 0 to x of dt / (1 - load of lengths below t), which is a sum.
    """
    responses = []
    for x in LENGTHS:
        most, shorter = load_up_to(x)
        second = float((LENGTHS**2 * SHARES)[x >= LENGTHS].sum()) + x * x * float(SHARES[x < LENGTHS].sum())
        waiting = rate() * second / (2 * (1 - shorter) * (1 - most))
        edges = [0, *[int(s) for s in LENGTHS if s <= x]]
        residence = sum((b - a) / (1 - load_up_to(b)[1]) for a, b in pairwise(edges))
        responses.append(waiting + residence)
    return float(SHARES @ responses)


def test_fcfs_mean_wait_is_pollaczek_khinchines(queue):
    """First come, first served: within 3 % of the closed form."""
    result = run(queue, KeyOrder(queue), step_cost(1))
    assert (result.start - result.arrival).mean() == pytest.approx(fcfs_wait(), rel=0.03)


def test_sjf_mean_wait_is_phipps(queue):
    """Shortest job first: within 3 % of the closed form."""
    result = run(queue, FixedKey(queue, queue.output.astype(float)), step_cost(1))
    assert (result.start - result.arrival).mean() == pytest.approx(sjf_wait(), rel=0.03)


def test_srpt_mean_response_is_schrages(queue):
    """Shortest remaining processing time, preemptive: within 3 % of the closed form."""
    result = run(queue, ShortestRemaining(queue), step_cost(1))
    assert (result.finish - result.arrival).mean() == pytest.approx(srpt_response(), rel=0.03)
