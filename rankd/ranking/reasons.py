"""What an answer says of itself as a whole."""

from __future__ import annotations

import math

from rankd_client.ordering import Policy, Rules

from rankd.types import Reason


def is_timeless(policy: Policy, rules: Rules, *, has_deadline: bool) -> bool:
    """Whether an order stays the same as time passes."""
    return policy is not Policy.AGED and rules.wait_cap == math.inf and not has_deadline


def reason_of(policy: Policy, reason: Reason, followed: Policy, missing: dict[int, Reason]) -> Reason:
    """One reason for the whole answer: the policy's own, else the commonest among items without a score."""
    if reason is not Reason.NONE:
        return reason
    causes = [r for r in missing.values() if r is not Reason.NEEDS_PROMPT]
    if causes:
        return max(set(causes), key=lambda r: (causes.count(r), r.value))
    if missing:
        return Reason.NEEDS_PROMPT
    # Scored, yet in arrival order: there is no calibration to tell how many tokens a score stands for.
    return Reason.RANKER_UNAVAILABLE if followed is not policy else Reason.NONE
