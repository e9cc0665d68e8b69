"""What a ranker is trained to do: losses over one list of prompts, none of which drops a censored row.

An answer that was cut off is "at least this long". Losses of order see rows only through ``known_longer``, the pairs
whose order is certain; the distribution takes a cut answer by its probability of being longer.

Everywhere: ``scores`` float32[n], higher = longer; ``tokens`` float[n], a length or its lower bound; ``complete``
bool[n]; ``groups`` int64[n], the rows of one source and one answering model, whose lengths alone share a scale.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Loss = Literal["listmle", "pairwise", "lognormal", "joint"]
"""``joint`` is ``lognormal`` and the order of pairs under that distribution together."""
_LOG_SPREAD_RANGE = (-3.0, 1.5)
"""Of the logarithm of the spread: a spread of .05 to 4.5 in log length. Beyond it the likelihood has no gradient left
for the mean, or all of it for one row."""

_LOGISTIC_PER_NORMAL = 1.702
"""1 / (1 + exp(-1.702 z)) is within .01 of the normal distribution's Phi(z) everywhere."""


def known_longer(tokens: Tensor, complete: Tensor, groups: Tensor, bucket: float = 1.0) -> Tensor:
    """Tell the pairs whose order is known: row i is longer than row j.

    That is so where j has ended and i has produced more, whether i has ended or not. A cut row is thus never known to
    be shorter than anything, and two lengths of the same bucket are tied.

    Args:
        tokens: [n].
        complete: [n].
        groups: [n]; rows of different groups are not compared.
        bucket: width of a bucket in tokens; the paper takes 10.

    Returns:
        bool[n, n].
    """
    step = torch.floor(tokens / bucket) if bucket > 1 else tokens
    return (step[:, None] > step[None, :]) & complete[None, :] & (groups[:, None] == groups[None, :])


def list_mle(scores: Tensor, longer: Tensor, *, shortest_first: bool = False) -> Tensor:
    """ListMLE, the paper's loss: how unlikely the true order is when the list is emptied one row at a time.

    With the longest row taken first, each with probability softmax over the rows that are left,

        loss = mean over i of  log( exp s_i + sum of exp s_j over j known to be shorter than i ) - s_i

    where i runs over the rows that have any such j. On a list without ties and cuts the rows known to be shorter are
    just those left, and this is ListMLE as published. Ties do not compete. A cut row competes as winner against what
    is known to be shorter, and stands in no other row's sum. ``shortest_first`` empties the list from the short end:
    then a cut row stands in the sums of all that are known to be shorter and never wins, which is Cox's partial
    likelihood.

    Args:
        scores: [n].
        longer: [n, n] of ``known_longer``.
        shortest_first: from which end the list is emptied.

    Returns:
        The mean per competing row, a scalar; 0 where no order is known.
    """
    if shortest_first:
        scores, longer = -scores, longer.T
    competing = longer.any(dim=1)
    rivals = longer | torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    sums = torch.logsumexp(scores[None, :].masked_fill(~rivals, -math.inf), dim=1)
    return ((sums - scores) * competing).sum() / competing.sum().clamp(min=1)


def pairwise_logistic(scores: Tensor, longer: Tensor, margin: float = 0.0) -> Tensor:
    """Pairwise logistic loss with a margin: the mean of ``log(1 + exp(margin - (s_i - s_j)))`` over known pairs.

    Args:
        scores: [n].
        longer: [n, n] of ``known_longer``.
        margin: by how much the longer row is to lead, in units of the score.

    Returns:
        A scalar; 0 where no order is known.
    """
    return _pairs(scores[:, None] - scores[None, :] - margin, longer)


def _pairs(apart: Tensor, longer: Tensor) -> Tensor:
    """The mean of ``log(1 + exp(-apart))`` over known pairs."""
    return (functional.softplus(-apart) * longer).sum() / longer.sum().clamp(min=1)


def spread_of(raw: Tensor) -> Tensor:
    """The standard deviation of log length from a head's raw second output; the same in training and in service."""
    return torch.exp(raw.clamp(*_LOG_SPREAD_RANGE))


def log_expected(mean: Tensor, spread: Tensor) -> Tensor:
    """The logarithm of the expected length of a log-normal one: ``mean + spread^2 / 2``."""
    return mean + 0.5 * spread * spread


def log_normal(mean: Tensor, spread: Tensor, log_tokens: Tensor, complete: Tensor) -> Tensor:
    """Negative log-likelihood of log-normal lengths; a cut row counts by the probability of being longer still.

        complete:  log spread + z^2 / 2 + log(2 pi) / 2,   z = (log tokens - mean) / spread
        cut:       -log Phi(-z)

    Args:
        mean: expected log length less its group's median, which is also the score, [n].
        spread: standard deviation of log length, above 0, [n].
        log_tokens: log length, or of its lower bound, less the same median, [n].
        complete: [n].

    Returns:
        The mean over rows, a scalar.
    """
    z = (log_tokens - mean) / spread
    ended = torch.log(spread) + 0.5 * z * z + 0.5 * math.log(2 * math.pi)
    return torch.where(complete, ended, -torch.special.log_ndtr(-z)).mean()


def likely_longer(mean: Tensor, spread: Tensor, longer: Tensor) -> Tensor:
    """How unlikely the known pairs are, where each length has its own log-normal distribution.

    The probability that i is longer than j is Phi(z), z = (mean_i - mean_j) / sqrt(spread_i^2 + spread_j^2). The loss
    is the mean of ``log(1 + exp(-1.702 z))`` over known pairs: the logistic function stands in for Phi, since its
    gradient neither vanishes nor runs away. Beside ``log_normal`` it has no scale of its own to be chosen.

    Args:
        mean: [n], as ``log_normal`` takes it.
        spread: [n], above 0.
        longer: [n, n] of ``known_longer``.

    Returns:
        A scalar; 0 where no order is known.
    """
    square = spread * spread
    z = (mean[:, None] - mean[None, :]) * torch.rsqrt(square[:, None] + square[None, :])
    return _pairs(_LOGISTIC_PER_NORMAL * z, longer)
