"""Trust, and the rate at which a model is served: what patience follows."""

import math

import pytest
from rankd_client.ordering import AdaptiveRules, LearnedCosts, Objective, Rules, ServiceRate, trust_of

NAN = math.nan


def test_trust_is_the_lower_bound_as_a_share_of_full_trust():
    """From nothing at 0 to all at `full`."""
    assert [trust_of(low, full=0.4) for low in (-0.3, 0.0, 0.1, 0.4, 0.9, NAN)] == [0.0, 0.0, 0.25, 1.0, 1.0, 0.0]
    assert trust_of(0.1, full=0.0) == 1.0


def test_the_service_rate_is_tokens_over_time():
    """The first completion only starts the clock; what left the window does not count."""
    rate = ServiceRate(completions=4, least=3)
    assert rate.per_second is None
    for at in range(10):
        rate.add(tokens=100.0 * at, at=2.0 * at)
    assert rate.per_second == pytest.approx((700 + 800 + 900) / 6)
    assert rate.drain(1200.0) == pytest.approx(3.0)
    rate.add(math.nan, 30.0)
    rate.add(5.0, -math.inf)
    assert rate.per_second == pytest.approx(400.0)
    still = ServiceRate(least=2)
    for _ in range(9):
        still.add(1.0, 5.0)
    assert still.per_second is None


@pytest.mark.parametrize("batch", [1, 7, 129, 200, 256, 1000])
def test_the_service_rate_does_not_depend_on_how_completions_are_batched(batch):
    """Three tokens a second, told in reports of any size."""
    rate = ServiceRate()
    for at in range(4 + 1024 // batch):
        for _ in range(batch):
            rate.add(3.0, float(at * batch))
    assert rate.per_second == pytest.approx(3.0)


@pytest.mark.parametrize(("work", "least"), [(10.0, 1e-4), (200.0, 1e-4), (2000.0, 1e-5), (5e8, 4e-11)])
def test_the_least_patience_is_no_long_wait_for_large_work(work, least):
    """However short the backlog, keys tell lengths apart; where prompts are long that is not worth minutes."""
    adaptive = AdaptiveRules(Rules(), Objective.TAIL, backlog_share=0.5)
    learned = LearnedCosts(100.0, mean_work=work)
    assert adaptive.at(1.0, 1e-9, learned).patience == pytest.approx(least)
