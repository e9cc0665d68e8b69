"""The names that vLLM gives requests."""

from __future__ import annotations

from rankd_client.integration.openai_requests import Route


def engine_ids(route: Route, base: str, prompts: int) -> list[str]:
    """The ids under which vLLM's stat logger will name the answers to a request's prompts."""
    if route is Route.COMPLETIONS:
        return [f"cmpl-{base}-{index}" for index in range(prompts)]
    # What a built-in tool adds to a response, are requests of their own (_1, _2 ...): those are not what was ranked.
    return [f"{base}_0" if route is Route.RESPONSES else f"chatcmpl-{base}"]
