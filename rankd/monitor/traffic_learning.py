"""What windows learn of their traffic: each completion once, and predicted before it is learned from."""

from __future__ import annotations

import math

import numpy as np

from rankd.adaptation import LearnedCompletion
from rankd.monitor.window import Window
from rankd.monitor.window_jobs import WindowJobs
from rankd.types import Completion


class TrafficLearning:
    """Hands completions to what learns from them."""

    def __init__(self, jobs: WindowJobs) -> None:
        """Take where the work goes that is due then."""
        self._jobs = jobs

    def predicted(self, window: Window, completion: Completion, *, known: bool, key: int) -> float:
        """The learned score of a request as it was at its first report; NaN where there is none.

        Args:
            window: its window.
            completion: what is reported of it now.
            known: whether anything was reported of it before.
            key: by which the window's tracker knows it.
        """
        if window.adaptation is None:
            return math.nan
        if known:
            return window.tracker.learned(key)
        (learned,) = window.adaptation.scores(np.array([completion.score]), [completion.features]).tolist()
        return learned if math.isfinite(learned) else math.nan

    def learn(self, window: Window, completion: Completion, learned: float, source: int, now: float) -> None:
        """Take an accepted final report.

        Args:
            window: its window.
            completion: the report.
            learned: as ``predicted``.
            source: a hash of the tenant that reported it; 0 for none.
            now: by the daemon's clock.
        """
        if window.adaptation is None:
            return
        row = LearnedCompletion(
            completion.score, completion.features, completion.tokens, completion.complete, source, now, learned
        )
        window.adaptation.completed(row)
        self._jobs.adapt(window)
