"""What one served model's traffic teaches, and whether it is to be ordered by it."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.features import MOST_DENSE, Features, unpack
from rankd.quality.serialise import Saved, moment, whole
from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.paired_comparison import PairedSample, compare

Floats = NDArray[np.float64]


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
class LearnedCompletion:
    """A completion as it is learned from, here or from a peer. It names no request."""

    score: float
    """The ranker's own score."""
    features: bytes
    tokens: int
    """A lower bound unless ``complete``."""
    complete: bool
    source: int = 0
    """Keyed hash of the tenant that reported it; 0 for none."""
    at: float = 0.0
    """When it was reported, seconds by the daemon's clock."""
    learned: float = float("nan")
    """The learned score as it was before it was reported; NaN where there was none."""


@dataclass(frozen=True, slots=True)
class AdaptationStatus:
    """What there is to show."""

    state: AdaptationState
    completions: int
    """Learned from, as far as they are not forgotten."""
    compared: int
    """Recent ones behind the figures below."""
    base_tau: Interval | None
    learned_tau: Interval | None
    difference: Interval | None
    since: float | None
    """By the daemon's clock; None: since the start."""
    switches: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Update:
    """What the worker thread found."""

    weights: Floats
    mean: Floats
    status: tuple[Interval | None, Interval | None, Interval | None]
    compared: int


class Adaptation:
    """Learns, proves itself, and says by what to order. ``job``'s work runs in any thread, all else in one.

    THE FRAME: a plain ridge on dense features stands here until the learner replaces it. The interface is what counts.
    """

    def __init__(self, *, completions: int = 4096, min_completions: int = 100, forget_after: float = 604800.0) -> None:
        """Start without anything learned; the settings ``adapt.*``."""
        self._rows: deque[tuple[LearnedCompletion, Features | None]] = deque(maxlen=completions)
        self._least = min_completions
        self._forget_after = forget_after
        self._weights: Floats | None = None
        self._mean: Floats | None = None
        self._taken = self._solved_at = 0
        self._status: tuple[Interval | None, Interval | None, Interval | None] = (None, None, None)
        self._compared = 0
        self.state = AdaptationState.LEARNING
        self._since: float | None = None
        self._switches = 0
        self._followed: bool | None = None

    # -- on the loop ---------------------------------------------------------------------------------------------------

    @property
    def in_use(self) -> bool:
        """Whether the learned score orders."""
        return self.state is AdaptationState.IN_USE

    def scores(self, base: Floats, features: Sequence[bytes]) -> Floats:
        """Learned scores, the expected logarithm of lengths, [n]; NaN where nothing is known, or features cannot be."""
        if self._weights is None:
            return np.full(len(base), np.nan)
        return np.array([self._score(s, unpack(f)) for s, f in zip(base.tolist(), features, strict=True)])

    def completed(self, completion: LearnedCompletion) -> None:
        """Take one final report, once."""
        self._rows.append((completion, unpack(completion.features)))
        self._taken += 1

    def job(self, now: float) -> Callable[[], Update] | None:
        """Work for the worker thread, where some is due; None otherwise."""
        del now
        if self._taken < self._least or self._taken - self._solved_at < 64:
            return None
        self._solved_at = self._taken
        rows = list(self._rows)
        return lambda: _solve(rows)

    def take(self, update: Update, now: float) -> bool:
        """Take what the work found; whether ``in_use`` changed."""
        self._weights, self._mean = update.weights, update.mean
        self._status, self._compared = update.status, update.compared
        difference, before = update.status[2], self.in_use
        if self._followed is not None:
            return self.follow(self._followed, now)
        if difference is not None:
            if difference.low > 0:
                self.state = AdaptationState.IN_USE
            elif difference.high < 0 and before:
                self.state = AdaptationState.STEPPED_BACK
            elif not before:
                self.state = AdaptationState.NOT_BETTER
        if self.in_use is not before:
            self._since, self._switches = now, self._switches + 1
        return self.in_use is not before

    def follow(self, in_use: bool | None, now: float) -> bool:
        """Stand where the fleet's leader does; whether ``in_use`` changed. Say it again at every round.

        Args:
            in_use: what the leader decided; None to decide by the own proof, from where it stands now. Before anything
                was learned here it cannot be in use.
            now: seconds by the daemon's clock.
        """
        self._followed = in_use
        if in_use is None or (in_use and self._weights is None) or in_use is self.in_use:
            return False
        self.state = AdaptationState.IN_USE if in_use else AdaptationState.STEPPED_BACK
        self._since, self._switches = now, self._switches + 1
        return True

    @property
    def status(self) -> AdaptationStatus:
        """What there is to show."""
        return AdaptationStatus(
            self.state, len(self._rows), self._compared, *self._status, self._since, self._switches, 0
        )

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def save(self, ahead: float = 0.0) -> Saved:
        """What was learned, never what from; the clock of saved times is ``ahead`` seconds ahead of this one's."""
        columns = {} if self._weights is None or self._mean is None else {"weights": self._weights, "mean": self._mean}
        since = None if self._since is None else self._since + ahead
        return Saved(columns, {"state": self.state.value, "since": since, "switches": self._switches})

    def restore(self, saved: Saved, now: float, ahead: float = 0.0) -> None:
        """Go on where another one was saved; this one must have learned nothing yet.

        Raises:
            ValueError: what was saved cannot be.
            KeyError: something is missing.
        """
        state, since = AdaptationState(saved.scalars["state"]), saved.scalars["since"]
        self._switches = whole(saved.scalars["switches"], 2**53)
        self._since = None if since is None else min(moment(since) - ahead, now)
        if "weights" in saved.columns:
            weights, mean = saved.columns["weights"], saved.columns["mean"]
            for column in (weights, mean):
                if column.dtype != np.float64 or column.ndim != 1 or not np.isfinite(column).all():
                    raise ValueError("weights: finite numbers are expected")
            if len(weights) != len(mean) + 2 or len(mean) > MOST_DENSE:
                raise ValueError("weights: another number is expected")
            self._weights, self._mean, self.state = weights, mean, state

    def _score(self, base: float, features: Features | None) -> float:
        if features is None or self._weights is None or self._mean is None:
            return float("nan")
        return float(self._weights @ _columns(base, features, len(self._mean)) + 0.0)


