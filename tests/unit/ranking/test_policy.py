"""What the daemon orders by, and what it tells others to order by."""

import pytest
from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import Policy

from rankd.monitor.load import ModelLoad
from rankd.monitor.trust import Trust
from rankd.ranking.policy import in_force
from rankd.settings import OrderSection
from rankd.transport.convert.quality import dial_of
from rankd.types import Reason


@pytest.mark.parametrize("policy", [Policy.DUE, Policy.BOOST])
def test_a_tuned_patience_is_published_for_the_policy_that_it_was_tuned_for_only(policy):
    """Under a pilot the policy in force is another one: whoever orders by what is published does as the daemon."""
    load = ModelLoad(patience=7.0)
    load.wait.add(40.0)
    trust = Trust(True, True, Calibration((Knot(0.0, 100.0),), 100.0), 1.0, load)
    effective = in_force(OrderSection(), trust, policy)
    dial = dial_of(effective, trust)
    assert effective.rules.patience == (7.0 if policy is Policy.BOOST else pytest.approx(0.5 * 40 / 100))
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
    """Half of the time that the backlog takes to drain, per token of an average request."""
    load = ModelLoad()
    for at in range(20):
        load.rate.add(1000.0, float(at))
    trust = Trust(True, True, Calibration((Knot(0.0, 100.0),), 100.0), 1.0, load)
    assert in_force(OrderSection(), trust, backlog_tokens=40_000.0).rules.patience == pytest.approx(0.5 * 40 / 100)
    assert in_force(OrderSection(), trust).rules.patience == OrderSection().patience_per_token, "no backlog is known"
