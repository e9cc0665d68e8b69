"""More arrives than can be served, and requests have deadlines: who is served in time. Part of the study."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable

import numpy as np
from rankd_client.calibration import fit_monotone
from rankd_client.ordering import Policy, Rules, WaitingQueue

from rankd.replay.engine.cost import at_load, step_cost
from rankd.replay.policies.synthetic_scores import scores_of_tau
from rankd.replay.trace.trace import Floats, Trace

PATIENCE = 0.5
"""Seconds per token; more is nearer to shortest first."""


def in_time(
    trace: Trace, expected: Floats, deadline: Floats, rules: Rules, slots: int, *, deadlines_known: bool
) -> float:
    """Share of requests that end by their deadline, a token a second and slot.

    Args:
        trace: the requests.
        expected: lengths to order by, [n].
        deadline: seconds, [n].
        rules: the policy.
        slots: requests that run at once.
        deadlines_known: whether the queue knows the deadlines.
    """
    arrival, output = trace.arrival.tolist(), trace.output.tolist()
    queue, running, come, done = WaitingQueue(rules), list[tuple[float, int]](), 0, 0
    while come < len(arrival) or running:
        if come < len(arrival) and (not running or arrival[come] <= running[0][0]):
            now, length = arrival[come], float(expected[come])
            limit = float(deadline[come]) if deadlines_known else math.inf
            queue.add(str(come), now, score=length, expected=length, deadline=limit)
            come += 1
        else:
            now, who = heapq.heappop(running)
            done += now <= deadline[who]
        while len(queue) and len(running) < slots:
            who = int(queue.pop(now))
            heapq.heappush(running, (now + output[who], who))
    return done / len(arrival)


def overload(traces: Iterable[tuple[str, Trace]], slots: int, loads: Iterable[float] = (1.1, 1.3)) -> str:
    """A table: share served in time under each policy, deadlines 15 times the mean length after arrival."""
    lines = [
        "| trace | load | arrival order | boost, deadlines not told | boost | shortest first | with true lengths |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, given in traces:
        for load in loads:
            trace = at_load(given, step_cost(slots), load)
            output = trace.output.astype(np.float64)
            scores = scores_of_tau(trace.output, 0.55)
            fit = fit_monotone(scores, trace.output, np.ones(len(trace), dtype=np.bool_))
            expected, deadline = fit.expected(scores), trace.arrival + 15 * output.mean()
            boost = Rules(Policy.BOOST, patience=PATIENCE, prior_expected=fit.mean_expected, pace=1.0)
            score = Rules(Policy.SCORE, pace=1.0)
            runs = (
                (expected, Rules(Policy.FCFS), False),
                (expected, boost, False),
                (expected, boost, True),
                (expected, score, True),
                (output, score, True),
            )
            shares = [
                in_time(trace, lengths, deadline, rules, slots, deadlines_known=known) for lengths, rules, known in runs
            ]
            lines.append(f"| {name} | {load:g} | " + " | ".join(f"{s:.0%}" for s in shares) + " |")
    return "\n".join(lines)
