"""What is learned of a served model's load: when patience is tuned, and how far a tuning is followed."""

import numpy as np
import pytest
from rankd_client.ordering import (
    AdaptiveRules,
    CostEstimate,
    LearnedCosts,
    Objective,
    ObjectiveOutcome,
    Rules,
    ServedRequest,
    ServiceCosts,
)
from rankd_client.ordering.objectives import IMPATIENCE, TUNED
from rankd_client.ordering.service_costs import PRIOR_PROMPT_COST

from rankd.monitor.load import ModelLoad
from rankd.settings import OrderSection

UNTUNED = 0.5
"""Share of the drain time, of the settings."""


def found(patience, share):
    return ObjectiveOutcome(patience, 0.7, 1.1, 0.6, slo_share=0.9, arrival_slo_share=0.8, backlog_share=share)


def after(taken, outcome, *, untuned=UNTUNED, objective=Objective.BALANCED):
    """What one finding leaves, where nothing was found before."""
    load = ModelLoad(taken=taken, queued=taken)
    load.tuned({objective: outcome}, untuned)
    return load.outcomes[objective]


def tunings(completions, **settings):
    """After how many completions each tuning of a load is due."""
    order, load, times = OrderSection(**settings), ModelLoad(), []
    for load.taken in range(1, completions + 1):
        if load.tune_due(order):
            load.tuned_at = load.taken
            times.append(load.taken)
    return times


def test_patience_is_tuned_early_and_then_ever_more_rarely():
    """After 128, then twice as many each time, until the setting's number."""
    assert tunings(2100) == [128, 256, 512, 1012, 1512, 2012]
    assert tunings(2000, tune_every=1000) == [128, 256, 512, 1024]
    assert tunings(700, tune_every=200) == [128, 256, 456, 656]


@pytest.mark.parametrize(("tune_every", "most"), [(500, 500), (0, 500), (200, 200)])
def test_costs_are_learned_early_and_then_ever_more_rarely(tune_every, most):
    """After 64, then half as many more each time, up to the number of tunings; without any, up to 500."""
    order, load, times = OrderSection(tune_every=tune_every), ModelLoad(), []
    for load.taken in range(1, 5001):
        if load.fit_due(order):
            load.fitted_at = load.taken
            times.append(load.taken)
    assert times[:4] == [64, 96, 144, 216]
    assert np.diff(times[-3:]).tolist() == [most, most]


def test_a_setting_below_the_first_number_holds_from_the_start():
    assert tunings(35, tune_every=10) == [10, 20, 30]


@pytest.mark.parametrize("settings", [{"tune_every": 0}, {"policy": "score"}, {"policy": "fcfs"}, {"policy": "aged"}])
def test_nothing_is_tuned_where_it_is_off_or_a_policy_has_no_patience(settings):
    assert tunings(2000, **settings) == []


@pytest.mark.parametrize("policy", ["boost", "due"])
def test_each_policy_with_patience_is_tuned(policy):
    assert tunings(128, policy=policy) == [128]


@pytest.mark.parametrize("objective", [objective for objective in TUNED if objective is not Objective.SLO])
def test_an_early_finding_of_none_does_not_end_patience(objective):
    """A hundred completions may be from before a queue grew: while it grows, patience still follows it."""
    untuned = UNTUNED * IMPATIENCE[objective]
    early = after(128, found(0.0, 0.0), objective=objective)
    assert early.patience == 0.0, "seconds per token were found: none"
    assert untuned / 8 < early.backlog_share < untuned / 2
    late = after(2000, found(0.0, 0.0), objective=objective)
    assert 0 < late.backlog_share < 0.05 * untuned + 0.01


