"""What the engine takes for a request, learned from completions.

While a request runs, it takes ``c_s`` seconds for each of its output tokens, and ``c_p`` for every uncached prompt
token that is read meanwhile, its own and those of requests that start beside it. So over its run

    ran = base + c_s * output tokens + c_p * (own prompt + prompts of those that started meanwhile)

A prompt token holds up all ``n`` that run, an output token only the place it takes: in the time of places, which is
what a queue waits for, a prompt token counts for ``w = c_p * n / c_s`` output tokens (docs/science/work.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankd_client.ordering.rules import FloatArray, IntArray
from rankd_client.ordering.served import ServedRequests

Bools = NDArray[np.bool_]

PRIOR_PROMPT_COST = 0.05
"""Before any completion told: little enough to do no harm where prompts cost nothing."""
_LEAST_ROWS = 50
_PASSES = 8
"""Each reads prompts at the pace that the one before found."""
_CLOSE = 0.003
"""Change of that pace after which there is no further one."""
_READ_FASTER = 0.95
"""Read at the very pace, prompts would seem to be read all the time, and to be all that takes time."""
_REWEIGHTINGS = 6
_HUBER = 1.345
"""Standard deviations from which on errors count less: 95 % efficient where they are normal."""
_MOST_RUN = 0.9
"""Quantile of run times after which next to all that started has ended."""
_BLOCKS = (8, 24)
"""Fewest and most that the interval is made from."""
_TINY = 1e-9
_MAD = 1.4826
"""Median absolute deviation to standard deviation, where errors are normal."""


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
        """What an uncached prompt token counts for, in output tokens."""
        if self.per_output_token.value <= 0:
            return PRIOR_PROMPT_COST
        return self.per_prompt_token.value * self.running / self.per_output_token.value


@dataclass(frozen=True, slots=True)
class CostFit:
    """Costs, and how well they explain the run times."""

    costs: ServiceCosts
    errors: FloatArray
    """Over the time that such a request runs, at least 0, [n]; NaN where they are not known."""


@dataclass(frozen=True, slots=True)
class _Rows:
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
    """Whether they did."""
    running: float
    """Requests that ran at a time."""

    def read(self, pace: float, expected: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Prompt tokens that were read during each run, one prompt after the other at a pace, [n]; and a stand-in.

        The stand-in for those that did not wait is what was read in the time that was expected of the run.
        """
        total = np.cumsum(self.prompts)
        before = total - self.prompts
        # Reading begins when the one before is read: the running maximum of what would be without those before.
        end = pace * total + np.maximum.accumulate(self.starts - pace * before)
        times = np.column_stack((end - pace * self.prompts, end)).ravel()
        waited = np.where(self.waited, self.prompts, 0.0)
        knots = [np.column_stack((np.cumsum(p) - p, np.cumsum(p))).ravel() for p in (waited, self.prompts - waited)]
        begun, ended = (
            np.array([np.interp(at, times, k) for k in knots]) for at in (self.start, self.start + self.ran)
        )
        came = np.interp(self.start + expected, times, knots[1])
        read = ended - begun
        return read.sum(axis=0), read[0] + came - begun[1]


@dataclass(frozen=True, slots=True)
class _Design:
    """What run times are explained by."""

    columns: FloatArray
    """[n, k]"""
    stand_in: FloatArray
    """What stands in for them where they depend on the run time themselves, [n, k]."""

    def normal_equations(
        self, ran: FloatArray, weights: FloatArray, rows: slice = slice(None)
    ) -> tuple[FloatArray, FloatArray]:
        """Left and right side, of some rows."""
        weighted = self.stand_in[rows] * weights[rows, None]
        return weighted.T @ self.columns[rows], weighted.T @ ran[rows]


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
        apart: of which nothing is learned, [n]: they count for what ran beside others, for as long as these run.
    """
    apart = np.zeros(len(served), dtype=np.bool_) if apart is None else apart
    rows = _rows_of(served, apart)
    if rows is None:
        return None
    design, weights, expected = _design(rows)
    found, spread, degrees = _jackknife(design, rows.ran, weights)
    reach = _t_quantile(degrees) * spread
    base, output, prompt = (
        CostEstimate(max(v, 0.0), max(v - r, 0.0), max(v + r, 0.0))
        for v, r in zip(found.tolist()[:3], reach.tolist()[:3], strict=True)
    )
    errors = np.full(len(served), np.nan)
    errors[rows.place] = np.abs(rows.ran - design.columns @ found) / expected
    return CostFit(ServiceCosts(prompt, output, base, rows.running, int(rows.learned.sum())), errors)


def _design(rows: _Rows) -> tuple[_Design, FloatArray, FloatArray]:
    """What run times are explained by, the weights of requests, and what of known sizes is expected to run, [n]."""
    ones = np.ones_like(rows.ran)
    known = np.column_stack((ones, rows.output, rows.prompt))
    alone = _Design(known, known)
    expected = np.maximum(known @ _robust(alone, rows, rows.ran)[0], _TINY)
    crowd = (rows.beside - rows.running) * rows.output
    pace = _TINY
    for _ in range(_PASSES):
        read, stand_in = rows.read(pace, expected)
        columns = np.column_stack((ones, rows.output, read, crowd))
        design = _Design(columns, np.column_stack((ones, rows.output, stand_in, crowd)))
        found, weights = _robust(design, rows, expected)
        before, pace = pace, max(_READ_FASTER * float(found[2]), _TINY)
        if abs(pace - before) <= _CLOSE * pace:
            break
    return design, weights, expected


def _rows_of(served: ServedRequests, apart: Bools) -> _Rows | None:
    known = ~np.isnan(served.prompt)
    typical = float(served.prompt[known].mean()) if known.any() else 0.0
    prompt = np.where(known, served.prompt, typical)
    usable = (served.ran > 0) & (served.output > 0) & (known | (not known.any()))
    learned = usable & ~apart
    if learned.sum() < _LEAST_ROWS:
        return None
    beside = replace(served, ran=np.where(apart, float(served.ran[learned].mean()), served.ran))
    learned &= _complete(beside, learned)
    if learned.sum() < _LEAST_ROWS // 2:
        return None
    start = served.arrival + served.waited
    order = np.argsort(start, kind="stable")
    mine = order[(learned | (usable & apart))[order]]
    area = _areas(beside)
    return _Rows(
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
        running=_running(beside),
    )


def _complete(served: ServedRequests, usable: Bools) -> Bools:
    """Of which requests all that ran beside them is known, but for little, [n].

    What still runs has not been reported: beside the latest, much of what ran is not known. Nor is what ended before
    the first.
    """
    start = served.arrival + served.waited
    end = start + served.ran
    late = end.max() - float(np.quantile(served.ran[usable], _MOST_RUN))
    early = start < end.min()
    complete = end <= late
    both: Bools = complete & ~early
    return both if (usable & both).sum() >= _LEAST_ROWS else complete


def _robust(design: _Design, rows: _Rows, expected: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Coefficients, none below 0, [k], and the weights of rows, [n]."""
    ran, learned = rows.ran, rows.learned
    scale = np.maximum(expected, np.quantile(expected[learned], 0.1))
    weights = learned / scale**2
    found = _non_negative(*design.normal_equations(ran, weights))
    least = _TINY * float(np.median(ran[learned]))
    for _ in range(_REWEIGHTINGS):
        error = np.abs(ran - design.columns @ found)
        if np.median(error[learned]) <= least:
            break
        scale = _scale(error, expected, learned)
        weights = learned * np.minimum(1, _HUBER * scale / np.maximum(error, least)) / scale**2
        found = _non_negative(*design.normal_equations(ran, weights))
    return found, weights


