"""Tests of ``rankd status``: what scripts read."""

from __future__ import annotations

from rankd_client import AdaptiveRules, Policy, PolicyInForce, QualityReport, Rules, ServiceStatus

from rankd.cli.status import as_json


def test_keys_of_json_are_those_of_the_wire():
    """What the client calls adaptive_rules is ``dial`` in JSON, as scripts know it and as the protocol has it."""
    rules = AdaptiveRules(Rules(Policy.DUE, patience=0.5), backlog_share=0.25)
    policy = PolicyInForce("m", "r@1", Policy.DUE, "", 0.5, calibration=None, adaptive_rules=rules)
    service = ServiceStatus("0.1.0", "r@1", "cpu", 1.0, 1, 2, 0, 2, 0, 0, 0, draining=False)
    (shown,) = as_json(QualityReport(qualities=(), policies=(policy,), service=service))["policies"]
    assert shown["dial"]["backlog_share"] == 0.25
    assert shown["dial"]["rules"]["policy"] == "due"
    assert "adaptive_rules" not in shown
