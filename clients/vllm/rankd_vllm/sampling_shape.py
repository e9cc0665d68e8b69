"""What vLLM's scheduler sees of a request beside its tokens: how it is sampled. The body does not come so far."""

from __future__ import annotations

from typing import Any

from rankd_client.integration import MOST_STEP_BYTES, short_text, structured_format, whole_number
from rankd_client.shape import NO_SHAPE, RequestShape

STEP = "rankd_step"
"""Where ``vllm_xargs`` of a body name the step of a workflow: nothing else of it reaches the scheduler."""


def shape_of_sampling(params: Any) -> RequestShape | None:
    """The shape that sampling parameters tell of; None where they tell of none. Versions differ in what they have."""
    stop, extra = getattr(params, "stop", None), getattr(params, "extra_args", None)
    step = extra.get(STEP) if isinstance(extra, dict) else None
    shape = RequestShape(
        response_format=structured_format(getattr(params, "structured_outputs", None)),
        thinking_budget=whole_number(getattr(params, "thinking_token_budget", None)),
        stops=len(stop) if isinstance(stop, list) else 1 if isinstance(stop, str) and stop else 0,
        step=short_text(step, MOST_STEP_BYTES),
    )
    return None if shape == NO_SHAPE else shape
