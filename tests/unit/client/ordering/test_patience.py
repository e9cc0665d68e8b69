"""Trust, and the rate at which a model is served: what patience follows."""

import math

import pytest
from rankd_client.ordering import AdaptiveRules, LearnedCosts, Objective, Policy, Rules, ServiceRate, trust_of

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


def tuned(patience, share, **known):
    """What a tuning for the default objective found; an average request is 20 tokens of work."""
    return LearnedCosts(
        10.0,
        mean_work=20.0,
        patience={Objective.BALANCED: patience},
        backlog_share={Objective.BALANCED: share},
        **known,
    )


@pytest.mark.parametrize("policy", [Policy.BOOST, Policy.DUE])
@pytest.mark.parametrize(
    ("drain", "patience"),
    [(None, 3.0), (0.0, 3.0), (40.0, 3.0), (240.0, 3.0), (400.0, 5.0), (4e6, 1000.0), (math.inf, 1000.0), (NAN, 3.0)],
)
def test_a_tuned_patience_grows_with_what_waits_and_never_shrinks(policy, drain, patience):
    """A quarter of the drain time for an average request, by work; what was found is the least, and there is a most."""
    rules = AdaptiveRules(Rules(policy), backlog_share=0.5, most_patience=1000.0)
    assert rules.at(1.0, drain, tuned(3.0, 0.25)).patience == patience
    assert rules.at(0.5, drain, tuned(3.0, 0.25)).patience == patience / 2


def test_a_tuned_share_goes_before_the_configured_one():
    """Also where none was found: an objective that takes no patience gets none from the setting."""
    rules = AdaptiveRules(Rules(), backlog_share=0.5)
    assert rules.at(1.0, 400.0, tuned(0.0, 0.0)).patience == 0.0
    assert rules.at(1.0, 400.0, tuned(0.0, 0.1)).patience == pytest.approx(2.0)
    assert rules.at(1.0, 400.0, LearnedCosts(10.0, mean_work=20.0)).patience == pytest.approx(0.5 * 2 * 20)
    only_patience = LearnedCosts(10.0, patience={Objective.BALANCED: 3.0})
    assert rules.at(1.0, 400.0, only_patience).patience == 3.0, "a share that is not known adds nothing"


def test_a_share_takes_an_average_request_by_work_where_it_is_known():
    """Else by its length; where neither is known, what was found in seconds per token holds."""
    rules, share = AdaptiveRules(Rules(), backlog_share=0.5), {Objective.BALANCED: 0.25}
    found = {Objective.BALANCED: 0.1}
    for known, patience in (
        (LearnedCosts(10.0, mean_work=20.0), 5.0),
        (LearnedCosts(10.0), 10.0),
        (LearnedCosts(), 0.1),
        (LearnedCosts(0.0), 0.1),
    ):
        learned = LearnedCosts(known.mean_length, mean_work=known.mean_work, patience=found, backlog_share=share)
        assert rules.at(1.0, 400.0, learned).patience == patience


def test_each_class_follows_the_backlog_by_its_own_objective():
    """A class that has an objective of its own takes what was found for that."""
    learned = LearnedCosts(
        mean_work=20.0,
        patience={Objective.BALANCED: 1.0, Objective.MEAN: 2.0},
        backlog_share={Objective.BALANCED: 0.1, Objective.MEAN: 1.0},
    )
    rules = AdaptiveRules(Rules(), class_objectives=((3, Objective.MEAN),), backlog_share=0.5).at(1.0, 400.0, learned)
    assert (rules.patience, rules.class_policies[0].patience) == (2.0, 20.0)
    assert (
        AdaptiveRules(Rules(), most_patience=5.0, class_objectives=((3, Objective.MEAN),), backlog_share=0.5)
        .at(1.0, 400.0, learned)
        .class_policies[0]
        .patience
        == 5.0
    )


@pytest.mark.parametrize(("work", "least"), [(10.0, 1e-4), (200.0, 1e-4), (2000.0, 1e-5), (5e8, 4e-11)])
def test_the_least_patience_is_no_long_wait_for_large_work(work, least):
    """However short the backlog, keys tell lengths apart; where prompts are long that is not worth minutes."""
    adaptive = AdaptiveRules(Rules(), Objective.TAIL, backlog_share=0.5)
    learned = LearnedCosts(100.0, mean_work=work)
    assert adaptive.at(1.0, 1e-9, learned).patience == pytest.approx(least)


def test_a_share_found_in_a_short_queue_does_not_feed_itself():
    """Tuned patience grows with the backlog to no larger share of it than holds without a tuning."""
    rules = AdaptiveRules(Rules(), Objective.TAIL, backlog_share=0.5)
    found = {Objective.TAIL: 0.01}
    learned = LearnedCosts(10.0, mean_work=20.0, patience=found, backlog_share={Objective.TAIL: 3.2})
    assert rules.at(1.0, 400.0, learned).patience == pytest.approx(0.5 * 400 / 20)
    assert AdaptiveRules(Rules(), Objective.TAIL).at(1.0, 400.0, learned).patience == 0.01, "it does not follow at all"
