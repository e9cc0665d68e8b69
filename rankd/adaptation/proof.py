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
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.paired_comparison import PairedSample, compare

SIZE = 1024
"""Completions that are remembered: a comparison takes some 30 ms where lengths are censored, and a few where not."""
LEAST = 100
"""Compared completions below which nothing is decided."""
RECENT = 144
"""Completions that a step back is decided on: two looks fit into 200 completions after a change."""
ENTER = 3.2
"""Standard deviations that the difference must lie above zero to come into use."""
ENTER_EARLY = 2.7
"""The same until ``EARLY`` completions were compared for the first time: there are few looks, and a few are spent."""
EARLY = 320
LEAVE = 1.0
"""Standard deviations that the recent difference must lie below zero to step back."""
SETTLED = 512
"""Compared completions from which on a difference below zero is enough to step back."""
LEAST_GAIN = 0.01
"""A difference of tau that is not worth a switch."""
LONGEST_STAY = 2048
"""Completions that a step back lasts at most, however often there was one."""
FORGIVEN = 8192
"""Completions in use after which earlier steps back do not count any more."""
_Z = 1.959964
_COLUMNS = ("base", "learned", "tokens", "complete")


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


@dataclass(frozen=True, slots=True)
class Finding:
    """What evidence says. Intervals are of 95 % for a single look."""

    seen: int
    """Completions that had been added when the evidence was taken."""
    compared: int
    base: Interval | None
    learned: Interval | None
    difference: Interval | None
    """Learned less base, of all that count; None where undefined."""
    recent: Interval | None
    """The same of the last ``RECENT``; None while they are fewer."""
    epoch: int = 0
    """Switches until then: a finding from before a switch decides nothing."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A copy of what was predicted and what came, oldest first, to be evaluated in any thread: columns of [n]."""

    base: NDArray[np.float64]
    learned: NDArray[np.float64]
    tokens: NDArray[np.int64]
    complete: NDArray[np.bool_]
    prompt: NDArray[np.int64]
    """Equal where prompts are equal, 0 where that is not known."""
    source: NDArray[np.uint64]
    """Whose report it is; 0 for nobody's in particular."""
    first: int
    """The first row that counts of those that are remembered."""
    seen: int
    epoch: int = 0

    def evaluate(self, left_out: frozenset[int] = frozenset()) -> Finding:
        """Compare both: a few milliseconds, and 10 to 40 where some lengths are lower bounds.

        Args:
            left_out: sources whose reports do not count.
        """
        rows = np.arange(self.first, len(self.base))
        if left_out:
            rows = rows[~np.isin(self.source[rows], np.array(sorted(left_out), np.uint64))]
        whole = compare(self.sample(rows))
        recent = compare(self.sample(rows[-RECENT:])).tau_difference if len(rows) >= RECENT else None
        figures = whole.incumbent.tau, whole.candidate.tau, whole.tau_difference
        return Finding(self.seen, len(rows), *figures, recent, self.epoch)

    def sample(self, rows: NDArray[np.int64]) -> PairedSample:
        """Some rows as they are compared: the learned score is the candidate."""
        tokens, prompt = self.tokens[rows], self.prompt[rows]
        group = np.where(prompt == 0, -1 - np.arange(len(rows)), np.abs(prompt))
        strata = np.zeros(len(rows), np.int64)
        return PairedSample(self.learned[rows], self.base[rows], tokens, self.complete[rows], strata, group)


