"""What the engine takes for a request, learned from completions.

While a request runs, it takes ``c_s`` seconds for each of its output tokens, and ``c_p`` for every uncached prompt
token that is read meanwhile, its own and those of requests that start beside it. So over its run

    ran = base + c_s * output tokens + c_p * (own prompt + prompts of those that started meanwhile)

A prompt token holds up all ``n`` that run, an output token only the place it takes: in the time of places, which is
what a queue waits for, a prompt token counts for ``w = c_p * n / c_s`` output tokens (docs/science/work.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankd_client.ordering.robust_regression import TINY, Regression, jackknife, robust
from rankd_client.ordering.rules import FloatArray, IntArray
from rankd_client.ordering.served import ServedRequests

Bools = NDArray[np.bool_]

PRIOR_PROMPT_COST = 0.05
"""Before any completion told: little enough to do hardly any harm where prompts cost nothing (docs/science/work.md)."""
_PRIOR_ERROR = 0.1
"""Standard deviation of what it may be instead: from nothing to what a full batch makes it."""
_LEAST_ROWS = 50
_PASSES = 8
"""Each reads prompts at the pace that the one before found."""
_CLOSE = 0.003
"""Change of that pace after which there is no further one."""
_READ_FASTER = 0.95
"""Read at the very pace, prompts would seem to be read all the time, and to be all that takes time."""
_STRANGE = math.log(5)
"""A run that is so many times longer or shorter than usual is no evidence, where the usual do not differ by as much."""
_MOST_LATE = 3.0
"""Times that a run may be longer or shorter than expected."""
_SAME_CROWD = 0.01
"""Standard deviation of how many ran beside, over how many ran, up to which it says nothing."""
_MOST_RUN = 0.9
"""Quantile of run times after which next to all that started has ended."""


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """An estimate with its 95 % interval, seconds."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ServiceCosts:
    """What a served model's engine takes for a request."""

    per_prompt_token: CostEstimate
    per_output_token: CostEstimate
    per_request: CostEstimate
    running: float
    """Requests that ran at a time, at least 1."""
    completions: int
    """That this rests on."""

    @property
    def prompt_cost(self) -> float:
        """What an uncached prompt token counts for, in output tokens; where little is known, nearer to what is common.

        It is the mean of ``c_p * n / c_s`` and the prior, weighted by how certain they are.
        """
        prompt, output = self.per_prompt_token, self.per_output_token
        if output.value <= 0:
            return PRIOR_PROMPT_COST
        found = prompt.value * self.running / output.value
        reach = math.hypot(
            (prompt.high - prompt.low) * self.running / output.value, found * (output.high - output.low) / output.value
        )
        doubt = reach / 4 / _PRIOR_ERROR
        doubt *= doubt
        if not math.isfinite(found + doubt):
            return PRIOR_PROMPT_COST
        return (found + doubt * PRIOR_PROMPT_COST) / (1 + doubt)


@dataclass(frozen=True, slots=True)
class CostFit:
    """Costs, and how well they explain the run times."""

    costs: ServiceCosts
    errors: FloatArray
    """Over the time that such a request runs, at least 0, [n]; NaN where they are not known."""


