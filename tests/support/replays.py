"""Whole replays of small traces."""

import numpy as np

from rankd.replay.engine.cost import step_cost
from rankd.replay.plan import ReplayPlan, ScoreOrigin, compared
from rankd.replay.policies.synthetic_scores import scores_of_tau
from rankd.replay.report.report import make_report
from rankd.settings import Settings

COST = step_cost(8)


def plan_of(trace, *, tau=0.6, scores=None, cost=COST, **more):
    """A plan with made-up scores, in steps; the policies are those of a recommendation."""
    settings = more.get("settings") or Settings()
    policies = compared(settings, burst=trace.span <= 0)
    plan = {"name": "trace", "policies": policies, "steps": True, "origin": ScoreOrigin("synthetic")} | more
    scores = scores_of_tau(trace.output, tau) if scores is None else np.asarray(scores)
    return ReplayPlan(trace=trace, scores=scores, cost=cost, **plan)


def report_of(trace, **more):
    """A replay of it."""
    return make_report(plan_of(trace, **more))
