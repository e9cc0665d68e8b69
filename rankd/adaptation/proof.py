"""Whether what was learned orders better than the ranker alone, as predictions show that were made before learning.

Every completion is scored twice before it is learned from, by the ranker and by what was learned until then. On these
pairs the paired comparison tells the difference of the two tau, and this is looked at again and again, for as long as
the daemon serves. An interval that holds for one look would sooner or later say anything. So the bounds here are
chosen by simulation over whole streams (``benchmarks.adaptation_coverage``; docs/science/adaptation_proof.md).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.evidence import SAME_TIME, Evidence, Finding
from rankd.adaptation.plausible import MOST_COUNT, MOST_STEPS_BACK, ImplausibleError, count
from rankd.quality.statistics.interval import Interval

REMEMBERED = 8192
"""Completions that are remembered: of a queue that is longer nothing is known until it has passed."""
LEAST = 100
"""Compared completions below which nothing is decided."""
ENTER = 3.4
"""Standard deviations that the difference must lie above zero to come into use."""
ENTER_EARLY = 2.8
"""The same until ``EARLY`` completions were compared for the first time: there are few looks, and a few are spent."""
EARLY = 320
ENTER_RECENT = 4.2
"""The same for the latest ``RECENT`` alone: what the first, poor heads predicted must not hold back a good one."""
LEAVE = 1.0
"""Standard deviations that the recent difference must lie below zero to step back."""
SETTLED = 512
"""Compared completions from which on a difference below zero is enough to step back."""
LEAST_GAIN = 0.015
"""A difference of tau that is not worth a switch."""
LONGEST_STAY = 2048
"""Completions that a step back lasts at most, however often there was one."""
FORGIVEN = 8192
"""Completions in use after which earlier steps back do not count any more."""
_Z = 1.959964
_COLUMNS = ("base", "learned", "tokens", "complete", "arrival")
_MOST_SAVED = 2048


class AdaptationState(enum.Enum):
    """Where what was learned stands."""

    LEARNING = "learning"
    """Too few completions to say."""
    NOT_BETTER = "not_better"
    """It orders no better than the ranker alone, as far as can be said."""
    IN_USE = "in_use"
    """It orders better, and is used."""
    STEPPED_BACK = "stepped_back"
    """It was in use and did worse."""


class Proof:
    """What is known of two scores, and which is to be used. ``evaluate`` of its evidence runs in any thread."""

    def __init__(self, *, size: int = REMEMBERED, least: int = LEAST) -> None:
        """Start without any.

        Args:
            size: completions that are remembered.
            least: compared completions below which nothing is decided.
        """
        self._size, self._least = size, max(least, 2)
        self._base, self._learned = np.zeros(size), np.zeros(size)
        self._tokens, self._prompt = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._complete, self._source = np.zeros(size, bool), np.zeros(size, np.uint64)
        self._arrival = np.zeros(size)
        self._latest = 0.0
        """The latest arrival."""
        self._whole_after = -math.inf
        """The latest arrival of those that are remembered no more."""
        self.seen = 0
        """Completions added since the start."""
        self.state = AdaptationState.LEARNING
        self.since: float | None = None
        """When it was last taken into use or out of it, by the daemon's clock; None: never."""
        self.switches = 0
        self.finding: Finding | None = None
        """The latest."""
        self._after = -math.inf
        """Requests count that arrived later than this."""
        self._back_until = 0
        self._entered = 0
        self._steps_back = 0

    @property
    def in_use(self) -> bool:
        """Whether the learned score is to order."""
        return self.state is AdaptationState.IN_USE

    def add(
        self,
        base: float,
        learned: float,
        tokens: int,
        complete: bool,
        source: int = 0,
        prompt: int = 0,
        arrival: float = math.nan,
    ) -> None:
        """Take a completion that both predicted before it was learned from; one with a score that is none is left out.

        Args:
            base: the ranker's score.
            learned: the learned score as it was before.
            tokens: output tokens; a lower bound unless ``complete``.
            complete: whether the length is known.
            source: whose report it is, as in ``OutcomeReport``; 0 for nobody's in particular.
            prompt: any number that is equal for equal prompts; 0 where that is not known.
            arrival: when the request arrived, seconds by any one clock; NaN where that is not known: after all others.
        """
        if not (math.isfinite(base) and math.isfinite(learned)):
            return
        arrival = math.floor(arrival / SAME_TIME) if math.isfinite(arrival) else self._latest + 1.0
        at = self.seen % self._size
        if self.seen >= self._size:
            self._whole_after = max(self._whole_after, float(self._arrival[at]))
        self._base[at], self._learned[at], self._tokens[at] = base, learned, tokens
        self._complete[at], self._source[at], self._prompt[at] = complete, source, prompt
        self._arrival[at], self._latest = arrival, max(self._latest, arrival)
        self.seen += 1

    def evidence(self) -> Evidence:
        """A copy of all that is remembered."""
        rows = np.arange(max(self.seen - self._size, 0), self.seen) % self._size
        return Evidence(
            self._base[rows],
            self._learned[rows],
            self._tokens[rows],
            self._complete[rows],
            self._prompt[rows],
            self._source[rows],
            self._arrival[rows],
            self._after,
            self._whole_after,
            self.seen,
            self.switches,
        )

    def decide(self, finding: Finding, now: float) -> AdaptationState:
        """Take what evidence says, and say where the learned score stands now."""
        if finding.epoch != self.switches:
            return self.state
        self.finding = finding
        if self.in_use:
            if self._worse(finding):
                self._step_back(finding, now)
            elif finding.seen - self._entered >= FORGIVEN:
                self._steps_back = 0
        elif finding.compared >= self._least and finding.seen >= self._back_until and self._better(finding):
            self._switch(AdaptationState.IN_USE, now)
            self._entered = finding.seen
        elif self.state is not AdaptationState.STEPPED_BACK and finding.compared >= self._least:
            self.state = AdaptationState.NOT_BETTER
        return self.state

    def follow(self, in_use: bool, now: float) -> bool:
        """Be in use, or not, as the fleet is; whether that is a change."""
        if in_use is self.in_use:
            return False
        if in_use:
            self._switch(AdaptationState.IN_USE, now)
            self._entered = self.seen
        else:
            self._switch(AdaptationState.STEPPED_BACK, now)
        return True

    def save(self) -> dict[str, Any]:
        """What a restart is to know: plain values and columns of numbers. It tells nobody's prompts, ids or names."""
        evidence = self.evidence()
        dropped, arrival = evidence.arrival[:-_MOST_SAVED], evidence.arrival[-_MOST_SAVED:]
        after = max(self._after, self._whole_after, float(dropped.max()) if len(dropped) else -math.inf)
        counted = arrival > after
        columns = {name: getattr(evidence, name)[-_MOST_SAVED:][counted].astype(np.float64) for name in _COLUMNS}
        return {
            "state": self.state.value,
            "since": self.since,
            "after": _seconds(after) if math.isfinite(after) else None,
            "switches": self.switches,
            "steps_back": self._steps_back,
            "stay": max(0, self._back_until - self.seen),
            "entered": min(self.seen - self._entered, MOST_COUNT),
            **columns,
            "arrival": _seconds(columns["arrival"]),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave. Raises ValueError, KeyError or TypeError where it cannot have."""
        columns = [np.asarray(saved[name], dtype=np.float64) for name in _COLUMNS]
        if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
            raise ValueError("every column of the proof must have one entry per completion")
        if not all(np.isfinite(column).all() for column in columns):
            raise ValueError("every number of the proof must be finite")
        state, since, after = AdaptationState(saved["state"]), saved["since"], saved["after"]
        switches, stay, entered = (count(saved[name]) for name in ("switches", "stay", "entered"))
        steps, tokens = count(saved["steps_back"], MOST_STEPS_BACK), columns[_COLUMNS.index("tokens")]
        if len(tokens) and not 0 <= tokens.min() <= tokens.max() <= MOST_COUNT:
            raise ImplausibleError("tokens in range are expected")
        after = -math.inf if after is None else float(math.floor(after / SAME_TIME))
        for base, learned, tokens, complete, arrival in zip(*(c.tolist() for c in columns), strict=True):
            self.add(base, learned, int(tokens), bool(complete), arrival=arrival)
        self.state, self.since, self._after = state, None if since is None else float(since), after
        self._latest = max(self._latest, after)
        self.switches, self._steps_back = switches, steps
        self._back_until, self._entered = self.seen + stay, self.seen - entered

    # -- the rules -----------------------------------------------------------------------------------------------------

    def _better(self, finding: Finding) -> bool:
        found = finding.difference
        if found is None or found.value < LEAST_GAIN:
            return False
        if finding.recent is not None and finding.recent.value < 0:
            return False
        early = self.switches == 0 and finding.seen <= EARLY
        plainly = finding.recent is not None and deviations(finding.recent) > ENTER_RECENT
        return plainly or deviations(found) > (ENTER_EARLY if early else ENTER)

    def _worse(self, finding: Finding) -> bool:
        recent, whole = finding.recent, finding.difference
        if recent is not None and deviations(recent) < -LEAVE:
            return True
        return whole is not None and finding.compared >= SETTLED and whole.value < 0

    def _step_back(self, finding: Finding, now: float) -> None:
        self._steps_back = min(self._steps_back + 1, MOST_STEPS_BACK)
        self._back_until = finding.seen + min(self._least * 2 ** (self._steps_back - 1), LONGEST_STAY)
        self._after = self._latest  # what came before the change says nothing of what comes after it
        self._switch(AdaptationState.STEPPED_BACK, now)

    def _switch(self, state: AdaptationState, now: float) -> None:
        self.state, self.since = state, now
        self.switches += 1


@overload
def _seconds(steps: float) -> float: ...
@overload
def _seconds(steps: NDArray[np.float64]) -> NDArray[np.float64]: ...
def _seconds(steps: float | NDArray[np.float64]) -> float | NDArray[np.float64]:
    """The middle of a step of ``SAME_TIME``."""
    return (steps + 0.5) * SAME_TIME


def deviations(found: Interval) -> float:
    """How many of its standard deviations a difference of two tau lies above zero; 0 where it is exactly zero."""
    if found.value == 0.0:
        return 0.0
    centre, low = (math.atanh(min(max(end / 2.0, -1.0 + 1e-12), 1.0 - 1e-12)) for end in (found.value, found.low))
    return math.copysign(math.inf, centre) if centre <= low else _Z * centre / (centre - low)
