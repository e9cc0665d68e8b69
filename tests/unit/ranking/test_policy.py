"""What the daemon orders by, and what it tells others to order by."""

import pytest
from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import CostEstimate, Objective, ObjectiveOutcome, Policy, ServiceCosts
from rankd_client.ordering.objectives import IMPATIENCE
from rankd_client.ordering.service_costs import PRIOR_PROMPT_COST

from rankd.monitor.load import ModelLoad
from rankd.monitor.trust import Trust
from rankd.ranking.policy import in_force
from rankd.settings import OrderSection
from rankd.transport.convert.quality import dial_of
from rankd.types import Reason

UNTUNED = OrderSection().patience_backlog_share * IMPATIENCE[Objective.BALANCED]
CALIBRATION = Calibration((Knot(0.0, 100.0),), 100.0)


@pytest.mark.parametrize("policy", [Policy.DUE, Policy.BOOST])
def test_a_tuned_patience_is_published_for_the_policy_that_it_was_tuned_for_only(policy):
    """Under a pilot the policy in force is another one: whoever orders by what is published does as the daemon."""
    load = ModelLoad(outcomes={Objective.BALANCED: ObjectiveOutcome(7.0, 0.6, 1.2, 0.5)})
    load.wait.add(40.0)
    trust = Trust(True, True, Calibration((Knot(0.0, 100.0),), 100.0), 1.0, load)
    effective = in_force(OrderSection(), trust, policy)
    dial = dial_of(effective, trust)
    assert effective.rules.patience == (7.0 if policy is Policy.BOOST else pytest.approx(UNTUNED * 40 / 100))
    assert dial.HasField("tuned_patience_per_token") == (policy is Policy.BOOST)


@pytest.mark.parametrize(
    ("wanted", "level", "worth_waiting", "policy", "reason"),
    [
        (None, 1.0, True, Policy.BOOST, Reason.NONE),
        (Policy.SCORE, 0.5, True, Policy.SCORE, Reason.NONE),
        (None, 0.0, True, Policy.FCFS, Reason.GUARD),
        (Policy.DUE, 0.0, False, Policy.FCFS, Reason.RANKER_UNAVAILABLE),
        (Policy.FCFS, 1.0, True, Policy.FCFS, Reason.NONE),
        (Policy.FCFS, 0.0, True, Policy.FCFS, Reason.NONE),
    ],
)
def test_the_policy_in_force_follows_trust(wanted, level, worth_waiting, policy, reason):
    """Without trust it is FCFS; that is no fallback where FCFS is what was wanted."""
    order = OrderSection(policy="boost", wait_cap=60.0)
    trust = Trust(level > 0, worth_waiting, Calibration((Knot(0.0, 100.0),), 100.0), level, ModelLoad())
    effective = in_force(order, trust, wanted)
    assert (effective.wanted, effective.policy, effective.reason) == (wanted or Policy.BOOST, policy, reason)
    assert effective.rules.policy is policy
    assert effective.rules.wait_cap == 60.0
    assert effective.rules.prior_expected == 100.0
    assert effective.adaptive_rules.rules.policy is effective.wanted, "what is published is the wanted one's"


def test_patience_follows_the_backlog():
    """The objective's share of the time that the backlog takes to drain, per token of an average request."""
    load = ModelLoad()
    for at in range(20):
        load.rate.add(1000.0, float(at))
    trust = Trust(True, True, Calibration((Knot(0.0, 100.0),), 100.0), 1.0, load)
    assert in_force(OrderSection(), trust, backlog_tokens=40_000.0).rules.patience == pytest.approx(UNTUNED * 40 / 100)
    assert in_force(OrderSection(), trust).rules.patience == OrderSection().patience_per_token, "no backlog is known"


