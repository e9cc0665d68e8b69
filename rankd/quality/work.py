"""A cohort as requests are ordered: expected against realised work, rather than scores against lengths.

Work is a request's output tokens and ``w`` for each of its prompt tokens that is not cached
(``rankd_client/ordering/work.py``). The part of the prompt is known from the start, whoever waits: it counts in full,
below every horizon, and a request that waits is at least that much work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankd.quality.censoring.cohort_tau import effective_horizon, restricted
from rankd.quality.statistics.cohort import Cohort
from rankd.quality.statistics.interval import Interval
from rankd.quality.statistics.pair_sums import pair_sums
from rankd.quality.statistics.paired_comparison import bounded

Floats = NDArray[np.float64]

MOST_PROMPT_WORK = 2.0**40
"""Output tokens that a prompt counts for at most: integer sums over pairs stay exact."""


@dataclass(frozen=True, slots=True)
class WorkModel:
    """What is expected of requests when a cohort is looked at."""

    prompt_cost: float = 0.0
    """What an uncached prompt token counts for, in output tokens; 0 compares lengths alone."""
    expected: Callable[[Floats], Floats] | None = None
    """From scores to expected lengths in tokens, [n] both; None where nothing was learned, and prompts alone order."""


@dataclass(frozen=True, slots=True)
class WorkCohorts:
    """One cohort, by what it might have been ordered by."""

    expected: Cohort
    """By expected work."""
    prompts: Cohort
    """By prompts alone, as if every answer were of average length."""

    def without(self, source: int) -> WorkCohorts:
        """Both without what one source reported."""
        return WorkCohorts(self.expected.without(source), self.prompts.without(source))


def work_cohorts(cohort: Cohort, model: WorkModel) -> WorkCohorts | None:
    """A cohort of realised work; None where no prompt is known to cost anything, so that work is length.

    A prompt that was not counted, among others that were, is taken to be a middling one: it favours no order.
    """
    if cohort.prompt is None or not model.prompt_cost > 0:
        return None
    counted = cohort.prompt >= 0
    if not cohort.prompt[counted].any():
        return None
    prompt = np.where(counted, cohort.prompt, np.median(cohort.prompt[counted]))
    work = np.minimum(model.prompt_cost * prompt, MOST_PROMPT_WORK)
    lengths = model.expected(cohort.score) if model.expected is not None else np.zeros(len(work))
    of_work = replace(cohort, prompt_work=np.rint(work).astype(np.int64))
    return WorkCohorts(replace(of_work, score=lengths + work), replace(of_work, score=work))


def realised_gain(cohort: Cohort, horizon: int, z: float) -> Interval | None:
    """Share of the oracle's gain that a cohort's scores realise, over its requests whose length is known."""
    compared = restricted(cohort, horizon)
    known = compared.known
    count = int(np.count_nonzero(known))
    sums = pair_sums([cohort.score[known]], compared.length[known], known[known], np.zeros(count, dtype=np.int64))
    return bounded(sums.realised_gain(), np.arange(count), z, serial=False)


def tau_difference(cohorts: WorkCohorts, horizon: int, z: float) -> Interval | None:
    """Tau of expected work less tau of prompts alone, over the pairs whose order is known; None where undefined.

    Paired: what both have in common cancels out, so that the interval is several times narrower than theirs suggest.
    """
    cohort = cohorts.expected
    if len(cohort.score) < 2:
        return None
    compared = restricted(cohort, effective_horizon(cohort.tokens, cohort.complete, horizon))
    scores = [cohort.score, cohorts.prompts.score]
    sums = pair_sums(scores, compared.length, compared.known, np.zeros(len(cohort.score), dtype=np.int64))
    expected, prompts = sums.tau_b(0), sums.tau_b(1)
    if expected is None or prompts is None:
        return None
    # A difference of two taus is in -2 to 2, and an interval is made of what is in -1 to 1.
    halved = (expected[0] - prompts[0]) / 2.0, (expected[1] - prompts[1]) / 2.0
    half = bounded(halved, np.arange(len(cohort.score)), z)
    return None if half is None else Interval(2.0 * half.value, 2.0 * half.low, 2.0 * half.high)
