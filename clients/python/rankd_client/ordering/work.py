"""Expected work: what a request costs the engine, in output tokens.

A request costs its prompt, too: while the engine reads it, everybody who runs waits. What of it is not in the prefix
cache is known on arrival. So its work is ``W = E + w * uncached prompt tokens``, with E the expected length of its
answer and ``w`` what a prompt token costs beside an output token (``service_costs`` learns it, and says why).
Without prompt counts, and where prompts cost nothing, work is length.
"""

from __future__ import annotations

import numpy as np

from rankd_client.ordering.columns import OrderColumns, finite, sane
from rankd_client.ordering.rules import FloatArray, Rules

MOST_PROMPT_COST = 1e6
"""Output tokens per prompt token; finite, so that work is."""
MOST_PROMPT_TOKENS = 1e12


def uncached_prompt(queue: OrderColumns) -> FloatArray | None:
    """Prompt tokens that the engine has to read, at least 0, [n]; None where no request says anything of its prompt."""
    if queue.prompt_tokens is None:
        return None
    prompt: FloatArray = np.minimum(np.maximum(finite(queue.prompt_tokens), 0.0), MOST_PROMPT_TOKENS)
    if queue.cached_prompt_tokens is None:
        return prompt
    return np.maximum(prompt - np.maximum(finite(queue.cached_prompt_tokens), 0.0), 0.0)


def prompt_work(queue: OrderColumns, rules: Rules) -> FloatArray | None:
    """What prompts cost, in output tokens, [n]; None where they cost nothing, or nothing is known of any."""
    cost = sane(rules.prompt_cost, 0.0, MOST_PROMPT_COST, 0.0)
    if cost == 0 or (prompt := uncached_prompt(queue)) is None or not prompt.any():
        return None
    return cost * prompt


def work_of(lengths: FloatArray, queue: OrderColumns, rules: Rules) -> FloatArray:
    """Expected work in output tokens of requests of such lengths, [n]; NaN where the length is not known."""
    prompts = prompt_work(queue, rules)
    return lengths if prompts is None else lengths + prompts


def running_time(lengths: FloatArray, queue: OrderColumns, rules: Rules) -> FloatArray:
    """Seconds that requests of such lengths take to run from now on, [n]; a prompt that was read takes no more."""
    takes: FloatArray = sane(rules.pace, 0.0, MOST_PROMPT_COST, 0.0) * lengths
    pace = sane(rules.prompt_pace, 0.0, MOST_PROMPT_COST, 0.0)
    if pace == 0 or (prompt := uncached_prompt(queue)) is None:
        return takes
    if queue.generated is not None:
        prompt = np.where(queue.generated > 0, 0.0, prompt)
    return takes + pace * prompt
