"""Kendall's tau-b of an arrival cohort in which some lengths are only bounded from below.

Pairs whose order is decided count as they are; the others count the order to be expected given both scores
and both bounds, from ``latent``. Where everything is decided this is the plain tau-b of the restricted lengths.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.quality import counts, interval, latent
from rankd.quality.arrivals import Cohort
from rankd.quality.report import Bounded, CohortTau

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BINS = 24
"""Bins of length in the model; finer adds work and no accuracy."""
TILT_ENDS = (0.02, 0.98)
PRIOR = np.array([1.0, 10.0])
"""Prior precision of slope and tilt: keeps them finite where the scores order perfectly, and small in small samples."""
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


def cohort_tau(cohort: Cohort, horizon: int, z: float, least: int) -> CohortTau:
    """Estimate the tau-b of the whole cohort at the largest horizon that the data support."""
    size = len(cohort.score)
    known = cohort.complete
    started = int(np.count_nonzero(known | (cohort.tokens > 0)))
    if size < 2 or started < max(least, LEAST_STARTED * size):
        return CohortTau(None, size, int(np.count_nonzero(known)), 0, None, None)
    horizon = effective_horizon(cohort.tokens, known, horizon)
    length = np.minimum(cohort.tokens, horizon)
    known = known | (length >= horizon)
    exact = _exact_pairs(cohort.score, length, known)
    pairs = size * (size - 1) // 2
    n_known = int(np.count_nonzero(known))
    tau: Bounded | None = None
    if n_known >= least:
        if exact.decided == pairs and n_known == size:
            tau = interval.tau_interval(exact.agree, exact.score_untied, exact.length_untied, z)
        else:
            tau = _imputed_tau(cohort.score, length, known, horizon, exact, z)
    return CohortTau(tau, size, n_known, exact.decided, exact.decided / pairs, horizon)


@dataclass(frozen=True, slots=True)
class _Exact:
    """What needs no model: per-item sums over pairs of known length, and score ties over all pairs."""

    agree: Floats
    length_untied: Floats
    score_untied: Floats
    score_less: Ints
    score_most: Ints
    decided: int


def _exact_pairs(score: Floats, length: Ints, known: Bools) -> _Exact:
    size, n_known = len(score), int(np.count_nonzero(known))
    less, most = counts.spans(score)
    agree, untied = np.zeros(size), np.zeros(size)
    value = length[known]
    agree[known] = counts.concordance(score[known], value.astype(float))
    value_less, value_most = counts.spans(value)
    untied[known] = n_known - (value_most - value_less)
    # A pair of a known and an unknown length is decided where the unknown one has already produced more.
    outlived = int(np.searchsorted(np.sort(value), length[~known], "left").sum())
    decided = n_known * (n_known - 1) // 2 + outlived
    return _Exact(agree, untied, (size - (most - less)).astype(float), less, most, decided)


def _edges(length: Ints, known: Bools, horizon: int) -> Ints:
    """Lower ends of the bins: quantiles of all that has been seen, and the horizon where it was reached."""
    seen = np.sort(length[known | (length > 0)])
    inner = seen[(np.arange(1, BINS) * len(seen)) // BINS]
    edges = np.unique(np.concatenate((inner, [horizon])))
    # Every bin must hold a known length, or its thresholds have no maximum.
    place = np.searchsorted(edges, length[known], "right")
    held = np.bincount(place, minlength=len(edges) + 1)
    keep: list[int] = []
    room = held[0]
    for k, edge in enumerate(edges):
        if room > 0 and held[k + 1 :].sum() > 0:
            keep.append(int(edge))
            room = 0
        room += held[k + 1]
    return np.array(keep, dtype=np.int64)


def _imputed_tau(score: Floats, length: Ints, known: Bools, horizon: int, exact: _Exact, z: float) -> Bounded | None:
    edges = _edges(length, known, horizon)
    bins = len(edges) + 1
    if bins < 2:
        return None
    low = np.searchsorted(edges, length, "right").astype(np.int64)
    high = np.where(known, low, bins - 1)
    normal = latent.normal_scores(exact.score_less, exact.score_most)
    design = _design(normal, known | (length > 0))
    model = latent.fit(design, low, high, bins, PRIOR)
    if model is None:
        return None
    grid = _Grid.build(score, length, known, low, bins, model, design, exact)
    agree, untied = grid.sums(exact)
    total_agree, total_score, total_length = agree.sum(), exact.score_untied.sum(), untied.sum()
    if total_score <= 0 or total_length <= 0:
        return None
    tau = float(total_agree / math.sqrt(total_score * total_length))
    own = interval.tau_influence(agree, exact.score_untied, untied)
    learned = model.influence(grid.gradient(model, design, tau, total_score, total_length))
    return interval.bounded(tau, own + learned, z)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Every request's distribution over the bins, and for each the score-signed sums of the others'."""

    known: Bools
    low: Ints
    share: Floats
    """Row i: the distribution of request i's length over the bins; one bin where it is known."""
    unknown_signed: Floats
    """Row i: the sum over unknown j of sgn(score_i - score_j) * share_j."""
    all_signed: Floats
    tied: Floats
    """Chance that two lengths in a bin are equal."""
    fix_agree: Floats
    """Per-item corrections for decided pairs within one bin."""
    fix_untied: Floats

    @classmethod
    def build(
        cls,
        score: Floats,
        length: Ints,
        known: Bools,
        low: Ints,
        bins: int,
        model: latent.LatentFit,
        design: latent.Design,
        exact: _Exact,
    ) -> _Grid:
        """Distribute the unknown lengths over the bins they may still reach."""
        size = len(score)
        share = np.zeros((size, bins))
        share[np.flatnonzero(known), low[known]] = 1.0
        unknown = np.flatnonzero(~known)
        tail = latent.upper_tail(model.standardised(design.take(unknown))[0])
        tail[:, 0], tail[:, -1] = 1.0, 0.0
        mass = np.maximum(tail[:, :-1] - tail[:, 1:], 0.0)
        mass[np.arange(bins)[None, :] < low[unknown][:, None]] = 0.0
        total = mass.sum(axis=1)
        hopeless = total < 1e-12
        mass[hopeless, bins - 1], total[hopeless] = 1.0, 1.0
        share[unknown] = mass / total[:, None]
        order = np.argsort(score, kind="stable")
        tied = _tie_chance(length[known], low[known], bins)
        fix_agree, fix_untied = _within_bin(score, length, known, low, share, tied)
        unseen = np.where(known[:, None], 0.0, share)
        return cls(
            known,
            low,
            share,
            _signed_sums(unseen, order, exact),
            _signed_sums(share, order, exact),
            tied,
            fix_agree,
            fix_untied,
        )

    def sums(self, exact: _Exact) -> tuple[Floats, Floats]:
        """Per-item sums of expected agreement and of untied lengths over all pairs."""
        cumulated = np.cumsum(self.share, axis=1)
        lead = 2.0 * cumulated - self.share - 1.0
        # lead[i, l] = P(bin of i < l) - P(bin of i > l), so that -lead is the expected sign against bin l.
        signed = np.where(self.known[:, None], self.unknown_signed, self.all_signed)
        agree = exact.agree - np.einsum("ij,ij->i", lead, signed) + self.fix_agree
        size = len(self.known)
        everyone = self.share.sum(axis=0)
        unseen = self.share[~self.known].sum(axis=0)
        weighted = self.share * self.tied
        untied_known = exact.length_untied + np.count_nonzero(~self.known) - weighted @ unseen
        untied_unknown = size - 1 - weighted @ everyone + np.einsum("ij,ij->i", weighted, self.share)
        return agree, np.where(self.known, untied_known, untied_unknown) + self.fix_untied

    def gradient(
        self, model: latent.LatentFit, design: latent.Design, tau: float, total_score: float, total_length: float
    ) -> Floats:
        """How tau moves with the model's thresholds and slopes, through the unknown lengths alone."""
        unknown = ~self.known
        share, signed = self.share[unknown], self.all_signed[unknown]
        cumulated = np.cumsum(signed, axis=1)
        agree = 2.0 * cumulated - signed - cumulated[:, -1:]
        untied = -self.tied * (self.share.sum(axis=0) - share)
        # Totals run over ordered pairs, twice the pair sums that these derivatives are of.
        worth = 2.0 * agree / math.sqrt(total_score * total_length) - tau * untied / total_length
        bins = self.share.shape[1]
        low = self.low[unknown]
        rows = design.take(np.flatnonzero(unknown))
        cuts, precision = model.standardised(rows)
        bottom = np.where(low > 0, cuts[np.arange(len(low)), low], -latent.INFINITE)
        weight = latent.density(cuts[:, 1:bins]) / np.maximum(latent.upper_tail(bottom), 1e-12)[:, None]
        inner = np.arange(1, bins)[None, :]
        step = np.where(inner > low[:, None], worth[:, :-1] - worth[:, 1:], 0.0)
        mean = np.einsum("ij,ij->i", worth, share)
        at = np.flatnonzero(low > 0)
        step[at, low[at] - 1] = mean[at] - worth[at, low[at]]
        pull = step * weight
        moved = pull.sum(axis=1) * precision
        tilted = np.einsum("ij,ij->i", pull, cuts[:, 1:bins])
        return np.concatenate((precision @ pull, -(moved @ rows.shape), [-float(rows.tilt @ tilted)]))


