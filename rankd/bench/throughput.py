"""Prompts a second of a saturated daemon, beside loops that do nothing but read: by workers and threads, in one run."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Mapping

from rankd.bench.floor import OfflineLoop
from rankd.bench.process import MeasuredProcess
from rankd.bench.prompts import PromptSupply
from rankd.bench.scenarios import Figures, ProgressCallback, saturate, spread

Loops = Mapping[tuple[int, int], OfflineLoop]
"""By workers and threads of each."""
_COUNT = {"cpu": 1000, "cuda": 100_000}
"""Prompts of a round."""


def loop_shapes(cores: int, threads: int) -> list[tuple[int, int]]:
    """Which loops are run, as workers and threads of each: one, and the ways to use all cores."""
    shapes = [(1, threads), (1, cores), (cores, 1)]
    if cores >= 4:
        shapes.append((cores // 2, 2))
    return sorted(set(shapes))


def throughput(
    daemons: Mapping[str, MeasuredProcess],
    loops: Loops,
    prompts: PromptSupply,
    rounds: int,
    on_progress: ProgressCallback,
) -> Figures:
    """Measure every loop and every daemon, turn about, each over the same new prompts of a round.

    Args:
        daemons: by name; that of the default settings is ``default``.
        loops: which loops.
        prompts: where they come from. Daemons share none of what they have read.
        rounds: how many.
        on_progress: gets the share that is done.
    """
    (first, *_) = loops.values()
    count = _COUNT[first.provider]
    rates: dict[str, list[float]] = defaultdict(list)
    budgets: dict[str, Counter[int]] = defaultdict(Counter)
    used: dict[str, list[Figures]] = defaultdict(list)
    steps = rounds * (len(loops) + len(daemons))
    done = 0
    for _ in range(rounds):
        batch = prompts.take(count)
        for (workers, threads), loop in loops.items():
            rate, budget = loop.best_rate(batch, workers)
            rates[f"{workers}x{threads}"].append(rate)
            budgets[f"{workers}x{threads}"][budget] += 1
            used[f"{workers}x{threads}"].append({"processor_ms_per_prompt": loop.processor_ms})
            on_progress((done := done + 1) / steps)
        for name, daemon in daemons.items():
            figures = _measure(daemon, batch)
            rates[name].append(figures.pop("prompts_per_second"))
            used[name].append(figures)
            on_progress((done := done + 1) / steps)
    return {
        **_compared(rates, used, [f"{workers}x{threads}" for workers, threads in loops], list(daemons)),
        "best_budget_tokens": {name: counts.most_common(1)[0][0] for name, counts in budgets.items()},
        "mean_prompt_tokens": first.mean_tokens(batch),
        "prompts_per_round": count,
    }


def _compared(
    rates: Mapping[str, list[float]], used: Mapping[str, list[Figures]], loops: list[str], daemons: list[str]
) -> Figures:
    """The rates of loops and daemons, and each daemon's over the best loop of its round, and over one worker's."""
    best = [max(of_round) for of_round in zip(*(rates[name] for name in loops), strict=True)]
    figures: Figures = {"offline": {}, "daemon": {}}
    for name in loops:
        figures["offline"][name] = {"prompts_per_second": spread(rates[name]), **_spreads(used[name])}
    for name in daemons:
        figures["daemon"][name] = {
            "prompts_per_second": spread(rates[name]),
            "ratio_to_best_loop": spread([a / b for a, b in zip(rates[name], best, strict=True)]),
            f"ratio_to_{loops[0]}": spread([a / b for a, b in zip(rates[name], rates[loops[0]], strict=True)]),
            **_spreads(used[name]),
        }
    return figures


def _spreads(figures: list[Figures]) -> Figures:
    """Of each figure, over all rounds."""
    return {key: spread([of_round[key] for of_round in figures]) for key in figures[0]}


def _measure(daemon: MeasuredProcess, prompts: list[str]) -> Figures:
    """One daemon, with what it and the generator beside it used of the processor."""
    own, its, began = time.process_time(), daemon.processor_seconds, time.perf_counter()
    rate = asyncio.run(saturate(daemon.target, prompts))
    wall = time.perf_counter() - began
    own, its = time.process_time() - own, daemon.processor_seconds - its
    return {
        "prompts_per_second": rate,
        "generator_cores": own / wall,
        "daemon_cores": its / wall,
        "generator_ms_per_prompt": own / len(prompts) * 1000,
        "processor_ms_per_prompt": its / len(prompts) * 1000,
    }
