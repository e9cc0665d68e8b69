"""What a served model's load keeps of what tunings find."""

import math

import pytest
from rankd_client.ordering import AdaptiveRules, LearnedCosts, Objective, ObjectiveOutcome, Policy, Rules

from rankd.monitor.load import ModelLoad

UNTUNED = 0.5


def found(patience, share):
    return ObjectiveOutcome(patience, 0.8, 1.2, 0.8, backlog_share=share)


@pytest.mark.parametrize("share", [0.0, 0.03, 1000.0])
def test_the_order_for_a_target_is_taken_whole(share):
    """Half way between two orders keeps no target, neither early nor late."""
    load = ModelLoad(taken=128)
    for one in (found(0.02 * share, share), found(5.0, 250.0), found(0.02 * share, share)):
        load.tuned({Objective.SLO: one}, UNTUNED)
        assert load.outcomes[Objective.SLO] == one


def test_other_findings_are_taken_by_half_and_drawn_to_the_untuned():
    """By ratio; the more completions there are, the less to what holds without a tuning."""
    load = ModelLoad(taken=10**9)
    load.tuned({Objective.TAIL: found(1.0, 1.0)}, UNTUNED)
    load.tuned({Objective.TAIL: found(4.0, 4.0)}, UNTUNED)
    assert load.outcomes[Objective.TAIL].patience == pytest.approx(2.0, rel=1e-3)
    early = ModelLoad(taken=256)
    early.tuned({Objective.TAIL: found(8.0, 8.0)}, UNTUNED)
    assert early.outcomes[Objective.TAIL].backlog_share == pytest.approx(math.sqrt(8.0 * UNTUNED))


def test_a_class_that_has_a_target_is_ordered_by_what_was_found_for_it():
    """Beside a queue that is ordered for something else, and before there is a finding shortest first."""
    rules = AdaptiveRules(
        Rules(policy=Policy.BOOST), Objective.TAIL, class_objectives=((1, Objective.SLO),), backlog_share=0.5
    )
    learned = LearnedCosts(mean_length=100.0, mean_work=100.0)
    [own] = rules.at(1.0, 10.0, learned).class_policies
    assert (own.policy, own.patience) == (Policy.BOOST, pytest.approx(1000 * 10 / 100))
    patience = {Objective.TAIL: 0.01, Objective.SLO: 0.0}
    tuned = rules.at(1.0, 10.0, LearnedCosts(mean_length=100.0, mean_work=100.0, patience=patience))
    assert tuned.class_policies[0].patience == 0.0, "arrival order within the class"
    assert tuned.patience == 0.01
