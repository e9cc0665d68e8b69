"""How long ordering takes: ``python -m benchmarks.ordering_cost``. The best of some runs, on made-up queues."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from rankd_client.ordering import ClassPolicy, OrderColumns, Policy, Rules, WaitingQueue, order_queue

_NOW = 1.7e9
_POPS = 1000


def queue_of(n: int, *, full: bool) -> OrderColumns:
    """A queue of n requests; a full one has something to say to every rule."""
    rng = np.random.default_rng(0)
    queue = OrderColumns(
        [f"{v:016x}" for v in rng.integers(1 << 62, size=n).tolist()],
        _NOW - rng.uniform(0, 100, n),
        rng.normal(size=n),
        rng.lognormal(5, 1, n),
    )
    if not full:
        return queue
    return replace(
        queue,
        p90=rng.lognormal(6, 1, n),
        generated=np.zeros(n),
        max_tokens=np.full(n, 512.0),
        deadline=_NOW + rng.uniform(0, 800, n),
        priority_class=rng.integers(-1, 2, n),
        tenant=[f"t{v}" for v in rng.integers(20, size=n).tolist()],
        prompt_tokens=(prompt := rng.uniform(1, 999, n)),
        cached_prompt_tokens=rng.uniform(0, 1, n) * prompt,
    )


def best(work: Callable[[], object], runs: int = 7) -> float:
    """Seconds of the fastest run."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


def main() -> int:
    """Print three tables."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.ordering_cost", description=__doc__.partition(":")[0]
    ).parse_args()
    plain = Rules(prior_expected=200.0)
    every = replace(plain, risk=0.2, wait_cap=95.0, pace=0.02, prompt_cost=0.26, mean_work=330.0, prompt_pace=0.001)
    own = replace(every, class_policies=(ClassPolicy(-1, Policy.SCORE, 0.0), ClassPolicy(1, Policy.LONGEST, 0.0)))
    columns = "plain | every rule | and policies of classes | an overtake cap that binds | add one | pop one"
    print(f"| requests | {columns} | pop one, aged |")
    print("|---|---|---|---|---|---|---|---|")
    for n in (1000, 10_000):
        queue, full = queue_of(n, full=False), queue_of(n, full=True)
        cells = [
            f"{1e3 * best(lambda q=q, r=r: order_queue(q, r, now=_NOW)):.2f} ms"  # type: ignore[misc]
            for q, r in ((queue, plain), (full, every), (full, own), (full, replace(every, overtake_cap=20)))
        ]
        add, pop = _one_by_one(queue, plain)
        aged = _one_by_one(queue, replace(plain, policy=Policy.AGED))[1]
        cells += [f"{1e6 * seconds:.0f} us" for seconds in (add, pop, aged)]
        print(f"| {n:,} | " + " | ".join(cells) + " |")
    print("\n| 10,000 by work | milliseconds |\n|---|---|")
    work = replace(plain, prompt_cost=0.26, mean_work=330.0)
    queue = replace(queue_of(10_000, full=True), tenant=None, priority_class=None, deadline=None)
    for name, rules in [(p.value, replace(work, policy=p)) for p in Policy] + [
        ("boost, prompts alone", replace(work, ignore_lengths=True))
    ]:
        print(f"| {name} | {1e3 * best(lambda r=rules, q=queue: order_queue(q, r, now=_NOW)):.2f} |")  # type: ignore[misc]
    print("\n| 10,000 in order of arrival, so many at a time | plain |")
    print("|---|---|")
    for together in (1, 2, 50, 10_000):
        queue = _arrivals(10_000, together)
        seconds = best(lambda q=queue: order_queue(q, Rules(Policy.FCFS)))  # type: ignore[misc]
        print(f"| {together:,} | {1e3 * seconds:.2f} ms |")
    return 0


def _arrivals(n: int, together: int) -> OrderColumns:
    """A queue without scores, of which so many arrive at each moment."""
    ids = [f"{v:016x}" for v in np.random.default_rng(0).integers(1 << 62, size=n).tolist()]
    unknown = np.full(n, np.nan)
    return OrderColumns(ids, (_NOW + np.arange(n) // together).astype(np.float64), unknown, unknown)


def _one_by_one(queue: OrderColumns, rules: Rules) -> tuple[float, float]:
    """Seconds to add a request to a waiting queue, and to pop one."""
    waiting = WaitingQueue(rules)
    columns = zip(queue.request_ids, queue.arrival.tolist(), queue.expected.tolist(), strict=True)
    began = time.perf_counter()
    for request_id, arrival, expected in columns:
        waiting.add(request_id, arrival, score=expected, expected=expected)
        if len(waiting) == 1:
            waiting.peek(_NOW)  # from here on keys are made as requests join
    added = time.perf_counter()
    for _ in range(_POPS):
        waiting.pop(_NOW)
    return (added - began) / len(queue), (time.perf_counter() - added) / _POPS


if __name__ == "__main__":
    sys.exit(main())
