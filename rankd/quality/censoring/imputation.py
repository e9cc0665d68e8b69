"""Expected concordance with lengths that are only bounded, in O(requests x bins): no pair is enumerated.

Every request has a distribution over bins of length, one bin where its length is known. Running sums of
these along the scores give, for every request, the score-signed sum of all the others' distributions; a
product with its own is its expected agreement with all of them at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.quality.censoring import ordinal_probit
from rankd.quality.censoring.ordinal_probit import Design, LatentFit

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Spans = tuple[Ints, Ints]

_STEPS = 0.2 * np.arange(1, 9)
"""Where the open top bin is cut further, in units of the latent spread: most waiting requests end in it."""


@dataclass(frozen=True, slots=True)
class Restricted:
    """A cohort with lengths cut at the horizon: ``length``, or work, is a lower bound where not ``known``."""

    score: Floats
    length: Ints
    known: Bools
    horizon: int
    started: Bools
    """Produced something, or ended."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Who ends where, as far as it is known."""

    cohort: Restricted
    low: Ints
    """The bin of a known length or of a bound."""
    cuts: Floats
    """The model's thresholds, and those that cut its open top bin."""
    parents: int
    """Thresholds that are the model's own; further ones move with the last of them."""
    share: Floats
    """Row i: the distribution of request i's length over the bins."""
    signed: Floats
    """Row i: the sum over j of sgn(score_i - score_j) * share_j."""
    tied: Floats
    """Chance that two lengths in a bin are equal."""
    within: tuple[Ints, Ints]
    """Pairs (bounded, known) within one bin that are decided: the bound is beyond the length."""

    @classmethod
    def build(
        cls,
        cohort: Restricted,
        low: Ints,
        model: LatentFit,
        design: Design,
        spans: Spans,
    ) -> Grid:
        """Distribute the unknown lengths over the bins that they may still reach."""
        known = cohort.known
        # A horizon that was reached is one point of the scale, tied; a top bin short of it is open.
        open_top = not bool(np.any(known & (cohort.length >= cohort.horizon)))
        bins = len(model.cuts) - 1
        cuts = model.cuts
        if open_top:
            spread = math.sqrt(1.0 + float(model.slopes @ model.slopes))
            cuts = np.concatenate((cuts[:-1], cuts[-2] + spread * _STEPS, [cuts[-2] + spread * _STEPS[-1] + 9.0]))
        share = np.zeros((len(known), len(cuts) - 1))
        share[np.flatnonzero(known), low[known]] = 1.0
        # A known length in the open top bin has no place among its cuts: it is spread like an unknown one.
        free = np.flatnonzero(~known | (low == bins - 1)) if open_top else np.flatnonzero(~known)
        share[free] = _remaining(ordinal_probit.standardise(cuts, model, design.take(free))[0], low[free])
        tied = np.zeros(len(cuts) - 1)
        tied[:bins] = _tie_chance(cohort.length[known], low[known], bins)
        if open_top:
            tied[bins - 1] = 0.0
        return cls(cohort, low, cuts, bins - 1, share, _signed(share, spans), tied, _decided_within(cohort, low))

    def sums(self, spans: Spans, agree: Floats, untied: Floats) -> tuple[Floats, Floats]:
        """Per-item sums of agreement and of untied lengths over all pairs, given those over pairs of known ones."""
        share, known = self.share, self.cohort.known
        # lead[i, l] = P(bin of i < l) - P(bin of i > l): the expected sign against bin l, turned round.
        lead = 2.0 * np.cumsum(share, axis=1) - share - 1.0
        unseen = np.where(known[:, None], 0.0, share)
        signed = np.where(known[:, None], _signed(unseen, spans), self.signed)
        weighted = share * self.tied
        met = np.where(known, weighted @ unseen.sum(axis=0), weighted @ share.sum(axis=0))
        others = np.where(known, np.count_nonzero(~known), len(known) - 1)
        own = np.where(known, 0.0, np.einsum("ij,ij->i", weighted, share))
        agree = agree - np.einsum("ij,ij->i", lead, signed)
        untied = untied + others - met + own
        return self._order_decided(lead, agree, untied)

    def _order_decided(self, lead: Floats, agree: Floats, untied: Floats) -> tuple[Floats, Floats]:
        """Give the decided pairs within a bin, where the grid sees a draw or a chance, their order."""
        i, j = self.within
        if len(i) == 0:
            return agree, untied
        size = len(self.low)
        lone = self.low[i] < self.parents
        inside = self.share[i, self.low[i]]
        seen, draw = 1.0 - inside, inside * self.tied[self.low[i]]
        # In the cut top bin the known length is spread as well, and the grid has a product.
        top = np.flatnonzero(~lone)
        seen[top] = -np.einsum("ij,ij->i", lead[i[top]], self.share[j[top]])
        draw[top] = (self.share[i[top]] * self.share[j[top]]) @ self.tied
        missing = np.sign(self.cohort.score[i] - self.cohort.score[j]) * (1.0 - seen)
        for side in (i, j):
            agree = agree + np.bincount(side, missing, size)
            untied = untied + np.bincount(side, draw, size)
        return agree, untied

    def gradient(self, model: LatentFit, design: Design, worth: tuple[float, float]) -> Floats:
        """How a statistic moves with the model's parameters, through the unknown lengths alone.

        ``worth`` is what one unit of expected agreement, and of an untied length, adds to it.
        """
        unknown = np.flatnonzero(~self.cohort.known)
        share, low, rows = self.share[unknown], self.low[unknown], design.take(unknown)
        signed = self.signed[unknown]
        cumulated = np.cumsum(signed, axis=1)
        agree = 2.0 * cumulated - signed - cumulated[:, -1:]
        untied = -self.tied * (self.share.sum(axis=0) - share)
        value = worth[0] * agree + worth[1] * untied
        cuts, precision = ordinal_probit.standardise(self.cuts, model, rows)
        bottom = np.where(low > 0, cuts[np.arange(len(low)), low], -ordinal_probit.INFINITE)
        weight = ordinal_probit.density(cuts[:, 1:-1]) / np.maximum(ordinal_probit.upper_tail(bottom), 1e-12)[:, None]
        # A threshold that rises moves mass from the bin above it to the one below.
        step = np.where(np.arange(1, self.share.shape[1]) > low[:, None], value[:, :-1] - value[:, 1:], 0.0)
        started = np.flatnonzero(low > 0)
        mean = np.einsum("ij,ij->i", value, share)
        step[started, low[started] - 1] = mean[started] - value[started, low[started]]
        pull = step * weight
        by_cut = precision @ pull
        last = self.parents
        by_cut = np.append(by_cut[: last - 1], by_cut[last - 1 :].sum())
        moved = pull.sum(axis=1) * precision
        tilted = np.einsum("ij,ij->i", pull, cuts[:, 1:-1])
        return np.concatenate((by_cut, -(moved @ rows.shape), [-float(rows.tilt @ tilted)]))


