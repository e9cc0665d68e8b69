"""What windows learn of their traffic: from own reports, and from what peers tell."""

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
    """Hands completions to what learns from them, each once, predicted before."""

    def __init__(self, settings: Settings, jobs: WindowJobs) -> None:
        """Take where the work goes that is due then."""
        self.sources = SourceHasher(feature_key(settings))
        self._jobs = jobs
        self.tell: Callable[[Window, LearnedCompletion], None] | None = None
        """Gets each own completion that is learned from: for peers."""

    def learn(self, window: Window, completion: Completion, now: float) -> None:
        """Take an accepted final report."""
        if window.adaptation is None:
            return
        learned = LearnedCompletion(
            score=completion.score,
            features=completion.features,
            tokens=completion.tokens,
            complete=completion.complete,
            source=self.sources.source(completion.reporter),
            at=now,
        )
        self._take(window, learned, now, judge=True)
        if self.tell is not None:
            self.tell(window, learned)

    def learn_from_peer(self, window: Window, completion: LearnedCompletion, now: float) -> bool:
        """Take a completion of a peer's; whether it was learned from.

        What was reported before the snapshot that a window came from may be in what that had learned: it is learned
        from, and proves nothing.
        """
        return self._take(window, completion, now, judge=completion.at > window.restored_at)

    def _take(self, window: Window, completion: LearnedCompletion, now: float, *, judge: bool) -> bool:
        adaptation = window.adaptation
        source = f"{completion.source:x}" if completion.source else ""
        if adaptation is None or not window.learned_shares.admit(source, now):
            return False
        learned = math.nan
        if judge:
            learned = float(adaptation.scores(np.array([completion.score]), [completion.features])[0])
        adaptation.completed(replace(completion, learned=learned))
        self._jobs.adapt(window)
        return True