def _design(normal: Floats, started: Bools) -> latent.Design:
    """A line for the location, a tilt for the scale, over normal scores; the tilt ends with what was served.

    A bend in the location would fit better what was served and extrapolate worse to what waits
    (docs/quality.md has the comparison).
    """
    return latent.Design(normal[:, None], np.clip(normal, *np.quantile(normal[started], TILT_ENDS)))


def _signed_sums(share: Floats, order: Ints, exact: _Exact) -> Floats:
    """Row i: the sum over j of sgn(score_i - score_j) * share_j, by running sums along the scores."""
    running = np.zeros((len(order) + 1, share.shape[1]))
    np.cumsum(share[order], axis=0, out=running[1:])
    return np.asarray(running[exact.score_less] + running[exact.score_most] - running[-1])


def _tie_chance(value: Ints, place: Ints, bins: int) -> Floats:
    """Within every bin, the chance that two of its known lengths are equal."""
    distinct, inverse = np.unique(value, return_inverse=True)
    per_value = np.bincount(inverse).astype(float)
    bin_of = np.zeros(len(distinct), dtype=np.int64)
    bin_of[inverse] = place
    per_bin = np.bincount(place, minlength=bins).astype(float)
    return np.bincount(bin_of, per_value**2, bins) / np.maximum(per_bin**2, 1.0)