def test_thousands_of_completions_nearly_decide():
    """The share of the untuned patience shrinks as completions come, and what was found is nearly all."""
    shares = [after(taken, found(0.2, 0.25)).backlog_share for taken in (128, 256, 2000, 100_000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[1] == pytest.approx((0.25 * 2 * UNTUNED) ** 0.5), "half way, by ratio"
    assert shares[2] == pytest.approx(0.25, rel=0.2)
    assert shares[3] == pytest.approx(0.25, rel=0.01)


@pytest.mark.parametrize("share", [0.03, 0.25, 1.0, 8.0, 1000.0])
@pytest.mark.parametrize("taken", [10, 128, 2000])
def test_a_finding_is_drawn_as_a_whole(taken, share):
    """Seconds per token move by the same ratio as the share of the drain time: each says the same as the other."""
    drawn = after(taken, found(0.1 * share, share))
    low, high = sorted((share, UNTUNED * IMPATIENCE[Objective.BALANCED]))
    assert low <= drawn.backlog_share <= high
    assert drawn.patience == pytest.approx(0.1 * drawn.backlog_share)
    assert (drawn.mean_ratio, drawn.p99_ratio, drawn.slo_share) == (0.7, 1.1, 0.9), "what was measured stays"


@pytest.mark.parametrize("outcome", [found(0.2, 0.25), found(0.0, 0.0)])
@pytest.mark.parametrize(
    ("objective", "untuned"), [(Objective.BALANCED, 0.0), (Objective.FIRST, 0.5), (Objective.MAKESPAN, 0.5)]
)
def test_findings_stay_where_there_is_no_patience_without_them(outcome, objective, untuned):
    """The setting is 0, or the objective takes no patience: there is nothing to be drawn to."""
    assert after(128, outcome, untuned=untuned, objective=objective) == outcome


def test_half_of_each_further_finding_is_taken():
    """By ratio; to and from none at all, which has no ratio, by difference."""
    load = ModelLoad(queued=10**9)
    load.tuned({Objective.MEAN: found(0.1, 0.5)}, 0.0)
    load.tuned({Objective.MEAN: found(0.9, 4.5)}, 0.0)
    assert load.outcomes[Objective.MEAN].patience == pytest.approx(0.3)
    assert load.outcomes[Objective.MEAN].backlog_share == pytest.approx(1.5)
    load.tuned({Objective.MEAN: found(0.0, 0.0)}, 0.0)
    assert load.outcomes[Objective.MEAN].patience == pytest.approx(0.15)
    load.tuned({Objective.MEAN: found(0.0, 0.0)}, 0.0)
    assert load.outcomes[Objective.MEAN].patience == pytest.approx(0.075)


def test_an_objective_that_a_tuning_says_nothing_of_keeps_what_it_has():
    load = ModelLoad(queued=1000)
    load.tuned({Objective.MEAN: found(0.1, 0.5)}, 0.0)
    load.tuned({Objective.TAIL: found(0.2, 1.0)}, 0.0)
    assert load.patience(Objective.MEAN) == 0.1
    assert load.patience(Objective.TAIL) == 0.2
    assert load.patience(Objective.BALANCED) is None


def test_patience_follows_a_backlog_that_grew_after_a_finding_of_none():
    """Nothing waited in the first window; what waits now is not served in arrival order."""
    early = after(128, found(0.0, 0.0))
    learned = LearnedCosts(
        mean_length=100.0,
        patience={Objective.BALANCED: early.patience},
        backlog_share={Objective.BALANCED: early.backlog_share},
    )
    rules = AdaptiveRules(Rules(), backlog_share=UNTUNED)
    assert rules.at(1.0, 60.0, learned).patience == pytest.approx(60.0 * early.backlog_share / 100)
    assert rules.at(1.0, None, learned).patience == 0.0, "as found, where the drain time is not known"


@pytest.mark.parametrize("share", [0.0, 0.03, 1000.0])
def test_the_order_for_a_target_is_taken_whole(share):
    """Half way between two orders keeps no target, neither early nor late."""
    load = ModelLoad(queued=128)
    for one in (found(0.02 * share, share), found(5.0, 250.0), found(0.02 * share, share)):
        load.tuned({Objective.SLO: one}, UNTUNED)
        assert load.outcomes[Objective.SLO] == one


def test_a_class_that_has_a_target_is_ordered_by_what_was_found_for_it():
    """Beside a queue that is ordered for something else, and before there is a finding shortest first."""
    rules = AdaptiveRules(Rules(), Objective.TAIL, class_objectives=((1, Objective.SLO),), backlog_share=0.5)
    [own] = rules.at(1.0, 10.0, LearnedCosts(100.0, mean_work=100.0)).class_policies
    assert own.patience == pytest.approx(0.5 * IMPATIENCE[Objective.SLO] * 10 / 100)
    patience = {Objective.TAIL: 0.01, Objective.SLO: 0.0}
    tuned = rules.at(1.0, 10.0, LearnedCosts(100.0, mean_work=100.0, patience=patience))
    assert tuned.class_policies[0].patience == 0.0, "arrival order within the class"
    assert tuned.patience == 0.01


def test_completions_tell_who_queued_and_each_fit_moves_prompts_half_way():
    """Only waits that are long beside the run say anything of patience; one fit alone may be far off."""
    load = ModelLoad()
    for waited in (0.0, 4.0, 6.0):
        load.take(ServedRequest(0.0, waited, 10.0, 100.0))
    assert (load.taken, load.queued) == (3, 1)
    free = ServiceCosts(CostEstimate(0, 0, 0), CostEstimate(1, 1, 1), CostEstimate(0, 0, 0), 16.0, 500)
    for _ in range(2):
        load.fitted(free, np.array([100.0, np.nan]))
    assert load.prompt_cost == pytest.approx(PRIOR_PROMPT_COST / 4)
    assert load.mean_prompt == 100.0
    load.fitted(None, np.array([np.nan]))
    assert (load.prompt_cost, load.mean_prompt) == (pytest.approx(PRIOR_PROMPT_COST / 4), 0.0)