def _signed(share: Floats, spans: Spans) -> Floats:
    """Row i: the sum over j of sgn(score_i - score_j) * share_j, by running sums along the scores."""
    running = np.zeros((len(share) + 1, share.shape[1]))
    np.cumsum(share[np.argsort(spans[0])], axis=0, out=running[1:])
    return np.asarray(running[spans[0]] + running[spans[1]] - running[-1])


def _remaining(cuts: Floats, low: Ints) -> Floats:
    """The model's distribution over the bins from ``low`` upwards, a row for each request."""
    tail = ordinal_probit.upper_tail(cuts)
    tail[:, 0], tail[:, -1] = 1.0, 0.0
    mass = np.maximum(tail[:, :-1] - tail[:, 1:], 0.0)
    mass[np.arange(mass.shape[1])[None, :] < low[:, None]] = 0.0
    total = mass.sum(axis=1)
    # Beyond all that the model thinks possible: as little further as can be.
    hopeless = np.flatnonzero(total < 1e-12)
    mass[hopeless, low[hopeless]], total[hopeless] = 1.0, 1.0
    return np.asarray(mass / total[:, None])


def _tie_chance(value: Ints, place: Ints, bins: int) -> Floats:
    """Within every bin, the chance that two of its known lengths are equal."""
    distinct, inverse = np.unique(value, return_inverse=True)
    per_value = np.bincount(inverse).astype(float)
    bin_of = np.zeros(len(distinct), dtype=np.int64)
    bin_of[inverse] = place
    per_bin = np.bincount(place, minlength=bins).astype(float)
    return np.asarray(np.bincount(bin_of, per_value**2, bins) / np.maximum(per_bin**2, 1.0))


def _decided_within(cohort: Restricted, low: Ints) -> tuple[Ints, Ints]:
    """Pairs of a bound and a smaller known length in the same bin."""
    known, length = cohort.known, cohort.length
    lengths_known = np.flatnonzero(known)
    base = int(length.max()) + 1
    lengths_known = lengths_known[np.argsort(low[lengths_known] * base + length[lengths_known])]
    # Known lengths sorted by bin, then length: those below a bound in its bin are a run.
    code = low[lengths_known] * base + length[lengths_known]
    bounded = np.flatnonzero(~known & (length > 0))
    first = np.searchsorted(code, low[bounded] * base)
    runs = np.searchsorted(code, low[bounded] * base + length[bounded]) - first
    within = np.arange(int(runs.sum())) - np.repeat(np.cumsum(runs) - runs, runs)
    return np.repeat(bounded, runs), lengths_known[np.repeat(first, runs) + within]
