"""Policies by name, and one call that replays a trace under one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from rankd_client.calibration import Calibration
from rankd_client.ordering import Policy

from rankd.errors import ConfigError
from rankd.replay.engine import engine
from rankd.replay.engine.cost import EngineCost
from rankd.replay.engine.engine import SimulationResult
from rankd.replay.policies.baselines import Boost, FixedKey, KeyOrder, ShortestRemaining
from rankd.replay.policies.daemon import KnownLengths, OracleScores, RankdOrder
from rankd.replay.policies.learner import Learner
from rankd.replay.policies.paper import PaperOrder
from rankd.replay.trace.trace import Floats, Trace
from rankd.settings import Settings

POLICIES: dict[str, str] = {
    "fcfs": "first come, first served; tenants and classes do not count",
    "boost": "the default: earliest arrival + patience * M * ln(E / M), patience tuned, trusted; boost:THETA fixes it",
    "due": "earliest arrival + patience * E, the same patience; due:THETA fixes it",
    "aged": "largest wait / E ^ GAMMA, aged:GAMMA; default 1, highest response ratio next",
    "score": "lowest expected length first, guarded",
    "score-cap": "score, and who waited for longer than SHARE times the backlog's drain time goes first; default 1",
    "fair": "first come, first served within classes and tenants' fair shares",
    "paper": "lowest score first among waiting and running, with the paper's starvation rule; no guard",
    "unaware": "no predictions: new requests go first until they turn out to be long (gamma-Boost by tokens so far)",
    "oracle": "score with true lengths",
    "oracle-boost": "boost with true lengths; oracle-boost:THETA fixes the patience",
    "oracle-due": "due with true lengths; oracle-due:THETA fixes the patience",
    "sjf": "shortest true length first, as theory has it",
    "srpt": "shortest remaining true length first, taking slots away",
}
DEFAULT = ("fcfs", "boost", "due", "aged", "score", "paper", "unaware", "oracle")
_TAKES_NUMBER = frozenset({"boost", "due", "oracle-boost", "aged", "score-cap", "oracle-due"})
_UNSCORED = frozenset({"fcfs", "fair", "unaware", "oracle", "oracle-boost", "oracle-due", "sjf", "srpt"})


@dataclass(frozen=True, slots=True)
class RankerPrior:
    """What is known of a ranker before the first completion."""

    prior: Calibration | None = None
    """The calibration of its manifest."""
    measured: bool = True
    """Whether its manifest carries a measured tau, so that it is trusted until found bad."""


@dataclass(frozen=True, slots=True)
class ReplayedPolicy:
    """One trace under one policy."""

    policy: str
    result: SimulationResult
    guard_history: list[tuple[float, float | None, float]] = field(default_factory=list)
    """Of every look of the guard: seconds, the lower bound of tau, and the trust after it."""


def check_policy(name: str) -> str:
    """The name, if it is a policy's.

    Raises:
        ConfigError: it is none; the message lists them.
    """
    kind, _, number = name.partition(":")
    if kind not in POLICIES or (number and kind not in _TAKES_NUMBER):
        raise ConfigError(f"--policies: {name!r} is no policy; there are {', '.join(POLICIES)}")
    if ":" in name:
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1e6:
            raise ConfigError(f"--policies: {name!r} needs a number from 0 to 1,000,000 after the colon")
    return name


def needs_scores(name: str) -> bool:
    """Whether a policy orders by a ranker's scores."""
    return name.partition(":")[0] not in _UNSCORED


def simulate(
    trace: Trace,
    scores: Floats | None,
    policy: str,
    cost: EngineCost,
    *,
    settings: Settings | None = None,
    ranker: RankerPrior | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> ReplayedPolicy:
    """Replay a trace under a policy.

    Args:
        trace: the trace.
        scores: a ranker's, [n]; NaN is none. May be None for policies without predictions.
        policy: a name of ``POLICIES``, with ``:NUMBER`` where it takes one.
        cost: the engine.
        settings: the daemon's; default the defaults.
        ranker: what is known of the ranker beforehand.
        on_progress: called with how many requests are done, now and then.

    Raises:
        ConfigError: no such policy, or one that needs scores where there are none.
        ValueError: the engine's memory cannot hold the largest request.
    """
    check_policy(policy)
    if scores is None:
        if needs_scores(policy):
            raise ConfigError(f"{policy} needs scores: give --tau, or a trace with `score` or `prompt`")
        scores = np.full(len(trace), np.nan)
    settings = settings or Settings()
    order, guard_history = _order(trace, scores, policy, cost, settings, ranker or RankerPrior())
    return ReplayedPolicy(policy, engine.run(trace, order, cost, on_progress), guard_history)


def _order(
    trace: Trace, scores: Floats, policy: str, cost: EngineCost, settings: Settings, ranker: RankerPrior
) -> tuple[engine.ServingOrder, list[tuple[float, float | None, float]]]:
    kind, _, number = policy.partition(":")
    plain: dict[str, Callable[[], engine.ServingOrder]] = {
        "fcfs": lambda: KeyOrder(trace),
        "sjf": lambda: FixedKey(trace, trace.output.astype(np.float64)),
        "srpt": lambda: ShortestRemaining(trace),
        "paper": lambda: PaperOrder(trace, scores),
        "unaware": lambda: Boost(trace, cost.base + cost.per_sequence * cost.slots),
    }
    if kind in plain:
        return plain[kind](), []
    follows = {"score-cap": "score", "oracle": "score", "fair": "fcfs"}.get(kind, kind.removeprefix("oracle-"))
    changes: dict[str, object] = {"policy": follows}
    if number and follows in ("boost", "due"):
        changes |= {"patience_per_token": float(number), "patience_backlog_share": 0.0, "tune_every": 0}
    elif kind == "aged":
        changes |= {"age_exponent": float(number or 1.0)}
    elif kind == "score-cap":
        changes |= {"wait_cap_backlog_share": float(number or 1.0)}
    order = settings.order.model_copy(update=changes)
    lengths: KnownLengths
    if kind.startswith("oracle") or kind == "fair":
        lengths, guard_history = OracleScores(trace, order), []
        scores = trace.output.astype(np.float64)
    else:
        settings = settings.model_copy(update={"order": order})
        learner = Learner(trace, scores, settings, prior=ranker.prior, measured=ranker.measured)
        lengths, guard_history = learner, learner.guard_history
    return RankdOrder(trace, scores, lengths, order, Policy(follows)), guard_history
