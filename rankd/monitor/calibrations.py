"""The maps from scores to lengths of one window: of the ranker's own scores, and of learned ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from rankd_client.calibration import Calibration, Knot, fit_monotone

from rankd.monitor.supported import supported_calibration
from rankd.monitor.window import Window
from rankd.quality import Cohort

_LEAST = 50
"""Lengths with a learned score below which their map is what learned scores are meant to be."""


@dataclass(frozen=True, slots=True)
class WindowCalibrations:
    """One map for each column of scores."""

    base: Calibration | None
    """None where nothing is known of lengths."""
    learned: Calibration | None
    """None where nothing is learned."""


def fit_window(window: Window, prior_weight: float, *, bounded: bool) -> Callable[[], WindowCalibrations]:
    """Copy what is known of lengths, and return what learns the maps from it, to be called in any thread.

    Args:
        window: whose.
        prior_weight: completions that the manifest's map counts for.
        bounded: whether one tenant's part in what is learned is bounded.
    """
    learns, prior = window.adaptation is not None, window.prior
    known = window.tracker.lengths()
    learned = window.tracker.lengths(learned=True) if learns else known
    if not bounded:
        known, learned = replace(known, source=None), replace(learned, source=None)
    before, learned_before = window.base_calibration, window.learned_calibration

    def fit() -> WindowCalibrations:
        base = before
        if len(known.score):
            base = supported_calibration(known, partial(_fit, prior=prior, weight=prior_weight), before)
        if not learns:
            return WindowCalibrations(base, None)
        if np.count_nonzero(learned.complete) >= _LEAST:
            return WindowCalibrations(base, supported_calibration(learned, _fit, learned_before))
        mean = MEANING.mean_expected if base is None else base.mean_expected
        return WindowCalibrations(base, learned_before or replace(MEANING, mean_expected=mean))

    return fit


def _fit(known: Cohort, prior: Calibration | None = None, weight: float = 0.0) -> Calibration:
    return fit_monotone(known.score, known.tokens, known.complete, prior=prior, prior_weight=weight)


def _meaning() -> Calibration:
    lengths = np.geomspace(4.0, 2.0**17, 32).tolist()
    return Calibration(tuple(Knot(math.log(n), n, n, _LONG * n) for n in lengths), 256.0)


_LONG = 2.5
"""Times the middling length that one in ten of its score exceeds."""
MEANING = _meaning()
"""What a learned score means: the logarithm of the length."""
