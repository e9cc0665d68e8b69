"""One request of OpenAI's API: its place in the daemon's order, as a priority written once. Lower goes first."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence

from rankd_client import Item, Policy, RankedQueue
from rankd_client.integration.circuit_breaker import CircuitBreaker
from rankd_client.integration.openai_requests import OpenAIRequest
from rankd_client.integration.prompt_tokens import PromptCount
from rankd_client.integration.request_terms import NO_TERMS, RequestTerms
from rankd_client.shape import NO_SHAPE

_LARGEST = 2**63 - 1
"""vLLM takes any integer from its header, and its engine process fails to read one beyond 64 bits."""


async def order_of(
    breaker: CircuitBreaker,
    request: OpenAIRequest,
    arrival: float,
    backlog: int,
    model: str | None = None,
    *,
    terms: RequestTerms = NO_TERMS,
    counts: Sequence[PromptCount] = (),
    timeout: float | None = None,
    late: bool = False,
) -> tuple[RankedQueue | None, str]:
    """Ask about a request's prompts. Where one has no text but tokens, it is the tokens that are asked about.

    Args:
        breaker: whom to ask.
        request: what is asked about.
        arrival: seconds since the epoch.
        backlog: requests that wait beside it.
        model: the served model that is asked for; default: that of the settings.
        terms: what it asks for beside.
        counts: of the tokens of each prompt; default: not counted.
        timeout: seconds that it may take; default: those of the settings.
        late: the request goes on without the answer, so that a failure costs nobody anything.

    Returns:
        An order whose keys are to be used, or None for arrival order; and what to count.
    """
    has_text = bool(request.prompts) and None not in request.prompts
    if not has_text and not any(count.tokens for count in counts):
        return None, "no_text"
    queue = await breaker.ask(
        _items(request, arrival, terms, counts or [PromptCount(0)] * len(request.prompts)),
        backlog=backlog,
        model=model,
        objective=terms.objective,
        timeout=timeout,
        counts=not late,
    )
    if queue is None:
        return None, "circuit_open"
    if queue.failed:
        return None, queue.reason
    if queue.policy is Policy.AGED:
        return None, "policy_aged"  # its keys hold for one moment
    return queue, (queue.reason or "ranked") if has_text else "no_text"


def _items(request: OpenAIRequest, arrival: float, terms: RequestTerms, counts: Sequence[PromptCount]) -> list[Item]:
    ranked_id = uuid.uuid4().hex
    shape = dataclasses.replace(request.shape, step=terms.step) if terms.step else request.shape
    return [
        Item(
            prompt,
            f"{ranked_id}-{index}",
            arrival=arrival,
            max_tokens=request.max_tokens,
            prompt_tokens=count.tokens,
            cached_prompt_tokens=count.cached,
            deadline=terms.deadline,
            priority_class=terms.priority_class,
            tenant=terms.tenant,
            shape=None if shape == NO_SHAPE else shape,
        )
        for index, (prompt, count) in enumerate(zip(request.prompts, counts, strict=True))
    ]


def priority_of(queue: RankedQueue | None, arrival: float, offset: int = 0) -> int:
    """The request's priority, in 64 bits: its key or, without an order, its arrival in milliseconds, as keys are.

    Of several prompts that of the one due last: the answer is not there before.

    Args:
        queue: the order; None for that of arrival.
        arrival: seconds since the epoch.
        offset: of the request's class, without an order (``CircuitBreaker.offset_of``).
    """
    key = max(r.serving_key for r in queue) if queue else round(arrival * 1000) + offset
    return max(-_LARGEST, min(key, _LARGEST))


def is_priority(header: bytes | None) -> bool:
    """Whether vLLM takes a header for a priority; it ignores what is no integer, and the priority would be 0."""
    try:
        return header is not None and abs(int(header.decode("latin-1"))) <= _LARGEST
    except ValueError:
        return False
