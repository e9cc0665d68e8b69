"""Tests of ``rankd status``: what scripts read, and what it says of what was learned."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from rankd_client import (
    AdaptiveRules,
    Estimate,
    LearnedQuality,
    Policy,
    PolicyInForce,
    QualityReport,
    Rules,
    ServiceStatus,
)
from rankd_client.ordering import Objective, ObjectiveOutcome

from rankd.cli.status import as_json
from rankd.cli.status_view import learned_line

AT = 1_790_000_000.0


def test_keys_of_json_are_those_of_the_wire():
    """What the client calls adaptive_rules is ``dial`` in JSON, as scripts know it and as the protocol has it."""
    rules = AdaptiveRules(Rules(Policy.DUE, patience=0.5), backlog_share=0.25)
    policy = PolicyInForce("m", "r@1", Policy.DUE, "", 0.5, calibration=None, adaptive_rules=rules)
    service = ServiceStatus("0.1.0", "r@1", "cpu", 1.0, 1, 2, 0, 2, 0, 0, 0, draining=False)
    (shown,) = as_json(QualityReport(qualities=(), policies=(policy,), service=service))["policies"]
    assert shown["dial"]["backlog_share"] == 0.25
    assert shown["dial"]["rules"]["policy"] == "due"
    assert "adaptive_rules" not in shown


def test_outcomes_are_json_by_objective():
    """Once patience was tuned, what each objective makes of the traffic is told by the objective's name."""
    found = ObjectiveOutcome(0.5, 0.9, 1.1, 0.8)
    policy = PolicyInForce("m", "r@1", Policy.BOOST, "", 0.5, calibration=None, adaptive_rules=None)
    policy = replace(policy, outcomes={Objective.TAIL: found}, objective=Objective.TAIL)
    service = ServiceStatus("0.1.0", "r@1", "cpu", 1.0, 1, 2, 0, 2, 0, 0, 0, draining=False)
    told = json.loads(json.dumps(as_json(QualityReport(qualities=(), policies=(policy,), service=service))))
    assert told["policies"][0]["outcomes"]["tail"]["mean_ratio"] == 0.9
    assert told["policies"][0]["objective"] == "tail"


def learned(state, difference=None, **others):
    """What a daemon tells of what was learned."""
    compared = {"base_tau": None, "learned_tau": None, "difference": None}
    if difference is not None:
        compared = {
            "base_tau": Estimate(0.31, 0.25, 0.37),
            "learned_tau": Estimate(0.31 + difference, 0.35, 0.47),
            "difference": Estimate(difference, difference - 0.04, difference + 0.04),
        }
    fields = {"completions": 1240, "compared": 800, "since": None, "switches": 0, "left_out": 0} | others
    return LearnedQuality(state=state, **compared, **fields)


@pytest.mark.parametrize(
    ("told", "in_use", "line"),
    [
        (learned("learning", completions=12), False, "from 12 completions, too few to say whether it orders better"),
        (
            learned("not_better", -0.002),
            False,
            (
                "from 1,240 completions: tau .31 against .31 (difference 0, -.04 to .04), "
                "not better yet: the ranker's own scores are used"
            ),
        ),
        (
            learned("in_use", 0.1, since=AT, switches=1),
            True,
            (
                "from 1,240 completions: tau .41 against .31 (difference .10, .06 to .14), "
                "in use since 2026-09-21 14:13:20 UTC"
            ),
        ),
        (learned("in_use"), True, "from 1,240 completions, in use"),
        (
            learned("in_use", 0.1, since=AT),
            False,
            (
                "from 1,240 completions: tau .41 against .31 (difference .10, .06 to .14), "
                "better, and comes into use when no pilot is under way"
            ),
        ),
        (
            learned("stepped_back", -0.1, since=AT, switches=2),
            False,
            (
                "from 1,240 completions: tau .21 against .31 (difference -.10, -.14 to -.06), "
                "stepped back at 2026-09-21 14:13:20 UTC: traffic changed; the ranker's own scores are used"
            ),
        ),
        (
            learned("learning", left_out=1300),
            False,
            "from 1,240 completions, too few to say whether it orders better; 1,300 left out",
        ),
        (learned("a_later_state"), False, "from 1,240 completions, a_later_state"),
    ],
    ids=["learning", "not better", "in use", "since the start", "held", "stepped back", "left out", "unknown"],
)
def test_what_was_learned_is_said_in_a_sentence(told, in_use, line):
    """Each state: whether it orders is never left open, nor said where it does not."""
    assert learned_line(told, in_use) == line
