"""The policy in force: what the settings, the trust in a ranker and the backlog make of each other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from rankd_client.ordering import OrderColumns, PatienceDial, Policy, Rules
from rankd_client.ordering.serving_keys import filled, lengths_of

from rankd.monitor.trust import Trust
from rankd.settings import OrderSection


def dial_of(order: OrderSection, policy: Policy | None = None) -> PatienceDial:
    """The settings as the code that orders takes them; ``policy`` replaces the configured one."""
    return PatienceDial(
        Rules(
            policy=policy or Policy(order.policy),
            patience=order.patience_per_token,
            age_exponent=order.age_exponent,
            risk=order.risk,
            wait_cap=order.wait_cap or math.inf,
            overtake_cap=order.overtake_cap,
            class_step=order.class_step if order.classes == "weighted" else None,
            pace=order.pace_per_token,
            fair_tenants=order.fair_tenants,
            prompt_weight=order.prompt_weight,
            running_first=order.running_first,
        ),
        backlog_share=order.patience_backlog_share,
        most_patience=order.max_patience_per_token,
        cap_share=order.wait_cap_backlog_share,
    )


def rules_of(order: OrderSection, policy: Policy, trust: Trust, backlog: float) -> Rules:
    """The rules for one order.

    Args:
        order: the settings.
        policy: the one to follow; FCFS stays FCFS.
        trust: in the ranker, on this model.
        backlog: output tokens still to be made for what waits.
    """
    mean = trust.calibration.mean_expected if trust.calibration is not None else None
    level = trust.level if policy is not Policy.FCFS else 0.0
    tuned = tuned_for(order, policy, trust)
    rules = dial_of(order, policy).at(level, trust.drain(backlog), mean or 0.0, tuned)
    return replace(rules, prior_expected=mean)


def tuned_for(order: OrderSection, policy: Policy, trust: Trust) -> float | None:
    """The tuned patience as far as it is this policy's.

    It is the configured one's; another one that a call or a pilot names has a meaning of its own.
    """
    return trust.load.patience if policy.value == order.policy else None


def backlog_of(queue: OrderColumns, trust: Trust, beside: int = 0) -> float:
    """Expected output tokens that are still to be made for a queue; 0 where nothing is known.

    A queue of one says nothing by itself: its caller asks about requests one by one, whatever else waits.

    Args:
        queue: what the caller asks about.
        trust: in the ranker, on this model.
        beside: requests that wait beside it, as the caller tells; each counts as one of average length.
    """
    mean = trust.calibration.mean_expected if trust.calibration is not None else None
    others = beside * (mean or 0.0)
    if len(queue) < 2 and not beside:
        return 0.0
    lengths = lengths_of(queue)
    if np.isnan(lengths).all():
        return others
    lengths = filled(lengths, queue, mean)
    if queue.generated is not None:
        lengths = np.maximum(lengths - queue.generated, 0.0)
    return others + float(lengths.sum())
