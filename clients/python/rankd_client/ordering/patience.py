"""Rules between first come, first served and shortest first, which follow trust and backlog.

DUE serves the earliest ``arrival + theta * E``, BOOST is its kin by ratios of lengths. What theta should be depends on
how long requests wait: waiting is to be traded against length in proportion to the waiting that there is. So theta is
what replaying recent traffic found (``patience_tuning``), more while more waits than did then, or, until there is any,
a share of the time that the backlog takes to drain, per token of an average request. And it shrinks with trust: at no
trust the order is that of arrival, exactly, and there is no cliff on the way there.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rankd_client.ordering.columns import sane
from rankd_client.ordering.objectives import IMPATIENCE, policy_for
from rankd_client.ordering.rules import ClassPolicy, Objective, Policy, Rules

_LONGEST = 1e9
"""Seconds, 30 years."""
_LEAST_PATIENCE = 1e-4
"""Seconds per token, however short the backlog: keys are whole milliseconds, and must still tell lengths apart."""
_LEAST_REACH = 0.02
"""Seconds of an average request that this may come to: where that is long, less patience tells lengths apart, too."""


@dataclass(frozen=True, slots=True)
class LearnedCosts:
    """What is known of a served model's requests, as far as an order needs it."""

    mean_length: float | None = None
    """Expected length of an average request in tokens; None where it is not known."""
    mean_work: float | None = None
    """Its expected work, output tokens; None where it is not known."""
    prompt_cost: float = 0.0
    """What an uncached prompt token counts for, in output tokens."""
    pace: float = 0.0
    """Seconds that an output token takes; 0: not known."""
    prompt_pace: float = 0.0
    """Seconds that an uncached prompt token takes; 0: not known."""
    patience: Mapping[Objective, float] = field(default_factory=dict)
    """What replaying recent traffic found for each objective under the configured policy, seconds per token."""
    backlog_share: Mapping[Objective, float] = field(default_factory=dict)
    """The same for an average request, as a share of the drain time: patience is no less while more waits than did."""
    ignore_lengths: bool = False
    """Prompts alone order."""


@dataclass(frozen=True, slots=True)
class AdaptiveRules:
    """What the rules become as trust and backlog change.

    ``rules.patience`` holds where the drain time is not known; ``rules.wait_cap`` is the least wait cap;
    ``rules.prompt_cost``, ``rules.pace`` and ``rules.prompt_pace`` hold where they are above 0, instead of what was
    learned.
    """

    rules: Rules
    objective: Objective = Objective.BALANCED
    class_objectives: tuple[tuple[int, Objective], ...] = ()
    """Priority classes that are ordered for something else, and for what."""
    learn_prompt_cost: bool = True
    """False: ``rules.prompt_cost`` holds, whatever was learned."""
    backlog_share: float = 0.0
    """Patience for an average request, as a share of the drain time; 0 leaves ``rules.patience`` alone."""
    most_patience: float = math.inf
    """Seconds per token that patience never exceeds, at full trust."""
    cap_share: float = 0.0
    """Wait cap as a multiple of the drain time; 0 leaves ``rules.wait_cap`` alone."""

    def at(self, trust: float, drain: float | None, learned: LearnedCosts | None = None) -> Rules:
        """The rules for now.

        Args:
            trust: in the order, 0 to 1, such as ``trust_of`` gives; 0 is FCFS.
            drain: seconds that the backlog takes to drain; None where it is not known.
            learned: of the requests of the served model.
        """
        trust = sane(trust, 0.0, 1.0, 0.0)
        learned = learned or LearnedCosts()
        cap, prior = self._cap(drain), learned.mean_length
        if trust <= 0:
            return replace(self.rules, policy=Policy.FCFS, wait_cap=cap, prior_expected=prior)
        own = tuple(
            ClassPolicy(
                number, policy_for(objective, self.rules.policy), self._patience(objective, trust, drain, learned)
            )
            for number, objective in self.class_objectives
        )
        return replace(
            self.rules,
            policy=policy_for(self.objective, self.rules.policy),
            patience=self._patience(self.objective, trust, drain, learned),
            age_exponent=trust * self.rules.age_exponent,
            wait_cap=cap,
            prior_expected=prior,
            mean_work=learned.mean_work,
            prompt_cost=learned.prompt_cost if self.learn_prompt_cost else self.rules.prompt_cost,
            pace=self.rules.pace or learned.pace,
            prompt_pace=learned.prompt_pace,
            ignore_lengths=learned.ignore_lengths,
            class_policies=own,
        )

    def _patience(self, objective: Objective, trust: float, drain: float | None, learned: LearnedCosts) -> float:
        """Seconds per token, for an objective.

        What was tuned grows with the backlog, but to no larger share of it than holds without a tuning: who waits for
        long is missing among completions, and while the backlog grows the more, the more patience there is, a share
        that was found in a short queue would feed itself.
        """
        patience = self.rules.patience
        average = learned.mean_work or learned.mean_length
        follows = 0.0
        if drain is not None and average is not None and average > 0:
            follows = sane(drain, 0.0, _LONGEST, 0.0) / average
        untuned = self.backlog_share * IMPATIENCE.get(objective, 1.0)
        if (tuned := learned.patience.get(objective)) is not None:
            share = min(learned.backlog_share.get(objective, 0.0), untuned)
            patience = max(tuned, share * follows)
        elif untuned > 0 and follows > 0:
            least = min(_LEAST_PATIENCE, _LEAST_REACH / average) if average else _LEAST_PATIENCE
            patience = max(untuned * follows, least)
        return trust * min(patience, self.most_patience)

    def _cap(self, drain: float | None) -> float:
        """At least as set; a burst's own drain time where that is longer, or the cap would make it FCFS."""
        if self.cap_share <= 0 or drain is None:
            return self.rules.wait_cap
        share = self.cap_share * sane(drain, 0.0, _LONGEST, _LONGEST)
        return share if math.isinf(self.rules.wait_cap) else max(self.rules.wait_cap, share)


