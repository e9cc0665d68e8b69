"""Figures of a replay: latencies, how soon the first ones are done, and who pays for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rankd_client.ordering import LatencyTarget

from rankd.replay.policies.by_name import ReplayedPolicy
from rankd.replay.trace.trace import Floats, Ints, Trace

LENGTH_CLASSES = ("shortest quarter", "second quarter", "third quarter", "longest quarter")
FIRST_SHARES = (0.1, 0.25, 0.5, 0.9)


@dataclass(frozen=True, slots=True)
class LatencySpread:
    """Seconds."""

    mean: float
    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class RequestGroup:
    """Requests of one tenant, class, or quarter of true lengths; latencies in seconds."""

    name: str
    requests: int
    mean: float
    p99: float
    mean_of_fcfs: float
    """This mean as a share of FCFS's: 1 is no change, below is better."""
    p99_of_fcfs: float


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """One policy on one trace."""

    policy: str
    requests: int
    latency: LatencySpread
    """From arrival to the last token."""
    wait: LatencySpread
    """From arrival to the first slot."""
    first_token: LatencySpread
    """From arrival to the first token."""
    per_token: LatencySpread
    """Latency over output tokens, seconds per token: the paper's measure."""
    first_done: dict[int, float]
    """Seconds until so many requests were done, from the first arrival on."""
    makespan: float
    """Seconds until all were done, from the first arrival on."""
    tokens_per_second: float
    preempted: int
    """Slots that were taken away."""
    gain: float | None
    """Share of the mean latency that true lengths would save, against FCFS; None where nothing could be saved."""
    tau_low: float | None
    """The last lower bound of live tau that the guard saw; None where there was no evidence."""
    trust: float | None
    """The last trust in the ranker; None where the policy has no guard."""
    prompt_cost: float | None
    """What an uncached prompt token counted for in the end, in output tokens; None where work is not ordered by."""
    slo_share: float | None
    """Share of the requests within the target; None where there is none."""
    tenants: tuple[RequestGroup, ...]
    classes: tuple[RequestGroup, ...]
    lengths: tuple[RequestGroup, ...]
    """Quarters of true length."""
    prompts: tuple[RequestGroup, ...]
    """Quarters of prompt length, cached tokens included."""


def spread(values: Floats) -> LatencySpread:
    """Mean, quantiles and maximum."""
    p50, p90, p99 = np.quantile(values, (0.5, 0.9, 0.99)).tolist()
    return LatencySpread(float(values.mean()), p50, p90, p99, float(values.max()))


def latency(replayed: ReplayedPolicy) -> Floats:
    """Seconds from arrival to the last token, [n]."""
    return replayed.result.finish - replayed.result.arrival


def figures(
    trace: Trace,
    replayed: ReplayedPolicy,
    fcfs: ReplayedPolicy,
    oracle: ReplayedPolicy | None = None,
    target: LatencyTarget | None = None,
) -> PolicyFigures:
    """All figures of one policy.

    Args:
        trace: what was replayed.
        replayed: under the policy.
        fcfs: the same trace under FCFS.
        oracle: the same under true lengths; None leaves ``gain`` out.
        target: what share of the requests is to be done within what time; None leaves ``slo_share`` out.
    """
    result, own, base = replayed.result, latency(replayed), latency(fcfs)
    finished = np.sort(result.finish)
    counts = {max(1, round(share * len(trace))) for share in FIRST_SHARES} | ({1000} if len(trace) >= 1000 else set())
    span = float(finished[-1] - trace.arrival[0])
    history = replayed.guard_history
    first_token = result.first_token - result.arrival
    return PolicyFigures(
        policy=replayed.policy,
        requests=len(trace),
        latency=spread(own),
        wait=spread(result.start - result.arrival),
        first_token=spread(first_token),
        per_token=spread(own / trace.output),
        first_done={n: float(finished[n - 1] - trace.arrival[0]) for n in sorted(counts)},
        makespan=span,
        tokens_per_second=float(trace.output.sum()) / span if span > 0 else 0.0,
        preempted=int(result.preempted.sum()),
        gain=None if oracle is None else gain(own, base, latency(oracle)),
        tau_low=history[-1][1] if history else None,
        trust=history[-1][2] if history else None,
        prompt_cost=replayed.prompt_cost,
        slo_share=None if target is None else share_within(target, own, first_token),
        tenants=() if trace.tenant is None else _groups(trace.tenant, trace.tenants, own, base),
        classes=() if trace.priority_class is None else _classes(trace.priority_class, own, base),
        lengths=_groups(length_quarters(trace.output), LENGTH_CLASSES, own, base),
        prompts=_groups(length_quarters(trace.prompt), LENGTH_CLASSES, own, base),
    )


def share_within(target: LatencyTarget, latencies: Floats, first_token: Floats) -> float:
    """Share of the requests that a target is kept for."""
    return float(((first_token if target.first_token else latencies) <= target.seconds).mean())


LEAST_GAIN = 0.005
"""Share of FCFS's mean below which what true lengths would save is nothing, and a share of it says nothing."""


def gain(own: Floats, fcfs: Floats, oracle: Floats) -> float | None:
    """Share of the oracle's saving in mean latency; None where that is nothing."""
    most = float(fcfs.mean() - oracle.mean())
    return float(fcfs.mean() - own.mean()) / most if most > LEAST_GAIN * fcfs.mean() else None


def length_quarters(tokens: Ints) -> Ints:
    """The quarter, 0 to 3, that each length is in; equal lengths are in the same."""
    edges = np.quantile(tokens, (0.25, 0.5, 0.75))
    return np.searchsorted(edges, tokens, side="left").astype(np.int64)


def _classes(values: Ints, own: Floats, base: Floats) -> tuple[RequestGroup, ...]:
    names, codes = np.unique(values, return_inverse=True)
    return _groups(codes.astype(np.int64), [f"class {name}" for name in names.tolist()], own, base)


def _groups(codes: Ints, names: tuple[str, ...] | list[str], own: Floats, base: Floats) -> tuple[RequestGroup, ...]:
    groups = []
    for code, name in enumerate(names):
        mine = codes == code
        if not mine.any():
            continue
        mean, p99 = float(own[mine].mean()), float(np.quantile(own[mine], 0.99))
        before, before_p99 = float(base[mine].mean()), float(np.quantile(base[mine], 0.99))
        groups.append(RequestGroup(name, int(mine.sum()), mean, p99, mean / before, p99 / before_p99))
    return tuple(groups)
