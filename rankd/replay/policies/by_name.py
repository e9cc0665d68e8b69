"""Policies by name, and one call that replays a trace under one of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from rankd_client.calibration import Calibration
from rankd_client.ordering import Policy
from rankd_client.ordering.objectives import PATIENT

from rankd.errors import ConfigError
from rankd.replay.engine import engine
from rankd.replay.engine.cost import EngineCost, true_prompt_cost
from rankd.replay.engine.engine import SimulationResult
from rankd.replay.policies.baselines import Boost, FixedKey, KeyOrder, ShortestRemaining
from rankd.replay.policies.daemon import OracleScores, PromptsAlone, RankdOrder
from rankd.replay.policies.learner import Learner, TailInflated
from rankd.replay.policies.paper import PaperOrder
from rankd.replay.policies.traffic import LearnedTraffic, ReplayedTraffic
from rankd.replay.policies.uniboost import UniBoost
from rankd.replay.trace.trace import Floats, Trace
from rankd.settings import OrderSection, Settings

OBJECTIVES: dict[str, str] = {
    "tail": "the daemon's order for the objective tail: shorter waits, the slowest hundredth hardly later",
    "balanced": "for balanced, the default: most of the gain, the slowest hundredth somewhat later",
    "mean": "for mean: the shortest mean, with a cap on how much longer anybody waits",
    "slo": "for slo: the shortest mean that keeps the target order.slo",
    "makespan": "for makespan: longest expected work first, so that the whole of a batch is done soonest",
    "first": "for first: least expected work first, so that the first of a batch are done soonest",
}
"""The daemon's orders by what they are for, whatever objective is configured."""
POLICIES: dict[str, str] = {
    "fcfs": "first come, first served; tenants and classes do not count",
    "boost": "the default, for the configured objective: earliest arrival + patience * M * ln(W / M), W expected work, "
    "M its mean, patience tuned, trusted; boost:THETA fixes it",
    "due": "earliest arrival + patience * W, the same patience; due:THETA fixes it",
    **OBJECTIVES,
    "aged": "largest wait / W ^ GAMMA, aged:GAMMA; default 1, highest response ratio next",
    "score": "least expected work first, guarded",
    "score-cap": "score, and who waited for longer than SHARE times the backlog's drain time goes first; default 1",
    "longest": "most expected work first, guarded",
    "fair": "first come, first served within classes and tenants' fair shares",
    "work": "least expected work first, without guard and bounds: how far a ranker of this quality could go",
    "prompt-work": "the daemon's order by the work of prompts alone, as of a ranker that is found to be of no use",
    "paper": "lowest score first among waiting and running, with the paper's starvation rule; no guard",
    "uniboost": "arrival less a boost by uncached prompt tokens, no predictions; gamma adapts, uniboost:GAMMA fixes it",
    "prefill": "fewest uncached prompt tokens first, no predictions",
    "tie": "least expected length and upper tail of it first, prompts not counted; no guard",
    "unaware": "no predictions: new requests go first until they turn out to be long (gamma-Boost by tokens so far)",
    "oracle": "score with true lengths, and the engine's true cost of prompts",
    "oracle-boost": "boost with the same; oracle-boost:THETA fixes the patience",
    "oracle-due": "due with the same; oracle-due:THETA fixes the patience",
    "oracle-longest": "most true work first",
    "sjf": "least true work first, as theory has it",
    "srpt": "least remaining true work first, taking slots away",
}
"""All. Work is output tokens, and uncached prompt tokens at what each costs the engine beside one.

What a ranker could do at best is least true work first: true lengths, and true costs (``true_prompt_cost``). Shortest
true output first is no bound where prompts take time: it can be worse than what is known of prompts alone.
"""
_TAKES_NUMBER = frozenset({"boost", "due", "oracle-boost", "aged", "score-cap", "oracle-due", "uniboost"})
_UNSCORED = frozenset(
    {
        "fcfs", "fair", "prompt-work", "uniboost", "prefill", "unaware",
        "oracle", "oracle-boost", "oracle-due", "oracle-longest", "sjf", "srpt",
    }
)  # fmt: skip
_FOLLOWS = {"score-cap": "score", "work": "score", "tie": "score", "oracle": "score", "fair": "fcfs"}
"""Whose rules some follow, where that is not what they are called."""
_UNBOUNDED: dict[str, object] = {"wait_cap": 0.0, "wait_cap_backlog_share": 0.0, "overtake_cap": 0, "risk": 0.0}


@dataclass(frozen=True, slots=True)
class RankerPrior:
    """What is known of a ranker before the first completion."""

    prior: Calibration | None = None
    """The calibration of its manifest."""
    measured: bool = True
    """Whether its manifest carries a measured tau, so that it is trusted until found bad."""
    learns: bool = False
    """Whether traffic is learned beside it, where the trace has what predictions carry."""


