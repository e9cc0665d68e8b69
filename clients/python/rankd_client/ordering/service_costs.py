"""What the engine takes for a request, learned from completions.

While a request runs, it takes ``c_s`` seconds for each of its output tokens, and ``c_p`` for every uncached prompt
token that is read meanwhile, its own and those of requests that start beside it. So over its run

    ran = base + c_s * output tokens + c_p * (own prompt + prompts of those that started meanwhile)

A prompt token holds up all ``n`` that run, an output token only the place it takes: in the time of places, which is
what a queue waits for, a prompt token counts for ``w = c_p * n / c_s`` output tokens (docs/science/work.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankd_client.ordering.rules import FloatArray
from rankd_client.ordering.served import ServedRequests

PRIOR_PROMPT_COST = 0.05
"""Before any completion told: little enough to do no harm where prompts cost nothing."""
_LEAST_ROWS = 50
_PASSES = 3
"""Each reads prompts at the pace that the one before found."""
_REWEIGHTINGS = 8
_CUT = 4.685
"""Of Tukey's biweight, in standard deviations: 95 % efficient where errors are normal."""
_BLOCKS = (8, 24)
"""Fewest and most that the interval is made from."""
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
class _Rows:
    """Requests of which everything is known, in the order in which they started, and what ran beside them."""

    start: FloatArray
    ran: FloatArray
    output: FloatArray
    prompt: FloatArray
    starts: FloatArray
    """Of all requests, sorted."""
    prompts: FloatArray
    """Of these, in that order."""

    def read(self, pace: float, until: FloatArray) -> FloatArray:
        """Prompt tokens that were read from each start until a time, [n], one prompt after the other at a pace."""
        total = np.cumsum(self.prompts)
        before = total - self.prompts
        # Reading begins when the one before is read: the running maximum of what would be without those before.
        end = pace * total + np.maximum.accumulate(self.starts - pace * before)
        times = np.column_stack((end - pace * self.prompts, end)).ravel()
        tokens = np.column_stack((before, total)).ravel()
        return np.interp(until, times, tokens) - np.interp(self.start, times, tokens)


def fit_costs(served: ServedRequests) -> ServiceCosts | None:
    """Learn the costs; None where too few completions tell of prompts and times.

    Weighted least squares of run times, robust by Tukey's biweight, as errors grow with the run time. How many prompts
    were read meanwhile depends on how long a run took, which would be taken for its cause: so those read in the time
    that is expected of such a request stand in for them (instrumental variables). The intervals are a jackknife's over
    blocks of requests that started after each other, as errors of neighbours are alike.

    Args:
        served: completions; those without output or prompt tokens count for what ran beside others only. Where no
            prompt is known, prompts cost nothing.
    """
    rows = _rows_of(served)
    if rows is None:
        return None
    pace, instruments = 1e-9, np.column_stack((np.ones_like(rows.ran), rows.output, rows.prompt))
    columns = instruments
    coefficients = _robust(columns, columns, rows.ran, rows.ran)[0]
    weights = np.ones_like(rows.ran)
    for _ in range(_PASSES):
        expected = np.maximum(instruments @ coefficients, 1e-9)
        beside = rows.read(pace, rows.start + rows.ran)
        columns = np.column_stack((np.ones_like(rows.ran), rows.output, beside))
        stand_in = columns.copy()
        stand_in[:, 2] = rows.read(pace, rows.start + expected)
        found, weights = _robust(columns, stand_in, rows.ran, expected)
        pace = max(float(found[2]), 1e-9)
    running = _running(served)
    found, spread, degrees = _jackknife(columns, stand_in, rows.ran, weights)
    reach = _t_quantile(degrees) * spread
    estimates = [
        CostEstimate(max(float(v), 0.0), max(float(v - r), 0.0), max(float(v + r), 0.0))
        for v, r in zip(found, reach, strict=True)
    ]
    return ServiceCosts(estimates[2], estimates[1], estimates[0], running, len(rows.ran))


