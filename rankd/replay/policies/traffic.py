"""What the daemon would have learned of a trace's traffic while it serves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rankd_client.calibration import Calibration, fit_monotone

from rankd.adaptation import Adaptation, LearnedCompletion
from rankd.monitor.calibrations import MEANING
from rankd.quality import Cohort
from rankd.replay.trace.trace import Floats, Trace
from rankd.settings import AdaptSection

_LEAST = 50
"""Lengths with a learned score below which their map is what learned scores are meant to be, as in the daemon."""


@dataclass(frozen=True, slots=True)
class LearnedTraffic:
    """How learning went during a replay."""

    completions: int
    in_use_after: int | None
    """Completions after which learned scores first ordered; None: they never did."""
    switches: int


class ReplayedTraffic:
    """Learns from completions when they end; what its worker thread finds is there at once."""

    def __init__(self, trace: Trace, features: Sequence[bytes], scores: Floats, settings: AdaptSection) -> None:
        """Start without anything learned.

        Args:
            trace: true lengths, used only when requests end.
            features: what predictions carry, [n].
            scores: the ranker's own, [n].
            settings: the daemon's.
        """
        self._adaptation = Adaptation(
            completions=settings.completions,
            min_completions=settings.min_completions,
            forget_after=settings.forget_after,
        )
        self._features, self._scores = features, scores
        self._output: list[int] = trace.output.tolist()
        self._arrival: list[float] = trace.arrival.tolist()
        self._tenant = [0] * len(trace) if trace.tenant is None else (trace.tenant + 1).tolist()
        self._learned = np.full(len(trace), np.nan)
        self._completions = 0
        self._in_use_after: int | None = None
        self.calibration: Calibration = MEANING
        """From learned scores to lengths."""

    @property
    def in_use(self) -> bool:
        """Whether learned scores order."""
        return self._adaptation.in_use

    @property
    def result(self) -> LearnedTraffic:
        """How it went so far."""
        return LearnedTraffic(self._completions, self._in_use_after, self._adaptation.status.switches)

    def arrived(self, request: int) -> None:
        """Predict a new request."""
        if np.isfinite(self._scores[request]):
            here = slice(request, request + 1)
            self._learned[here] = self._adaptation.scores(self._scores[here], [self._features[request]])

    def learned(self, request: int) -> float:
        """A request's learned score as it was when it came; NaN where there is none."""
        return float(self._learned[request])

    def finished(self, request: int, now: float) -> bool:
        """Take a completion; whether other scores order from now on."""
        self._completions += 1
        score = float(self._scores[request])
        if not np.isfinite(score):
            return False
        tokens, learned = self._output[request], self.learned(request)
        row = score, self._features[request], tokens, True, self._tenant[request], now, learned
        self._adaptation.completed(LearnedCompletion(*row, self._arrival[request]))
        if (job := self._adaptation.job(now)) is None:
            return False
        changed = self._adaptation.take(job(), now)
        if self.in_use and self._in_use_after is None:
            self._in_use_after = self._completions
        return changed

    def refit(self, known: Cohort) -> None:
        """Learn the map from learned scores to lengths, of requests that ended."""
        if len(known.score) >= _LEAST:
            self.calibration = fit_monotone(known.score, known.tokens, known.complete)

    def expected(self, requests: Sequence[int], base: Floats) -> Floats:
        """Expected lengths where learned scores order; ``base`` where a request has none."""
        learned = self._learned[np.asarray(requests, np.intp)]
        there = np.isfinite(learned)
        out = base.copy()
        out[there] = self.calibration.expected(learned[there])
        return out
