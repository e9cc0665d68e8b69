"""What a queue is ordered for, and what follows from it."""

from dataclasses import replace

import pytest
from rankd_client.ordering import (
    AdaptiveRules,
    LatencyTarget,
    LearnedCosts,
    Objective,
    Policy,
    Rules,
    parse_target,
)
from rankd_client.ordering.objectives import IMPATIENCE


def test_an_objective_says_what_patience_is_for():
    """Tuned for it where that is known; before, a multiple of the configured share of the drain time."""
    learned = LearnedCosts(10.0, mean_work=20.0, prompt_cost=0.5, patience={Objective.MEAN: 9.0})
    for objective, patience in ((Objective.TAIL, 1.0), (Objective.BALANCED, IMPATIENCE[Objective.BALANCED])):
        adaptive = AdaptiveRules(Rules(), objective, backlog_share=0.5)
        assert adaptive.at(1.0, 40.0, learned).patience == patience
    adaptive = AdaptiveRules(Rules(), Objective.MEAN, ((3, Objective.TAIL), (-1, Objective.FIRST)), backlog_share=0.5)
    assert adaptive.at(0.5, 40.0, learned).patience == 4.5
    rules = adaptive.at(1.0, 40.0, learned)
    assert (rules.policy, rules.patience, rules.prompt_cost, rules.mean_work) == (Policy.BOOST, 9.0, 0.5, 20.0)
    assert [(own.priority_class, own.policy) for own in rules.class_policies] == [(3, Policy.BOOST), (-1, Policy.SCORE)]
    assert rules.class_policies[0].patience == 1.0
    fixed = replace(adaptive, rules=Rules(prompt_cost=0.1), learn_prompt_cost=False)
    assert fixed.at(1.0, 40.0, learned).prompt_cost == 0.1
    for objective, policy in ((Objective.FIRST, Policy.SCORE), (Objective.MAKESPAN, Policy.LONGEST)):
        assert AdaptiveRules(Rules(), objective).at(1.0, None).policy is policy
        assert AdaptiveRules(Rules(Policy.AGED), objective).at(1.0, None).policy is Policy.AGED, (
            "chosen for its own sake"
        )


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("99 % within 30 s", LatencyTarget(0.99, 30.0)),
        ("99.9% within 2min", LatencyTarget(0.999, 120.0)),
        (" 95 %  first token within 800 ms ", LatencyTarget(0.95, 0.8, first_token=True)),
        ("95 % of requests to the first token within .5 S", LatencyTarget(0.95, 0.5, first_token=True)),
        ("0 % within 3 s", None),
        ("100 % within 3 s", None),
        ("99 % within 0 s", None),
        ("99 % within 3", None),
        ("p99 30s", None),
        ("99 % within 1e3 s", None),
        ("nan % within 3 s", None),
        ("", None),
    ],
)
def test_a_target_is_what_people_write(text, target):
    """Or it is refused, with an example."""
    if target is not None:
        assert parse_target(text) == target
        return
    with pytest.raises(ValueError, match="99 % within 30 s"):
        parse_target(text)
