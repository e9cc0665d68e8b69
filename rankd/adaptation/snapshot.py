"""What was learned as columns of numbers and plain values, for the snapshot: weights alone, never what from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.experts import Expert, Shares
from rankd.adaptation.features import MOST_DENSE, NUMBERS
from rankd.adaptation.head import Head
from rankd.adaptation.learner import Learned
from rankd.adaptation.plausible import bounds, count, weights
from rankd.adaptation.proof import Proof
from rankd.adaptation.rows import COLUMNS
from rankd.quality.serialise import moment

Columns = dict[str, NDArray[Any]]
Scalars = dict[str, Any]

_PROOF = "proof_"


def save_learned(learned: Learned) -> tuple[Columns, Scalars]:
    """The combination of all experts, and how much each counts: enough to predict at once and to learn on."""
    scalars: Scalars = {"completions": learned.completions, "beside": learned.beside}
    if learned.head is None:
        return {}, scalars
    head, score = learned.head, learned.heads[Expert.SCORE]
    bounds = head.low, head.high
    linear = np.array([head.intercept, head.slope, score.intercept, score.slope, *bounds, *head.numbers])
    columns = {
        "linear": linear,
        "dense": head.dense.astype(np.float64),
        "buckets": head.buckets.astype(np.float64),
        "losses": np.array([*learned.shares.losses, learned.shares.weight]),
    }
    return columns, scalars


def restore_learned(columns: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any]) -> Learned:
    """Take over what ``save_learned`` gave. Raises ValueError or KeyError where it cannot have."""
    completions, beside = count(scalars["completions"]), scalars["beside"]
    if not isinstance(beside, float) or not math.isfinite(beside):
        raise ValueError("beside: a finite number is expected")
    if "linear" not in columns:
        return Learned((), Shares.start(), None, 0, 0.0)
    linear, dense, buckets, losses = (_column(columns[name]) for name in ("linear", "dense", "buckets", "losses"))
    if len(linear) != 6 + NUMBERS or len(dense) > MOST_DENSE or len(buckets) not in (0, COLUMNS):
        raise ValueError("weights: another number is expected")
    weights(np.concatenate([linear, dense, buckets, [beside]]))
    if len(losses) != len(Expert) + 1 or losses.min() < 0:
        raise ValueError("losses: one for each expert is expected, not below 0")
    numbers, dense_weights, bucket_weights = (part.astype(np.float32) for part in (linear[6:], dense, buckets))
    low, high = bounds(float(linear[4]), float(linear[5]))
    head = Head(float(linear[0]), float(linear[1]), numbers, dense_weights, bucket_weights, low, high)
    score = Head.affine(float(linear[2]), float(linear[3])).bounded(low, high)
    return Learned(
        (score, score, head, head, head), Shares(losses[:-1].copy(), float(losses[-1])), head, completions, beside
    )


def save_proof(proof: Proof, ahead: float) -> tuple[Columns, Scalars]:
    """The proof's part; its times ``ahead`` seconds later."""
    saved = proof.save()
    for name in ("since", "after"):
        if saved[name] is not None:
            saved[name] += ahead
    saved["arrival"] = saved["arrival"] + ahead
    columns = {_PROOF + name: value for name, value in saved.items() if isinstance(value, np.ndarray)}
    return columns, {name: value for name, value in saved.items() if not isinstance(value, np.ndarray)}


def restore_proof(
    proof: Proof, columns: Mapping[str, NDArray[Any]], scalars: Mapping[str, Any], now: float, ahead: float
) -> Proof:
    """Let a proof take over what ``save_proof`` gave. Raises ValueError or KeyError where it cannot have."""
    own = {name.removeprefix(_PROOF): _column(value) for name, value in columns.items() if name.startswith(_PROOF)}
    times = {name: scalars[name] for name in ("since", "after")}
    times = {name: None if at is None else min(moment(at) - ahead, now) for name, at in times.items()}
    own["arrival"] = np.minimum(own["arrival"] - ahead, now)
    try:
        proof.restore({**scalars, **own, **times})
    except TypeError as error:
        raise ValueError("proof: what was saved cannot be") from error
    return proof


def _column(values: NDArray[Any]) -> NDArray[np.float64]:
    found = np.asarray(values)
    if found.dtype != np.float64 or found.ndim != 1 or not np.isfinite(found).all():
        raise ValueError("a column of finite numbers is expected")
    return found