@pytest.mark.parametrize(
    ("order", "policy", "objective", "wanted", "effective"),
    [
        ({}, None, None, Policy.BOOST, Objective.BALANCED),
        ({"objective": "mean"}, None, None, Policy.BOOST, Objective.MEAN),
        ({"objective": "mean", "policy": "due"}, None, Objective.TAIL, Policy.DUE, Objective.TAIL),
        ({"objective": "makespan"}, None, None, Policy.LONGEST, Objective.MAKESPAN),
        ({"objective": "makespan"}, None, Objective.FIRST, Policy.SCORE, Objective.FIRST),
        ({"objective": "makespan"}, Policy.BOOST, None, Policy.BOOST, Objective.BALANCED),
        ({"policy": "fcfs"}, None, None, Policy.FCFS, Objective.BALANCED),
        ({"policy": "fcfs"}, None, Objective.MEAN, Policy.BOOST, Objective.MEAN),
        ({"policy": "fcfs"}, None, Objective.FIRST, Policy.SCORE, Objective.FIRST),
        ({}, Policy.AGED, Objective.FIRST, Policy.AGED, Objective.BALANCED),
        ({}, Policy.DUE, Objective.MEAN, Policy.DUE, Objective.MEAN),
    ],
)
def test_a_policy_that_is_asked_for_goes_before_an_objective(order, policy, objective, wanted, effective):
    """And what a call asks for before what is configured."""
    trust = Trust(True, True, CALIBRATION, 1.0, ModelLoad())
    found = in_force(OrderSection(**order), trust, policy, objective=objective)
    assert (found.wanted, found.policy, found.rules.policy, found.objective) == (wanted, wanted, wanted, effective)


def test_prompts_cost_what_was_learned_or_set():
    """Before anything was learned, little; deadlines go by what was learned, unless a pace is set."""
    estimates = [CostEstimate(value, value, value) for value in (0.001, 0.02, 0.5)]
    costs = ServiceCosts(*estimates, running=10.0, completions=300)
    load = ModelLoad(costs=costs, prompt_cost=0.5, mean_prompt=1000.0)
    trust = Trust(True, True, CALIBRATION, 1.0, load)
    rules = in_force(OrderSection(), trust).rules
    assert (rules.prompt_cost, rules.mean_work) == (pytest.approx(0.5), pytest.approx(600.0))
    assert (rules.pace, rules.prompt_pace) == (0.02, 0.001)
    fixed = in_force(OrderSection(prompt_cost=0.0, pace_per_token=0.3), trust).rules
    assert (fixed.prompt_cost, fixed.pace, fixed.prompt_pace) == (0.0, 0.3, 0.001)
    unknown = in_force(OrderSection(), Trust(True, True, CALIBRATION, 1.0, ModelLoad())).rules
    assert (unknown.prompt_cost, unknown.mean_work, unknown.pace) == (PRIOR_PROMPT_COST, None, 0.0)


def test_classes_have_objectives_of_their_own():
    """Each with the patience that was tuned for it, in what is followed and in what is published."""
    outcomes = {o: ObjectiveOutcome(p, 1.0, 1.0, 1.0) for o, p in ((Objective.TAIL, 2.0), (Objective.MEAN, 30.0))}
    trust = Trust(True, True, CALIBRATION, 0.5, ModelLoad(outcomes=outcomes))
    order = OrderSection(
        objective="tail", class_objectives={1: "mean", 2: "makespan", -1: "slo"}, slo="99 % within 3 s"
    )
    effective = in_force(order, trust)
    own = effective.rules.class_policies
    assert [(c.priority_class, c.policy) for c in own] == [(-1, Policy.BOOST), (1, Policy.BOOST), (2, Policy.LONGEST)]
    assert (effective.rules.patience, own[1].patience) == (1.0, 15.0)
    dial = dial_of(effective, trust)
    assert [c.priority_class for c in dial.class_objectives] == [-1, 1, 2]
    assert dial.class_objectives[1].tuned_patience_per_token.seconds == 30
    assert not dial.class_objectives[0].HasField("tuned_patience_per_token")