def _rows_of(served: ServedRequests) -> _Rows | None:
    start = served.arrival + served.waited
    known = ~np.isnan(served.prompt)
    typical = float(served.prompt[known].mean()) if known.any() else 0.0
    prompt = np.where(known, served.prompt, typical)
    usable = (served.ran > 0) & (served.output > 0) & (known | (not known.any()))
    order = np.argsort(start, kind="stable")
    mine = order[usable[order]]
    if len(mine) < _LEAST_ROWS:
        return None
    return _Rows(start[mine], served.ran[mine], served.output[mine], prompt[mine], start[order], prompt[order])


def _robust(
    columns: FloatArray, stand_in: FloatArray, ran: FloatArray, expected: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Coefficients, none below 0, [k], and the weights of rows, [n]."""
    scale = np.maximum(expected, np.quantile(expected, 0.1))
    base = 1 / scale**2
    weights = base
    found = _solved(columns, stand_in, ran, weights)
    for _ in range(_REWEIGHTINGS):
        error = np.abs(ran - columns @ found) / scale
        spread = _MAD * float(np.median(error))
        if spread <= 1e-9:
            break
        weights = base * np.maximum(1 - (error / (_CUT * spread)) ** 2, 0) ** 2
        found = _solved(columns, stand_in, ran, weights)
    return found, weights


def _solved(columns: FloatArray, stand_in: FloatArray, ran: FloatArray, weights: FloatArray) -> FloatArray:
    weighted = stand_in * weights[:, None]
    return _non_negative(weighted.T @ columns, weighted.T @ ran)


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


def _jackknife(
    columns: FloatArray, stand_in: FloatArray, ran: FloatArray, weights: FloatArray
) -> tuple[FloatArray, FloatArray, int]:
    """Coefficients, their standard errors, and degrees of freedom."""
    blocks = int(np.clip(len(ran) // 16, *_BLOCKS))
    edges = np.linspace(0, len(ran), blocks + 1).astype(int)[:-1]
    weighted = stand_in * weights[:, None]
    matrices = np.add.reduceat(weighted[:, :, None] * columns[:, None, :], edges)
    rights = np.add.reduceat(weighted * ran[:, None], edges)
    matrix, right = matrices.sum(axis=0), rights.sum(axis=0)
    whole = _non_negative(matrix, right)
    left_out = np.array([_non_negative(matrix - m, right - r) for m, r in zip(matrices, rights, strict=True)])
    spread = np.sqrt((blocks - 1) / blocks * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    return whole, spread, blocks - 1


def _t_quantile(degrees: int) -> float:
    """The 97.5th percentile of Student's t (Cornish and Fisher's expansion, within .5 % from 5 degrees on)."""
    z, v = 1.959964, degrees
    return z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)


def _running(served: ServedRequests) -> float:
    """How many ran at a time while others waited."""
    start = served.arrival + served.waited
    end = start + served.ran
    starts, ends = np.sort(start), np.sort(end)
    sums_start, sums_end = np.append(0.0, np.cumsum(starts)), np.append(0.0, np.cumsum(ends))

    def area(times: FloatArray) -> FloatArray:
        """Seconds that all ran until a time."""
        begun, ended = np.searchsorted(starts, times), np.searchsorted(ends, times)
        return (begun * times - sums_start[begun]) - (ended * times - sums_end[ended])

    counted = served.ran > 0
    if (served.waited[counted] > 0).any():
        counted &= served.waited > 0
    # Who ran beside the first and the last of the window is not in it.
    inside = counted & (start >= ends[0]) & (end <= starts[-1])
    if inside.sum() >= _LEAST_ROWS // 2:
        counted = inside
    if not counted.any():
        return 1.0
    total = (area(end[counted]) - area(start[counted])).sum()
    return max(1.0, float(total / served.ran[counted].sum()))
