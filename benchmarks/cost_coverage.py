"""Coverage of the intervals of learned costs: ``python -m benchmarks.cost_coverage [RUNS]`` (minutes at 400).

Each run serves made-up requests on an engine of which the costs are known to the last digit, and learns them from its
completions. Prints the table of docs/science/work.md.
"""

from __future__ import annotations

import argparse
import heapq
import sys
from collections import deque
from dataclasses import dataclass

import numpy as np
from rankd_client.ordering import CostEstimate, ServedRequest, ServedRequests, fit_costs

PROMPT, OUTPUT, REQUEST = 1e-4, 0.02, 0.05
"""Seconds per prompt token, per output token, and per request."""
_MEMORY = 0.9
"""Correlation of the engine's pace from one 50 tokens to the next."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What an engine serves."""

    name: str
    requests: int = 1000
    slots: int = 16
    load: float = 1.1
    """Of the slots; above 1 a queue builds up."""
    prompt: float = 1500.0
    """Tokens, mean."""
    noise: float = 0.1
    """Of each run time but for its prompts, standard deviation over mean."""
    drift: float = 0.05
    """Of the logarithm of the engine's pace, standard deviation; neighbours' errors are alike by it."""
    per_prompt_token: float = PROMPT
    """Seconds."""
    counted: float = 1.0
    """Share of requests whose prompts are reported."""


TRAFFIC = (
    Traffic("queue"),
    Traffic("queue, 300 requests", requests=300),
    Traffic("queue, little noise", noise=0.02, drift=0.0),
    Traffic("queue, much noise", noise=0.3),
    Traffic("queue, pace drifts", drift=0.15),
    Traffic("no queue", load=0.6),
    Traffic("64 slots", slots=64, prompt=400.0, requests=2000),
    Traffic("one slot", slots=1, load=0.9),
    Traffic("prompts cost nothing", per_prompt_token=0.0),
    Traffic("9 of 10 prompts counted", counted=0.9),
    Traffic("half of prompts counted", counted=0.5),
)


def serve(traffic: Traffic, rng: np.random.Generator) -> ServedRequests:
    """Completions of an engine that lets all who run wait while it reads a prompt, first come first served."""
    n = traffic.requests
    prompt = np.ceil(rng.lognormal(-0.32, 0.8, n) * traffic.prompt)
    output = np.ceil(rng.lognormal(-0.32, 0.8, n) * 200)
    tokens = (output + REQUEST / OUTPUT) * np.clip(1 + traffic.noise * rng.standard_normal(n), 0.1, 1.9)
    seconds = OUTPUT * tokens / traffic.slots + traffic.per_prompt_token * prompt
    arrival = np.cumsum(rng.exponential(float(seconds.mean()) / traffic.load, n))
    clock = _Pace(traffic, float(tokens.sum()), rng)
    start, end = np.zeros(n), np.zeros(n)
    running: list[tuple[float, int]] = []
    waiting: deque[int] = deque()
    now = at = 0.0
    come = 0
    while come < n or running:
        ends = clock.after(now, at, running[0][0]) if running else np.inf
        if come < n and arrival[come] <= max(now, ends):
            if arrival[come] > now:
                at = clock.at(now, at, arrival[come])
                now = float(arrival[come])
            waiting.append(come)
            come += 1
        else:
            now, at = ends, running[0][0]
            end[heapq.heappop(running)[1]] = now
        while waiting and len(running) < traffic.slots:
            request = waiting.popleft()
            start[request] = max(now, arrival[request])
            heapq.heappush(running, (at + tokens[request], request))
            now += traffic.per_prompt_token * prompt[request]
    told = np.where(rng.random(n) < traffic.counted, prompt, np.nan)
    return ServedRequests.of(
        ServedRequest(*row)
        for row in zip(
            *(c.tolist() for c in (arrival, start - arrival, end - start, output, output, told)), strict=True
        )
    )


class _Pace:
    """How long the engine takes from one token of those that run to another; it drifts."""

    def __init__(self, traffic: Traffic, tokens: float, rng: np.random.Generator) -> None:
        steps = int(tokens / 50) + 2
        shocks = rng.standard_normal(steps) * np.sqrt(1 - _MEMORY**2)
        level, levels = float(rng.standard_normal()), []
        for shock in shocks.tolist():
            level = _MEMORY * level + shock
            levels.append(level)
        pace = OUTPUT * np.exp(traffic.drift * np.array(levels) - traffic.drift**2 / 2)
        self._tokens = 50.0 * np.arange(steps + 1)
        self._seconds = np.concatenate(([0.0], np.cumsum(50 * pace)))

    def after(self, now: float, at: float, until: float) -> float:
        """When there are so many tokens."""
        return now + float(np.interp(until, self._tokens, self._seconds) - np.interp(at, self._tokens, self._seconds))

    def at(self, now: float, at: float, then: float) -> float:
        """How many tokens there are at a time."""
        return float(np.interp(np.interp(at, self._tokens, self._seconds) + then - now, self._seconds, self._tokens))


def covers(estimate: CostEstimate, truth: float) -> bool:
    """Whether an interval holds the truth."""
    return estimate.low <= truth <= estimate.high


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost_coverage", description=__doc__.partition(":")[0])
    parser.add_argument("runs", nargs="?", type=int, default=400, help="of each row; default: 400")
    runs = parser.parse_args().runs
    print("| traffic | c_p covered | bias | c_s covered | bias | base covered |\n|---|---|---|---|---|---|")
    for traffic in TRAFFIC:
        rng = np.random.default_rng(7)
        found = [costs for _ in range(runs) if (costs := fit_costs(serve(traffic, rng))) is not None]
        prompts, outputs = [c.per_prompt_token for c in found], [c.per_output_token for c in found]
        cells = (
            f"{np.mean([covers(e, traffic.per_prompt_token) for e in prompts]):.3f}",
            f"{(np.mean([e.value for e in prompts]) - traffic.per_prompt_token) / PROMPT:+.3f}",
            f"{np.mean([covers(e, OUTPUT) for e in outputs]):.3f}",
            f"{np.mean([e.value for e in outputs]) / OUTPUT - 1:+.3f}",
            f"{np.mean([covers(c.per_request, REQUEST) for c in found]):.3f}",
        )
        print(f"| {traffic.name} | {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