def trust_of(tau_low: float, *, full: float) -> float:
    """How far to trust a ranker, 0 to 1: the lower bound of its live tau, as a share of what deserves full trust."""
    return sane(tau_low / full, 0.0, 1.0, 0.0) if full > 0 else float(tau_low > 0)


@dataclass(slots=True)
class _Moment:
    """What completed at one time."""

    at: float
    tokens: float
    completions: int


class ServiceRate:
    """Tokens per second over the latest completions: what turns a backlog into a time.

    Completions come in batches: those of one time count all or not at all, or what a part of a batch made would be set
    against the time of the whole.
    """

    def __init__(self, completions: int = 256, least: int = 8) -> None:
        """Start without any.

        Args:
            completions: how many count, and at least those of the last two times.
            least: how many it takes to say anything.
        """
        self._recent: deque[_Moment] = deque()
        self._most = max(completions, 2)
        self._least = max(least, 2)
        self._count = 0
        self._sum = 0.0

    def add(self, tokens: float, at: float) -> None:
        """Note a completion of so many tokens at a time; times that run backwards count as the latest."""
        if not (math.isfinite(tokens) and tokens >= 0 and math.isfinite(at)):
            return
        if self._recent and at <= self._recent[-1].at:
            self._recent[-1].tokens += tokens
            self._recent[-1].completions += 1
        else:
            self._recent.append(_Moment(at, tokens, 1))
        self._sum += tokens
        self._count += 1
        while len(self._recent) > 2 and self._count > self._most:
            gone = self._recent.popleft()
            self._sum -= gone.tokens
            self._count -= gone.completions

    @property
    def per_second(self) -> float | None:
        """Output tokens per second; None where too few completions, or all at one time, leave it unknown."""
        if self._count < self._least:
            return None
        seconds = self._recent[-1].at - self._recent[0].at
        # The first only start the clock.
        tokens = self._sum - self._recent[0].tokens
        return tokens / seconds if seconds > 0 and tokens > 0 else None

    def drain(self, tokens: float) -> float | None:
        """Seconds that so many tokens take; None where the rate is not known."""
        rate = self.per_second
        return None if rate is None else tokens / rate
