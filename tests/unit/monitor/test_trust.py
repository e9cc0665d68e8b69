"""What follows from a guard: who orders, and how far it is trusted."""

import pytest
from rankd_client.calibration import Calibration, Knot

from rankd.monitor.load import ModelLoad
from rankd.monitor.trust import trust_in, work_model
from rankd.quality import Guard, GuardReason, GuardStanding, HealthEvidence
from rankd.quality.prompt_judgement import PromptStanding
from rankd.ranking.policy import in_force
from rankd.settings import Settings
from rankd.types import GuardMode, Reason

FLAT = Calibration((Knot(0.0, 100.0), Knot(1.0, 300.0)), 200.0)


def standing_at(mode, prompts, cause=None, low=0.2):
    guard = Guard()
    guard.adopt(GuardStanding(mode, 5.0, cause, 60.0, 0.0, 0, low, prompts), 10.0)
    return guard


def trust_of_guard(judge, **settings):
    return trust_in(judge, FLAT, ModelLoad(), Settings(**settings))


PROVEN = PromptStanding(proven=True, tau_low=0.1)


@pytest.mark.parametrize("cause", [GuardReason.QUALITY, GuardReason.ERRORS])
def test_in_fallback_proven_prompts_order_by_their_own_trust(cause):
    """The policy is the configured one, every answer is expected to be average, and the reason says so."""
    guard = standing_at(GuardMode.FALLBACK, PROVEN, cause)
    if cause is GuardReason.ERRORS:  # never taken over from another one
        guard = Guard()
        guard.adopt(GuardStanding(GuardMode.RANKED, 5.0, None, 60.0, 0.0, 0, 0.2, PROVEN), 10.0)
        for at in range(20, 40):
            guard.observe_health(HealthEvidence(9, 9, 9, 0, 0.1), float(at))
    trust = trust_of_guard(guard, order={"full_trust_tau": 0.4})
    assert (trust.ranks, trust.ignores_lengths, trust.level) == (True, True, pytest.approx(0.25))
    assert trust.worth_waiting is (cause is GuardReason.QUALITY)
    found = in_force(Settings().order, trust)
    assert found.policy is found.wanted
    assert found.reason is (Reason.GUARD if cause is GuardReason.QUALITY else Reason.RANKER_UNAVAILABLE)
    assert found.rules.ignore_lengths


def test_without_proof_fallback_is_arrival_order():
    """As it always was."""
    trust = trust_of_guard(standing_at(GuardMode.FALLBACK, PromptStanding(tau_low=0.1), GuardReason.QUALITY))
    assert (trust.ranks, trust.ignores_lengths, trust.level) == (False, False, 0.0)
    assert in_force(Settings().order, trust).reason is Reason.GUARD


def test_a_guard_that_is_off_trusts_the_scores():
    """Whatever was found."""
    guard = standing_at(GuardMode.RANKED, PromptStanding(better=True, tau_low=0.1))
    assert trust_of_guard(guard).ignores_lengths
    trust = trust_of_guard(guard, guard={"enabled": False})
    assert (trust.ranks, trust.ignores_lengths, trust.level) == (True, False, 1.0)


def test_work_is_judged_by_what_orders():
    """The learned cost of prompts, or the one that is set; nothing expected before anything is known."""
    load = ModelLoad()
    assert work_model(FLAT, load, Settings()).prompt_cost == load.prompt_cost
    set_cost = work_model(None, load, Settings(order={"prompt_cost": 0.4}))
    assert (set_cost.prompt_cost, set_cost.expected) == (0.4, None)


def test_average_work_is_of_what_orders():
    """Patience is per token of it: with another cost of prompts than orders it would be far too much, or too little."""
    load = ModelLoad(mean_prompt=1000.0)
    trust = trust_in(Guard(), FLAT, load, Settings())
    for given, work in ((-1.0, 200.0 + 1000 * load.prompt_cost), (0.0, 200.0), (0.4, 600.0)):
        found = in_force(Settings(order={"prompt_cost": given}).order, trust)
        assert found.learned.mean_work == pytest.approx(work)
        assert found.learned.prompt_cost == (load.prompt_cost if given < 0 else given)