@dataclass(frozen=True, slots=True)
class _CostRows:
    """Requests of which everything is known, in the order in which they started, and what ran beside them."""

    place: IntArray
    """Among all requests."""
    learned: Bools
    """Whether costs are learned from them."""
    start: FloatArray
    ran: FloatArray
    output: FloatArray
    prompt: FloatArray
    beside: FloatArray
    """How many ran at a time over each run."""
    starts: FloatArray
    """Of all requests, sorted."""
    prompts: FloatArray
    """Of these, in that order."""
    waited: Bools
    """Whether these did."""
    own_waited: FloatArray
    """1 where those of which everything is known did, else 0."""
    running: float
    """Requests that ran at a time."""

    def read(self, pace: float, expected: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Prompt tokens that were read during each run, one prompt after the other at a pace, [n]; and a stand-in.

        The stand-in is what would have been read at the same rate in the time that is expected of such a run: for
        those that waited by the progress of those beside it, for those that did not by the clock.
        """
        total = np.cumsum(self.prompts)
        before = total - self.prompts
        # Reading begins when the one before is read: the running maximum of what would be without those before.
        end = pace * total + np.maximum.accumulate(self.starts - pace * before)
        times = np.column_stack((end - pace * self.prompts, end)).ravel()
        waited = np.cumsum(np.where(self.waited, self.prompts, 0.0))
        knots = [np.column_stack((np.append(0.0, sums[:-1]), sums)).ravel() for sums in (waited, total)]
        queued, read = (
            np.interp(self.start + self.ran, times, tokens) - np.interp(self.start, times, tokens) for tokens in knots
        )
        came = read - queued
        own = self.own_waited * self.prompt, (1 - self.own_waited) * self.prompt
        late = np.clip(expected / self.ran, 1 / _MOST_LATE, _MOST_LATE)
        by_progress = own[0] + (queued - own[0]) * late / self.progress(expected)
        by_clock = own[1] + (came - own[1]) * late
        return read, by_progress + by_clock

    def progress(self, expected: FloatArray) -> FloatArray:
        """How much faster than expected those ran that ran beside each, mean over its run, [n]; 1 where nobody did."""
        own = np.where(self.learned, expected / self.ran, 0.0)
        times = np.concatenate((self.start, self.start + self.ran))
        order = np.argsort(times, kind="stable")
        times, ones = times[order], self.learned.astype(np.float64)
        paces, numbers = (np.cumsum(np.concatenate((c, -c))[order]) for c in (own, ones))
        beside = np.maximum(numbers - 1, 1)
        lasted = np.diff(times, append=times[-1])
        several = numbers > 1.5
        sums = [np.where(several, v / beside, v1) * lasted for v, v1 in ((paces, 1.0), (np.ones_like(paces), 0.0))]
        seconds, shares = (
            np.interp(self.start + self.ran, times, total) - np.interp(self.start, times, total)
            for total in (np.concatenate(([0.0], np.cumsum(s)[:-1])) for s in sums)
        )
        pace: FloatArray = (seconds - own * shares) / self.ran
        return np.clip(pace, 0.1, 10.0)


def fit_costs(served: ServedRequests) -> ServiceCosts | None:
    """Learn the costs; None where too few completions tell of prompts and times.

    Weighted least squares of run times, robust by Huber's weights, beside what the docstring of this module has with a
    term for crowds: tokens take longer while more run. A request that waited starts when another has all its tokens,
    one that did not starts by the clock: of these the more start, the longer a run takes, which would be taken for its
    cause. So those that start in the time that is expected of such a run stand in for them (instrumental variables).
    The intervals are a jackknife's over blocks of requests that started after each
    other, as errors of neighbours are alike.

    Args:
        served: completions; those without output or prompt tokens count for what ran beside others only. Where no
            prompt is known, prompts cost nothing.
    """
    found = explained(served)
    return None if found is None else found.costs


def explained(served: ServedRequests, apart: Bools | None = None) -> CostFit | None:
    """What ``fit_costs`` finds, and how well it explains the run times.

    Args:
        served: completions.
        apart: of which nothing is learned, [n]: only that they started, with such prompts.
    """
    apart = np.zeros(len(served), dtype=np.bool_) if apart is None else apart
    rows = _rows_of(served, apart)
    if rows is None:
        return None
    with np.errstate(all="ignore"):
        explaining = _design(rows)
        if explaining is None:
            return None
        design, weights, expected = explaining
        found, reach = jackknife(design, rows.ran, weights)
    if not np.isfinite((found, reach, found + reach)).all():
        return None  # no engine takes times that are so far apart
    base, output, prompt = (
        CostEstimate(max(v, 0.0), max(v - r, 0.0), max(v + r, 0.0))
        for v, r in zip(found.tolist()[:3], reach.tolist()[:3], strict=True)
    )
    if not rows.prompts.any():
        # Nothing tells what they cost: at most all of a run.
        prompt = CostEstimate(0.0, 0.0, float(np.median(rows.ran)))
    errors = np.full(len(served), np.nan)
    errors[rows.place] = np.abs(rows.ran - design.columns @ found) / expected
    return CostFit(ServiceCosts(prompt, output, base, rows.running, int(rows.learned.sum())), errors)


def _design(rows: _CostRows) -> tuple[Regression, FloatArray, FloatArray] | None:
    """What run times are explained by, the weights of requests, and what of known sizes is expected to run, [n].

    None where numbers are so large that nothing can be expected.
    """
    ones = np.ones_like(rows.ran)
    known = np.column_stack((ones, rows.output, rows.prompt))
    alone = Regression(known, known)
    expected = float(np.median(rows.ran[rows.learned] / rows.output[rows.learned])) * rows.output
    expected = np.maximum(known @ robust(alone, rows.ran, expected, rows.learned)[0], TINY)
    if not np.isfinite(expected).all():
        return None
    strange = np.abs(np.log(rows.ran / expected) - np.median(np.log(rows.ran / expected)[rows.learned]))
    # Over so long a run so much would have been read that it would decide.
    rows = replace(rows, learned=rows.learned & (strange <= _STRANGE + 9 * np.median(strange[rows.learned])))
    crowd = (rows.beside - rows.running) * rows.output
    if np.std(rows.beside) <= _SAME_CROWD * rows.running:
        crowd = np.zeros_like(crowd)
    # Nobody ends before his own prompt is read.
    pace, slowest = TINY, float(np.quantile((rows.ran / np.maximum(rows.prompt, 1.0))[rows.learned], 0.01))
    for _ in range(_PASSES):
        read, stand_in = rows.read(pace, expected)
        columns = np.column_stack((ones, rows.output, read, crowd))
        design = Regression(columns, np.column_stack((ones, rows.output, stand_in, crowd)))
        found, weights = robust(design, rows.ran, expected, rows.learned)
        before, pace = pace, max(_READ_FASTER * min(float(found[2]), slowest), TINY)
        if abs(pace - before) <= _CLOSE * pace:
            break
    return design, weights, expected


def _rows_of(served: ServedRequests, apart: Bools) -> _CostRows | None:
    known = ~np.isnan(served.prompt)
    typical = float(served.prompt[known].mean()) if known.any() else 0.0
    prompt = np.where(known, served.prompt, typical)
    usable = (served.ran > 0) & (served.output > 0) & (known | (not known.any()))
    learned = usable & ~apart
    if learned.sum() < _LEAST_ROWS:
        return None
    learned &= _complete(served, learned)
    if learned.sum() < _LEAST_ROWS // 2:
        return None
    start = served.arrival + served.waited
    order = np.argsort(start, kind="stable")
    mine = order[(learned | (usable & apart))[order]]
    area = _areas(served, ~apart)
    return _CostRows(
        place=mine,
        learned=learned[mine],
        start=start[mine],
        ran=served.ran[mine],
        output=served.output[mine],
        prompt=prompt[mine],
        beside=(area((start + served.ran)[mine]) - area(start[mine])) / served.ran[mine],
        starts=start[order],
        prompts=prompt[order],
        waited=served.waited[order] > 0,
        own_waited=(served.waited[mine] > 0).astype(np.float64),
        running=_running(served, ~apart),
    )


def _complete(served: ServedRequests, usable: Bools) -> Bools:
    """Of which requests all that ran beside them is known, but for little, [n].

    What still runs has not been reported: beside the latest, much of what ran is not known. Nor is what ended before
    the first.
    """
    start = served.arrival + served.waited
    end = start + served.ran
    late = end[usable].max() - float(np.quantile(served.ran[usable], _MOST_RUN))
    # By when each would be expected to end: by its end, of the last only those that were fast would stay.
    typical = float(np.median(served.ran[usable] / served.output[usable]))
    complete = start + typical * served.output <= late
    early = start < end[usable].min()
    both: Bools = complete & ~early
    return both if (usable & both).sum() >= _LEAST_ROWS else complete


def _areas(served: ServedRequests, believed: Bools) -> Callable[[FloatArray], FloatArray]:
    """Seconds that all ran until a time, together, where the rest ran when those that are believed did."""
    start = (served.arrival + served.waited)[believed]
    starts, ends = np.sort(start), np.sort(start + served.ran[believed])
    share = len(start) / len(served)
    sums_start, sums_end = np.append(0.0, np.cumsum(starts)), np.append(0.0, np.cumsum(ends))

    def until(times: FloatArray) -> FloatArray:
        begun, ended = np.searchsorted(starts, times), np.searchsorted(ends, times)
        area: FloatArray = (begun * times - sums_start[begun]) - (ended * times - sums_end[ended])
        return area / share

    return until


def _running(served: ServedRequests, believed: Bools) -> float:
    """How many ran at a time while others waited."""
    start = served.arrival + served.waited
    end = start + served.ran
    counted = believed & (served.ran > 0)
    if (served.waited[counted] > 0).any():
        counted &= served.waited > 0
    # Who ran beside the first and the last of the window is not in it.
    inside = counted & (start >= end[counted].min()) & (end <= start[counted].max())
    if inside.sum() >= _LEAST_ROWS // 2:
        counted = inside
    area = _areas(served, believed)
    total = (area(end[counted]) - area(start[counted])).sum()
    return max(1.0, float(total / served.ran[counted].sum()))
