"""One request of OpenAI's API: its place in the daemon's order, as a priority written once. Lower goes first."""

from __future__ import annotations

import uuid

from rankd_client import Item, Policy, RankedQueue
from rankd_client.integration.circuit_breaker import CircuitBreaker
from rankd_client.integration.openai_requests import OpenAIRequest

_LARGEST = 2**63 - 1
"""vLLM takes any integer from its header, and its engine process fails to read one beyond 64 bits."""


async def order_of(
    breaker: CircuitBreaker, request: OpenAIRequest, arrival: float, backlog: int, model: str | None = None
) -> tuple[RankedQueue | None, str]:
    """Ask about a request's prompts.

    Args:
        breaker: whom to ask.
        request: what is asked about.
        arrival: seconds since the epoch.
        backlog: requests that wait beside it.
        model: the served model that is asked for; default: that of the settings.

    Returns:
        An order whose keys are to be used, or None for arrival order; and what to count.
    """
    if None in request.prompts or not request.prompts:
        return None, "no_text"
    ranked_id = uuid.uuid4().hex
    queue = await breaker.ask(
        [
            Item(prompt, f"{ranked_id}-{index}", arrival=arrival, max_tokens=request.max_tokens)
            for index, prompt in enumerate(request.prompts)
        ],
        backlog=backlog,
        model=model,
    )
    if queue is None:
        return None, "circuit_open"
    if queue.policy is Policy.AGED:
        return None, "policy_aged"  # its keys hold for one moment
    return queue, queue.reason or "ranked"


def priority_of(queue: RankedQueue | None, arrival: float) -> int:
    """The request's priority, in 64 bits: its key or, without an order, its arrival in milliseconds, as keys are.

    Of several prompts that of the one due last: the answer is not there before.
    """
    key = max(r.serving_key for r in queue) if queue else round(arrival * 1000)
    return max(-_LARGEST, min(key, _LARGEST))


def is_priority(header: bytes | None) -> bool:
    """Whether vLLM takes a header for a priority; it ignores what is no integer, and the priority would be 0."""
    try:
        return header is not None and abs(int(header.decode("latin-1"))) <= _LARGEST
    except ValueError:
        return False
