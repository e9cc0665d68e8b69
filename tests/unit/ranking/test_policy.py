"""What the daemon orders by, and what it tells others to order by."""

import pytest
from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import Policy
from rankd_client.v1 import prediction_pb2, rank_pb2

from rankd.monitor.load import ModelLoad
from rankd.monitor.trust import Trust
from rankd.ranking.policy import in_force
from rankd.ranking.stream import StreamQueue
from rankd.settings.load import LimitsSection, OrderSection
from rankd.transport.convert.completion import expected_of
from rankd.transport.convert.quality import dial_of
from rankd.transport.convert.request import Violations, tenant_service_of
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


def test_a_weight_can_be_taken_back():
    """What is said of a tenant replaces what was said before, a weight left out included."""

    def said(*weights):
        messages, bad = [rank_pb2.TenantService(tenant="a", weight=w) for w in weights], Violations()
        service = tenant_service_of(messages, LimitsSection(), bad)
        bad.check()
        return service

    assert said(5, 0).weights == {"a": 1.0}
    queue = StreamQueue()
    queue.update_tenant_service(said(5))
    queue.update_tenant_service(said(0))
    assert queue.tenant_service.weights == {"a": 1.0}


def test_an_expected_length_that_no_answer_could_have_does_not_tune():
    """One report of 1e308 tokens would make the average length infinite, and all patience 0: as in a queue, refused."""
    most = LimitsSection().max_token_count
    for told in (-1.0, most + 1.0, 1e308, float("inf"), float("nan")):
        assert expected_of(prediction_pb2.Prediction(expected_token_count=told), most) is None
    assert expected_of(prediction_pb2.Prediction(expected_token_count=most), most) == most