def _columns(base: float, features: Features, dimensions: int) -> Floats:
    dense = features.dense.astype(np.float64) * features.scale
    return np.concatenate([[1.0, base], dense if len(dense) == dimensions else np.zeros(dimensions)])


def _solve(rows: list[tuple[LearnedCompletion, Features | None]]) -> Update:
    dimensions = max((len(f.dense) for _, f in rows if f is not None), default=0)
    used = [(c, f) for c, f in rows if f is not None]
    matrix = np.array([_columns(c.score, f, dimensions) for c, f in used])
    target = np.log(np.array([c.tokens for c, _ in used]) + 4.0)
    penalty = np.full(matrix.shape[1], 10.0)
    penalty[:2] = 1e-6
    weights = np.linalg.solve(matrix.T @ matrix + np.diag(penalty), matrix.T @ target)
    judged = [c for c, _ in used if np.isfinite(c.learned)][-1024:]
    status: tuple[Interval | None, Interval | None, Interval | None] = (None, None, None)
    if len(judged) >= 100:
        found = compare(
            PairedSample(
                np.array([c.learned for c in judged]),
                np.array([c.score for c in judged]),
                np.array([c.tokens for c in judged]),
                np.array([c.complete for c in judged]),
                np.zeros(len(judged), np.int64),
                np.arange(len(judged)),
            )
        )
        status = (found.incumbent.tau, found.candidate.tau, found.tau_difference)
    return Update(weights, np.zeros(dimensions), status, len(judged))
