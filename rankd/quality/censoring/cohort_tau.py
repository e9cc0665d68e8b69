"""Kendall's tau-b of an arrival cohort in which some lengths are only bounded from below.

Pairs whose order is decided count as they are; the others count the order to be expected given both scores
and both bounds, from ``ordinal_probit``. Where everything is decided this is the plain tau-b of the restricted lengths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rankd.quality.censoring import imputation, ordinal_probit
from rankd.quality.statistics import interval, kendall
from rankd.quality.statistics.cohort import Cohort
from rankd.quality.statistics.cohort_sums import CohortSums, CohortTau

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVELS = np.concatenate((np.arange(1, 20) / 20, [0.97, 0.985, 0.995]))
"""Quantiles of the lengths seen at which the model's bins meet: finer at the top, where waiting requests will end."""
TILT_ENDS = (0.02, 0.98)
PRIOR = np.array([1.0, 10.0])
"""Prior precision of slope and tilt: keeps them finite where the scores order perfectly, and small in small samples."""
DOUBT = 0.1
"""How far the model errs on real lengths, per undecided share (docs/science/quality.md): widens the interval."""
LEVEL_PRIOR = np.array([1.0, 1e6])
"""The same without a tilt."""
LEAST_FOLLOWED = 0.2
"""The horizon ends where fewer than this share of the started requests are still being followed."""
LEAST_STARTED = 0.15
"""Share of the cohort that must have produced anything: below it there is nothing to extrapolate from."""


def effective_horizon(tokens: Ints, complete: Bools, horizon: int) -> int:
    """Lower the horizon to where lengths stop being observed.

    The share still followed at length t is the Kaplan-Meier survival of *censoring* among the requests
    that have started; without censoring it is one everywhere and the horizon stays.
    """
    started = complete | (tokens > 0)
    order = np.argsort(tokens[started] * 2 + ~complete[started])
    length, cut = tokens[started][order], ~complete[started][order]
    at_risk = np.arange(len(order), 0, -1)
    followed = np.cumprod(np.where(cut, 1.0 - 1.0 / at_risk, 1.0))
    beyond = np.flatnonzero(followed < LEAST_FOLLOWED)
    if len(beyond) == 0:
        return horizon
    return min(horizon, max(1, int(length[beyond[0]])))


def cohort_tau(cohort: Cohort, horizon: int, z: float, least: int, doubt: float = DOUBT) -> CohortTau:
    """Estimate the tau-b of the whole cohort at the largest horizon that the data support.

    ``doubt`` is the standard deviation of the model's own error per unit of undecided share.
    """
    size = len(cohort.score)
    known = cohort.complete
    started = int(np.count_nonzero(known | (cohort.tokens > 0)))
    # Where nothing is to be estimated, few are enough for sums: together with other replicas' they may say something.
    if size < 2 or (started < max(least, LEAST_STARTED * size) and not known.all()):
        return CohortTau(None, size, int(np.count_nonzero(known)), 0, None, None)
    horizon = effective_horizon(cohort.tokens, known, horizon)
    compared = restricted(cohort, horizon)
    length, known = compared.length, compared.known
    exact = _exact_pairs(cohort.score, length, known)
    pairs = size * (size - 1) // 2
    n_known = int(np.count_nonzero(known))
    tied = n_known >= least and not exact.score_untied.any()
    found = CohortTau(None, size, n_known, exact.decided, exact.decided / pairs, horizon, tied=tied)
    if exact.decided == pairs and n_known == size:
        columns, learned, doubt = exact.columns(), None, 0.0
    elif n_known < least:
        return found
    else:
        imputed = _imputed(compared, exact)
        if imputed is None:
            return found
        (columns, learned), doubt = imputed, doubt * (1.0 - exact.decided / pairs)
    if size < interval.LEAST:
        return found
    sums = CohortSums.of(found, columns, learned, doubt)
    return replace(found, sums=sums, tau=sums.tau(z) if n_known >= least else None)


def restricted(cohort: Cohort, horizon: int) -> imputation.Restricted:
    """What of a cohort is compared: lengths up to a horizon, and the known part of work in full."""
    length = np.minimum(cohort.tokens, horizon)
    known = cohort.complete | (length >= horizon)
    started = known | (length > 0)
    if cohort.prompt_work is not None:
        length = length + cohort.prompt_work
        # Restricted it is already; beyond all of it lies no tie.
        horizon = int(length.max(initial=0)) + 1
    return imputation.Restricted(cohort.score, length, known, horizon, started)