class Proof:
    """What is known of two scores, and which is to be used. ``evaluate`` of its evidence runs in any thread."""

    def __init__(self, *, size: int = SIZE, least: int = LEAST) -> None:
        """Start without any.

        Args:
            size: completions that are remembered.
            least: compared completions below which nothing is decided.
        """
        self._size, self._least = size, max(least, 2)
        self._base, self._learned = np.zeros(size), np.zeros(size)
        self._tokens, self._prompt = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._complete, self._source = np.zeros(size, bool), np.zeros(size, np.uint64)
        self.seen = 0
        """Completions added since the start."""
        self.state = AdaptationState.LEARNING
        self.since: float | None = None
        """When it was last taken into use or out of it, by the daemon's clock; None: never."""
        self.switches = 0
        self.finding: Finding | None = None
        """The latest."""
        self._from = 0
        """The first completion that counts."""
        self._back_until = 0
        self._entered = 0
        self._steps_back = 0

    @property
    def in_use(self) -> bool:
        """Whether the learned score is to order."""
        return self.state is AdaptationState.IN_USE

    def add(self, base: float, learned: float, tokens: int, complete: bool, source: int = 0, prompt: int = 0) -> None:
        """Take a completion that both predicted before it was learned from; one with a score that is none is left out.

        Args:
            base: the ranker's score.
            learned: the learned score as it was before.
            tokens: output tokens; a lower bound unless ``complete``.
            complete: whether the length is known.
            source: whose report it is, as in ``OutcomeReport``; 0 for nobody's in particular.
            prompt: any number that is equal for equal prompts; 0 where that is not known.
        """
        if not (math.isfinite(base) and math.isfinite(learned)):
            return
        at = self.seen % self._size
        self._base[at], self._learned[at], self._tokens[at] = base, learned, tokens
        self._complete[at], self._source[at], self._prompt[at] = complete, source, prompt
        self.seen += 1

    def evidence(self) -> Evidence:
        """A copy of all that is remembered."""
        oldest = max(self.seen - self._size, 0)
        rows = np.arange(oldest, self.seen) % self._size
        return Evidence(
            self._base[rows],
            self._learned[rows],
            self._tokens[rows],
            self._complete[rows],
            self._prompt[rows],
            self._source[rows],
            max(self._from - oldest, 0),
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
        return {
            "state": self.state.value,
            "since": self.since,
            "switches": self.switches,
            "steps_back": self._steps_back,
            "stay": max(0, self._back_until - self.seen),
            "entered": self.seen - self._entered,
            **{name: getattr(evidence, name)[evidence.first :].astype(np.float64) for name in _COLUMNS},
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what ``save`` gave. Raises ValueError, KeyError or TypeError where it cannot have."""
        columns = [np.asarray(saved[name], dtype=np.float64) for name in _COLUMNS]
        if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
            raise ValueError("every column of the proof must have one entry per completion")
        if not all(np.isfinite(column).all() for column in columns):
            raise ValueError("every number of the proof must be finite")
        state, since = AdaptationState(saved["state"]), saved["since"]
        switches, steps, stay, entered = (int(saved[n]) for n in ("switches", "steps_back", "stay", "entered"))
        for base, learned, tokens, complete in zip(*(c.tolist() for c in columns), strict=True):
            self.add(base, learned, int(tokens), bool(complete))
        self.state, self.since = state, None if since is None else float(since)
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
        return deviations(found) > (ENTER_EARLY if early else ENTER)

    def _worse(self, finding: Finding) -> bool:
        recent, whole = finding.recent, finding.difference
        if recent is not None and deviations(recent) < -LEAVE:
            return True
        return whole is not None and finding.compared >= SETTLED and whole.value < 0

    def _step_back(self, finding: Finding, now: float) -> None:
        self._steps_back += 1
        self._back_until = finding.seen + min(self._least * 2 ** (self._steps_back - 1), LONGEST_STAY)
        self._from = self.seen  # what came before the change says nothing of what comes after it
        self._switch(AdaptationState.STEPPED_BACK, now)

    def _switch(self, state: AdaptationState, now: float) -> None:
        self.state, self.since = state, now
        self.switches += 1


def deviations(found: Interval) -> float:
    """How many of its standard deviations a difference of two tau lies above zero; 0 where it is exactly zero."""
    if found.value == 0.0:
        return 0.0
    centre, low = (math.atanh(min(max(end / 2.0, -1.0 + 1e-12), 1.0 - 1e-12)) for end in (found.value, found.low))
    return math.copysign(math.inf, centre) if centre <= low else _Z * centre / (centre - low)