@dataclass(frozen=True, slots=True)
class ReplayedPolicy:
    """One trace under one policy."""

    policy: str
    result: SimulationResult
    guard_history: list[tuple[float, float | None, float]] = field(default_factory=list)
    """Of every look of the guard: seconds, the lower bound of tau, and the trust after it."""
    prompt_cost: float | None = None
    """What an uncached prompt token counted for in the end, in output tokens; None where work is not ordered by."""
    learned: LearnedTraffic | None = None
    """What was learned of the traffic; None where nothing was to be."""


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
        least = 1e-6 if kind == "uniboost" else 0.0
        if not least <= value <= 1e6:
            raise ConfigError(f"--policies: {name!r} needs a number from {least:g} to 1,000,000 after the colon")
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
        ConfigError: no such policy, or one that needs scores, or a setting, where there are none.
        ValueError: the engine's memory cannot hold the largest request.
    """
    check_policy(policy)
    if scores is None:
        if needs_scores(policy):
            raise ConfigError(f"{policy} needs scores: give --tau, or a trace with `score` or `prompt`")
        scores = np.full(len(trace), np.nan)
    settings = settings or Settings()
    order, learner = _order(trace, scores, policy, cost, settings, ranker or RankerPrior())
    result = engine.run(trace, order, cost, on_progress)
    prompt_cost = order.rules.prompt_cost if isinstance(order, RankdOrder) else None
    if learner is None:
        return ReplayedPolicy(policy, result, prompt_cost=prompt_cost)
    return ReplayedPolicy(policy, result, learner.guard_history, prompt_cost, learner.learned)


def _order(
    trace: Trace, scores: Floats, policy: str, cost: EngineCost, settings: Settings, ranker: RankerPrior
) -> tuple[engine.ServingOrder, Learner | None]:
    kind, _, number = policy.partition(":")
    true_cost = true_prompt_cost(trace, cost)
    plain: dict[str, Callable[[], engine.ServingOrder]] = {
        "fcfs": lambda: KeyOrder(trace),
        "sjf": lambda: FixedKey(trace, trace.output + true_cost * trace.uncached),
        "srpt": lambda: ShortestRemaining(trace, true_cost),
        "prefill": lambda: FixedKey(trace, trace.uncached.astype(np.float64)),
        "paper": lambda: PaperOrder(trace, scores),
        "uniboost": lambda: UniBoost(trace, cost, float(number) if number else None),
        "unaware": lambda: Boost(trace, cost.base + cost.per_sequence * cost.slots),
    }
    if kind in plain:
        return plain[kind](), None
    order, asked = _order_settings(kind, number, settings.order, true_cost)
    if kind.startswith("oracle") or kind == "fair":
        scores = trace.output.astype(np.float64)
        return RankdOrder(trace, scores, OracleScores(trace, order), order, asked), None
    if kind == "prompt-work":
        return RankdOrder(trace, scores, PromptsAlone(trace, order), order, asked), None
    changes: dict[str, object] = {"order": order}
    if kind in ("work", "tie"):
        changes["guard"] = settings.guard.model_copy(update={"enabled": False})
    learns = TailInflated if kind == "tie" else Learner
    own = settings.model_copy(update=changes)
    traffic = None
    if ranker.learns and kind != "tie" and trace.features is not None and settings.adapt.enabled:
        traffic = ReplayedTraffic(trace, trace.features, scores, settings.adapt)
    learner = learns(trace, scores, own, prior=ranker.prior, measured=ranker.measured, traffic=traffic)
    return RankdOrder(trace, scores, learner, order, asked), learner


def _order_settings(
    kind: str, number: str, order: OrderSection, true_cost: float
) -> tuple[OrderSection, Policy | None]:
    """The daemon's settings under a policy of its own, and what policy its callers ask for; None: they ask for none.

    Raises:
        ConfigError: the objective needs a setting that is not made.
    """
    asked: Policy | None = None
    if kind in OBJECTIVES or kind == "prompt-work":
        changes = _for_objective(kind, order)
    elif (follows := _FOLLOWS.get(kind, kind.removeprefix("oracle-"))) == "longest":
        changes, asked = {}, Policy.LONGEST
    else:
        changes = {"policy": follows}
        if number and follows in ("boost", "due"):
            changes |= {"patience_per_token": float(number), "patience_backlog_share": 0.0, "tune_every": 0}
            asked = Policy(follows)
    own: dict[str, dict[str, object]] = {
        "aged": {"age_exponent": float(number or 1.0)},
        "score-cap": {"wait_cap_backlog_share": float(number or 1.0)},
        "work": _UNBOUNDED,
        "tie": _UNBOUNDED | {"prompt_cost": 0.0},
    }
    changes |= own.get(kind, {"prompt_cost": true_cost} if kind.startswith("oracle") else {})
    return order.model_copy(update=changes), asked


def _for_objective(kind: str, order: OrderSection) -> dict[str, object]:
    if kind == "slo" and not order.slo:
        raise ConfigError("slo needs a target: set RANKD_ORDER__SLO (order.slo), such as '99 % within 30 s'")
    changes: dict[str, object] = {"objective": kind} if kind in OBJECTIVES else {}
    return changes if Policy(order.policy) in PATIENT else changes | {"policy": Policy.BOOST.value}