@dataclass(frozen=True, slots=True)
class _Exact:
    """What needs no model: per-item sums over pairs of known length, and score ties over all pairs."""

    agree: Floats
    length_untied: Floats
    score_untied: Floats
    score_less: Ints
    score_most: Ints
    decided: int

    def columns(self) -> Floats:
        """Per request, sums over its pairs: agreement, untied in score, untied in length."""
        return np.stack((self.agree, self.score_untied, self.length_untied), axis=1)


def _exact_pairs(score: Floats, length: Ints, known: Bools) -> _Exact:
    size, n_known = len(score), int(np.count_nonzero(known))
    less, most = kendall.spans(score)
    agree, untied = np.zeros(size), np.zeros(size)
    value = length[known]
    agree[known] = kendall.concordance(score[known], value.astype(float))
    value_less, value_most = kendall.spans(value)
    untied[known] = n_known - (value_most - value_less)
    # A pair of a known and an unknown length is decided where the unknown one has already produced more.
    outlived = int(np.searchsorted(np.sort(value), length[~known], "left").sum())
    decided = n_known * (n_known - 1) // 2 + outlived
    return _Exact(agree, untied, (size - (most - less)).astype(float), less, most, decided)


def _edges(cohort: imputation.Restricted) -> Ints:
    """Lower ends of the bins: quantiles of all that has been seen, and the horizon where it was reached."""
    length, known = cohort.length, cohort.known
    seen = np.sort(length[cohort.started])
    inner = seen[(LEVELS * len(seen)).astype(np.int64)]
    edges = np.unique(np.concatenate((inner, [cohort.horizon])))
    # Every bin must hold a known length, or its thresholds have no maximum.
    place = np.searchsorted(edges, length[known], "right")
    per_bin = np.bincount(place, minlength=len(edges) + 1)
    kept: list[int] = []
    inside = per_bin[0]
    for k, edge in enumerate(edges):
        if inside > 0 and per_bin[k + 1 :].sum() > 0:
            kept.append(int(edge))
            inside = 0
        inside += per_bin[k + 1]
    return np.array(kept, dtype=np.int64)


def _imputed(cohort: imputation.Restricted, exact: _Exact) -> tuple[Floats, Floats] | None:
    """Columns as ``_Exact``'s with the expected order of undecided pairs, and what the fit adds to each request's.

    None where no model can be fitted, or nothing is to be compared.
    """
    length, known = cohort.length, cohort.known
    edges = _edges(cohort)
    bins = len(edges) + 1
    if bins < 2:
        return None
    low = np.searchsorted(edges, length, "right").astype(np.int64)
    high = np.where(known, low, bins - 1)
    normal = ordinal_probit.normal_scores(exact.score_less, exact.score_most)
    design = _design(normal, cohort.started)
    # Of a request that waits only the known part is known: that its work is no less was certain, and tells nothing.
    sample = ordinal_probit.BinnedSample(design, np.where(cohort.started, low, 0), high, bins)
    # Without a tilt the likelihood is concave: the fit that always settles, where the richer one does not.
    model = ordinal_probit.fit(sample, PRIOR) or ordinal_probit.fit(sample, LEVEL_PRIOR)
    if model is None:
        return None
    spans = (exact.score_less, exact.score_most)
    grid = imputation.Grid.build(cohort, low, model, design, spans)
    agree, untied = grid.sums(spans, exact.agree, exact.length_untied)
    if exact.score_untied.sum() <= 0 or untied.sum() <= 0:
        return None
    # How the parameters move agreement, and untied lengths, each by itself: any tau can be made of them later.
    size = len(length)
    learned = np.zeros((size, 3))
    for column, worth in ((0, (1.0, 0.0)), (2, (0.0, 1.0))):
        learned[:, column] = model.influence(grid.gradient(model, design, worth)) / size
    return np.stack((agree, exact.score_untied, untied), axis=1), learned


def _design(normal: Floats, started: Bools) -> ordinal_probit.Design:
    """A line for the location, a tilt for the scale, over normal scores; the tilt ends with what was served.

    A bend in the location would fit better what was served and extrapolate worse to what waits
    (docs/measurements/2026-11-25-live-quality.md has the comparison).
    """
    return ordinal_probit.Design(normal[:, None], np.clip(normal, *np.quantile(normal[started], TILT_ENDS)))
