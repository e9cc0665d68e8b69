"""What an iteration of the engine costs, and how much it can serve at most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rankd.replay.trace.trace import Trace

TICKS = 1_000_000_000
"""Ticks in a second. Time is counted in whole ticks: many iterations at once take exactly what they take one by one."""


@dataclass(frozen=True, slots=True)
class EngineCost:
    """An engine: one iteration takes ``base + per_sequence * sequences + per_prompt_token * prompt tokens`` seconds.

    ``sequences`` are those that get a token in it. The defaults are of the order of an 8B model on one data-centre GPU.
    """

    slots: int = 64
    """Sequences that run at once, at most."""
    base: float = 0.015
    """Seconds of an iteration whatever is in it."""
    per_sequence: float = 0.00015
    """Seconds for every sequence that gets a token."""
    per_prompt_token: float = 0.0001
    """Seconds for every token of a prompt that is read."""
    chunk: int = 2048
    """Tokens of an iteration, at most, prompts are cut to it; 0: no limit."""
    kv_tokens: int = 0
    """Tokens that the KV memory holds; 0: no limit."""
    block: int = 16
    """Tokens that the KV memory is given out by."""

    def __post_init__(self) -> None:
        """Refuse an engine that cannot run.

        Raises:
            ValueError: naming the field.
        """
        if self.slots < 1 or self.block < 1:
            raise ValueError("slots and block must be at least 1")
        if min(self.per_sequence, self.per_prompt_token, self.kv_tokens, self.chunk) < 0 or self.base * TICKS < 1:
            raise ValueError("base must be above 0, the other costs and limits at least 0")
        if 0 < self.chunk < self.slots:
            raise ValueError(f"chunk is {self.chunk} tokens for {self.slots} slots: prompts would never be read")
        if not max(self.base, self.per_sequence, self.per_prompt_token) < 1e6:
            raise ValueError("costs must be below 1,000,000 seconds")

    @property
    def blocks(self) -> int:
        """Blocks of the KV memory; 0: no limit."""
        return self.kv_tokens // self.block


def step_cost(slots: int, *, kv_tokens: int = 0, block: int = 16, chunk: int = 0) -> EngineCost:
    """An engine whose every iteration takes one second, reading prompts included: seconds are engine steps."""
    return EngineCost(slots, 1.0, 0.0, 0.0, chunk, kv_tokens, block)


def work(trace: Trace, cost: EngineCost) -> float:
    """Seconds that a trace takes where all slots are always full: the least possible for long traces.

    Of prompts only what is not cached is read. Without a memory limit, and where that fits into the chunk beside the
    running sequences, this is exact: every request fills a slot for as many iterations as it has tokens. What is above
    the chunk takes further iterations. Under a memory limit the slots that can be filled are those whose tokens fit at
    the mean over a request's run, which takes a perfect packing.
    """
    output, read = trace.output.astype(np.float64), trace.uncached.astype(np.float64)
    slot_iterations = float(output.sum())
    if cost.chunk:
        slot_iterations += float(np.maximum(np.ceil(read / cost.chunk) - 1, 0).sum())
    return (
        cost.base * slot_iterations / usable_slots(trace, cost)
        + cost.per_sequence * float(output.sum())
        + cost.per_prompt_token * float(read.sum())
    )


def usable_slots(trace: Trace, cost: EngineCost) -> float:
    """Slots that can be filled at once: all, or as many requests as the memory holds at the mean over their run."""
    if not cost.kv_tokens or not len(trace):
        return float(cost.slots)
    output, prompt = trace.output.astype(np.float64), trace.prompt.astype(np.float64)
    tokens = float((output * prompt + output * (output - 1) / 2).sum())
    return min(float(cost.slots), max(1.0, cost.kv_tokens * float(output.sum()) / max(tokens, 1.0)))


def true_prompt_cost(trace: Trace, cost: EngineCost) -> float:
    """Output tokens that an uncached prompt token counts for in the work of a request, where all slots are full.

    An output token takes its place an iteration. A prompt token holds up all who run, so it counts in the time of
    places for as many as there are: what a daemon learns from completions, known here from the engine itself.
    """
    slots = usable_slots(trace, cost)
    return cost.per_prompt_token * slots / (cost.base + cost.per_sequence * slots)


def capacity(trace: Trace, cost: EngineCost) -> float:
    """Requests per second that the engine serves at most, of such as the trace has."""
    return len(trace) / work(trace, cost)


def offered_load(trace: Trace, cost: EngineCost) -> float:
    """Work that arrives per second, as a share of what can be done; infinite for a burst."""
    return work(trace, cost) / trace.span if trace.span > 0 else float("inf")


def at_load(trace: Trace, cost: EngineCost, load: float) -> Trace:
    """The trace with its arrivals sped up or slowed down to an offered load.

    Raises:
        ValueError: all arrive at once, so that no speed makes another load.
    """
    if trace.span <= 0:
        raise ValueError("all requests arrive at the same time: there is no speed to change")
    return trace.faster(load / offered_load(trace, cost))
