"""What windows learn of their traffic, and of what peers tell: each completion once, predicted before it is learned."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rankd.adaptation import LearnedCompletion
from rankd.adaptation.sources import SourceHasher, feature_key
from rankd.monitor.window import Window
from rankd.monitor.window_jobs import WindowJobs
from rankd.settings import Settings
from rankd.types import Completion


class TrafficLearning:
    """Hands completions to what learns from them."""

    def __init__(self, settings: Settings, jobs: WindowJobs) -> None:
        """Take where the work goes that is due then."""
        self.sources = SourceHasher(feature_key(settings))
        self._jobs = jobs
        self.tell: Callable[[Window, LearnedCompletion], None] | None = None
        """Gets each own completion: for peers, who learn from it too."""
        self.tell_forgotten: Callable[[Window], None] | None = None
        """Gets each window of which all was forgotten: no peer is to learn it from here again."""

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
        return _predicted(window, completion.score, completion.features)

    def learn(self, window: Window, completion: Completion, learned: float, now: float) -> None:
        """Take an accepted final report.

        Args:
            window: its window.
            completion: the report.
            learned: as ``predicted``.
            now: by the daemon's clock.
        """
        if window.adaptation is None:
            return
        source = self.sources.source(completion.reporter)
        row = LearnedCompletion(
            completion.score,
            completion.features,
            completion.tokens,
            completion.complete,
            source,
            now,
            learned,
            min(completion.arrival, now),
        )
        self._take(window, row, now)
        if self.tell is not None:
            self.tell(window, row)

    def learn_from_peer(self, window: Window, completion: LearnedCompletion, now: float) -> bool:
        """Take a completion of a peer's; whether it was learned from.

        What was reported before the snapshot that a window came from may be in what that had learned: it is learned
        from again, and proves nothing.
        """
        if window.adaptation is None:
            return False
        fresh = completion.at > window.restored_at
        learned = _predicted(window, completion.score, completion.features) if fresh else math.nan
        return self._take(window, replace(completion, learned=learned), now)

    def forget(self, window: Window) -> None:
        """Forget all that was learned of a window's traffic."""
        if window.adaptation is not None:
            window.adaptation.forget()
        if self.tell_forgotten is not None:
            self.tell_forgotten(window)

    def _take(self, window: Window, completion: LearnedCompletion, now: float) -> bool:
        tenant = f"{completion.source:x}" if completion.source else ""
        if window.adaptation is None or not window.learned_shares.admit(tenant, now):
            return False
        window.adaptation.completed(completion)
        self._jobs.adapt(window)
        return True


def _predicted(window: Window, score: float, features: bytes) -> float:
    assert window.adaptation is not None
    (learned,) = window.adaptation.scores(np.array([score]), [features]).tolist()
    return learned if math.isfinite(learned) else math.nan
