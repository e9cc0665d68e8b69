"""What requests of OpenAI's API ask for, as far as a ranker needs to know. No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rankd_client.integration.prompt_text import PromptText, text_of_chat, text_of_response, texts_of_completion
from rankd_client.integration.request_shape import shape_of_chat, shape_of_completion, shape_of_response, whole_number
from rankd_client.integration.turns import ranked_text, text_of
from rankd_client.shape import NO_SHAPE, RequestShape

_MOST_PROMPTS = 256
"""Of one request that are asked about; the longest of them is what the request waits for."""
_COMPLETION_MAX_TOKENS = 16
"""What OpenAI and vLLM take for a completion that names no ``max_tokens``."""


class Route(Enum):
    """The endpoints whose requests are ranked."""

    COMPLETIONS = "/v1/completions"
    CHAT = "/v1/chat/completions"
    RESPONSES = "/v1/responses"
    MESSAGES = "/v1/messages"
    """Anthropic's; engines serve it as a chat."""


_ROUTES = {route.value: route for route in Route}


def route_of(method: str, path: str, root_path: str) -> Route | None:
    """The endpoint, or None for one whose requests are left alone."""
    if method != "POST":
        return None
    return _ROUTES.get(path) or (_ROUTES.get(path.removeprefix(root_path)) if root_path else None)


@dataclass(frozen=True, slots=True)
class OpenAIRequest:
    """A request's prompts, None for one that is no text, and what bounds its answers.

    ``one_answer_per_prompt``: one answer per prompt, so that its length is the prompt's. ``model`` as the body names
    it, empty where it names none. ``asks_usage``: its answer is to say how many tokens it has, as all but streams do.
    ``texts``: how much text each prompt has in all. ``tenant`` and ``step``: what stands where it was looked for.
    ``shape``: what else is said of it, its step left out.
    """

    prompts: tuple[str | None, ...]
    max_tokens: int = 0
    request_id: str | None = None
    has_priority: bool = False
    ignore_eos: bool = False
    one_answer_per_prompt: bool = True
    model: str = ""
    asks_usage: bool = True
    texts: tuple[PromptText, ...] = ()
    service_tier: str = ""
    tenant: str = ""
    step: str = ""
    shape: RequestShape = NO_SHAPE


def read_request(route: Route, body: bytes, tenant_field: str = "", step_field: str = "") -> OpenAIRequest | None:
    """Read a body; None where it is not what the endpoint takes.

    What JSON holds, the engine judges: a field of another type counts as absent.

    Args:
        route: the endpoint.
        body: JSON.
        tenant_field: the member that names the tenant, such as ``user`` or ``metadata.team``; default: none does.
        step_field: the one that names the step of a workflow, such as ``metadata.step``; default: none does.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict):
        return None
    # Engines make a chat of a message, and take over none of these.
    mine = data if route is not Route.MESSAGES else {}
    request_id = mine.get("request_id")
    return OpenAIRequest(
        prompts=tuple(_PROMPTS[route](data)[:_MOST_PROMPTS]),
        max_tokens=_max_tokens(route, data),
        request_id=request_id if isinstance(request_id, str) and request_id else None,
        has_priority=mine.get("priority") is not None,
        ignore_eos=mine.get("ignore_eos") is True,
        one_answer_per_prompt=not mine.get("use_beam_search")
        and mine.get("n", 1) in (1, None)
        and mine.get("best_of", 1) in (1, None),
        model=_member(data, "model"),
        asks_usage=_asks_usage(route, data),
        texts=_texts_of(route, data, len(body)),
        service_tier=_member(data, "service_tier"),
        tenant=_member(data, tenant_field) if tenant_field else "",
        step=_member(data, step_field) if step_field else "",
        shape=_SHAPES[route](data),
    )


def _member(data: dict[str, Any], path: str) -> str:
    """A text within an object, by names with dots between them; empty where there is none."""
    found: Any = data
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, str) else ""


def _texts_of(route: Route, data: dict[str, Any], size: int) -> tuple[PromptText, ...]:
    if route is Route.COMPLETIONS:
        return texts_of_completion(data, _MOST_PROMPTS)
    return (text_of_response(data, size) if route is Route.RESPONSES else text_of_chat(data, size),)


def _asks_usage(route: Route, data: dict[str, Any]) -> bool:
    """Whether the answer has a ``usage`` by the API: OpenAI's older two leave it out of streams unless asked."""
    if not data.get("stream") or (route is not Route.COMPLETIONS and route is not Route.CHAT):
        return True
    options = data.get("stream_options")
    return isinstance(options, dict) and bool(options.get("include_usage") or options.get("continuous_usage_stats"))


def _max_tokens(route: Route, data: dict[str, Any]) -> int:
    if route is Route.CHAT:
        found = data.get("max_completion_tokens")
        value = data.get("max_tokens") if found is None else found
    elif route is Route.RESPONSES:
        value = data.get("max_output_tokens")
    else:
        value = data.get("max_tokens", _COMPLETION_MAX_TOKENS if route is Route.COMPLETIONS else None)
    return whole_number(value)


def _of_completion(data: dict[str, Any]) -> list[str | None]:
    prompt = data.get("prompt")
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        return [text_of(p) if isinstance(p, str) else None for p in prompt]
    return [text_of(prompt) if isinstance(prompt, str) else None]


def _of_chat(data: dict[str, Any]) -> list[str | None]:
    return [ranked_text(data.get("messages"))]


def _of_response(data: dict[str, Any]) -> list[str | None]:
    given = data.get("input")
    return [text_of(given) if isinstance(given, str) else ranked_text(given)]


_PROMPTS = {
    Route.COMPLETIONS: _of_completion,
    Route.CHAT: _of_chat,
    Route.RESPONSES: _of_response,
    Route.MESSAGES: _of_chat,
}
_SHAPES = {
    Route.COMPLETIONS: shape_of_completion,
    Route.CHAT: shape_of_chat,
    Route.RESPONSES: shape_of_response,
    Route.MESSAGES: shape_of_chat,
}
