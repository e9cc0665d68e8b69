"""What the daemon orders by, and what it tells others to order by."""

import pytest
from rankd_client.calibration import Calibration, Knot
from rankd_client.ordering import Policy
from rankd_client.v1 import prediction_pb2, rank_pb2

from rankd.monitor.load import ModelLoad
from rankd.monitor.trust import Trust
from rankd.ranking.policy import rules_of
from rankd.settings.load import LimitsSection, OrderSection
from rankd.transport.convert.quality import _dial
from rankd.transport.convert.request import Violations, shares_of
from rankd.transport.services.completions import _expected
from rankd.transport.services.stream_queue import StreamQueue


@pytest.mark.parametrize("policy", [Policy.DUE, Policy.BOOST])
def test_a_tuned_patience_is_published_for_the_policy_that_it_was_tuned_for_only(policy):
    """Under a pilot the policy in force is another one: whoever orders by the published dial does as the daemon."""
    load = ModelLoad(patience=7.0)
    load.wait.add(40.0)
    trust = Trust(True, True, Calibration((Knot(0.0, 100.0),), 100.0), 1.0, load)
    rules = rules_of(OrderSection(), policy, trust, 0.0)
    dial = _dial(OrderSection(), policy, trust)
    assert rules.patience == (7.0 if policy is Policy.BOOST else pytest.approx(0.5 * 40 / 100))
    assert dial.HasField("tuned_patience_per_token") == (policy is Policy.BOOST)


def test_a_weight_can_be_taken_back():
    """What is said of a tenant replaces what was said before, a weight left out included."""

    def said(*weights):
        messages, bad = [rank_pb2.TenantService(tenant="a", weight=w) for w in weights], Violations()
        shares = shares_of(messages, LimitsSection(), bad)
        bad.check()
        return shares

    assert said(5, 0).weights == {"a": 1.0}
    state = StreamQueue()
    state.share(said(5))
    state.share(said(0))
    assert state.shares.weights == {"a": 1.0}


def test_an_expected_length_that_no_answer_could_have_does_not_tune():
    """One report of 1e308 tokens would make the average length infinite, and all patience 0: as in a queue, refused."""
    most = LimitsSection().max_token_count
    for told in (-1.0, most + 1.0, 1e308, float("inf"), float("nan")):
        assert _expected(prediction_pb2.Prediction(expected_token_count=told), most) is None
    assert _expected(prediction_pb2.Prediction(expected_token_count=most), most) == most