def _scale(error: FloatArray, expected: FloatArray, learned: Bools) -> FloatArray:
    """Standard deviations of errors, which grow with the run time from the least on, [n]."""
    low, high = np.quantile(expected[learned], (1 / 3, 2 / 3))
    short, long = learned & (expected <= low), learned & (expected >= high)
    from_, to = float(np.median(expected[short])), float(np.median(expected[long]))
    of_short, of_long = float(np.median(error[short])), float(np.median(error[long]))
    slope = (of_long - of_short) / (to - from_) if to > from_ else 0.0
    slope = min(max(slope, 0.0), of_long / to)
    least = max(of_short - slope * from_, 1e-3 * of_long)
    scale: FloatArray = np.maximum(_MAD * (least + slope * expected), _TINY)
    return scale


def _non_negative(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """The solution with the most negative entries set to 0, one by one, [k]."""
    found = np.zeros(len(right))
    left = list(range(len(right)))
    while left:
        part = np.linalg.lstsq(matrix[np.ix_(left, left)], right[left], rcond=None)[0]
        if part.min() >= 0:
            found[left] = part
            break
        del left[int(part.argmin())]
    return found


def _jackknife(design: _Design, ran: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray, int]:
    """Coefficients, their standard errors, and degrees of freedom."""
    blocks = int(np.clip(np.count_nonzero(weights) // 16, *_BLOCKS))
    edges = np.linspace(0, len(ran), blocks + 1).astype(int)
    parts = [design.normal_equations(ran, weights, slice(*edge)) for edge in itertools.pairwise(edges.tolist())]
    matrices, rights = (np.array(column) for column in zip(*parts, strict=True))
    matrix, right = matrices.sum(axis=0), rights.sum(axis=0)
    left_out = np.array([_non_negative(matrix - m, right - r) for m, r in parts])
    spread = np.sqrt((blocks - 1) / blocks * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    return _non_negative(matrix, right), spread, blocks - 1


def _t_quantile(degrees: int) -> float:
    """The 97.5th percentile of Student's t (Cornish and Fisher's expansion, within .5 % from 5 degrees on)."""
    z, v = 1.959964, degrees
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)


def _areas(served: ServedRequests) -> Callable[[FloatArray], FloatArray]:
    """Seconds that all ran until a time, together."""
    start = served.arrival + served.waited
    starts, ends = np.sort(start), np.sort(start + served.ran)
    sums_start, sums_end = np.append(0.0, np.cumsum(starts)), np.append(0.0, np.cumsum(ends))

    def until(times: FloatArray) -> FloatArray:
        begun, ended = np.searchsorted(starts, times), np.searchsorted(ends, times)
        return (begun * times - sums_start[begun]) - (ended * times - sums_end[ended])

    return until


def _running(served: ServedRequests) -> float:
    """How many ran at a time while others waited."""
    start = served.arrival + served.waited
    end = start + served.ran
    counted = served.ran > 0
    if (served.waited[counted] > 0).any():
        counted &= served.waited > 0
    # Who ran beside the first and the last of the window is not in it.
    inside = counted & (start >= end.min()) & (end <= start.max())
    if inside.sum() >= _LEAST_ROWS // 2:
        counted = inside
    if not counted.any():
        return 1.0
    area = _areas(served)
    total = (area(end[counted]) - area(start[counted])).sum()
    return max(1.0, float(total / served.ran[counted].sum()))