def _within_bin(
    score: Floats, length: Ints, known: Bools, low: Ints, share: Floats, tied: Floats
) -> tuple[Floats, Floats]:
    """Correct the pairs of a known length and a longer bound in one bin: decided, where the grid sees a draw."""
    size = len(score)
    fix_agree, fix_untied = np.zeros(size), np.zeros(size)
    held = np.flatnonzero(known)
    held = held[np.lexsort((length[held], low[held]))]
    # Known lengths sorted by bin, then length: those of i's bin below i's bound are a run.
    code = low[held] * (int(length.max()) + 1) + length[held]
    ahead = np.flatnonzero(~known & (length > 0))
    first = np.searchsorted(code, low[ahead] * (int(length.max()) + 1))
    last = np.searchsorted(code, low[ahead] * (int(length.max()) + 1) + length[ahead])
    runs = last - first
    if runs.sum() == 0:
        return fix_agree, fix_untied
    i = np.repeat(ahead, runs)
    offset = np.arange(len(i)) - np.repeat(np.cumsum(runs) - runs, runs)
    j = held[np.repeat(first, runs) + offset]
    inside = share[i, low[i]]
    # The grid has P(above the bin) for the sign and 1 - P(in the bin) * tied for being untied.
    sign = np.sign(score[i] - score[j]) * inside
    untied = inside * tied[low[i]]
    for side in (i, j):
        fix_agree += np.bincount(side, sign, size)
        fix_untied += np.bincount(side, untied, size)
    return fix_agree, fix_untied
