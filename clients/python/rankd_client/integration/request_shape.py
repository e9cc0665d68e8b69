"""What the body of a request says of its answer's length beside its text, by OpenAI's and Anthropic's APIs. No I/O.

And by what engines add to them: vLLM, SGLang, llama.cpp, and what Qwen, DeepSeek and OpenRouter name in ways of their
own. Nothing is judged here: what is of another type than it should be counts as not said. It takes the same time
however large a body is: lists are counted by their length, and of texts the beginning is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rankd_client.integration.turns import USER, last_role
from rankd_client.shape import SHAPE_TEXTS, RequestShape

MOST_STEP_BYTES = SHAPE_TEXTS["step"]
_MOST_BYTES = min(SHAPE_TEXTS.values())
_MOST_NUMBER = 2**32 - 1
_MOST_DIGITS = 10
Body = Mapping[str, Any]

_CHOICES = {"any": "required"}
"""Anthropic's names for what OpenAI's API has too."""
_CONSTRAINTS = (
    ("json", "json_schema"),
    ("json_schema", "json_schema"),
    ("regex", "regex"),
    ("choice", "choice"),
    ("grammar", "grammar"),
    ("ebnf", "grammar"),
    ("json_object", "json_object"),
    ("structural_tag", "structural_tag"),
)
"""Members that bind an answer to a form, and what the form is called."""
_GUIDED = tuple((f"guided_{name}", form) for name, form in _CONSTRAINTS)
"""As older vLLM has them in the body itself."""
_IN_BODY = tuple((name, form) for name, form in _CONSTRAINTS if name not in ("json", "choice", "json_object"))
"""As SGLang and llama.cpp have them there."""


def shape_of_completion(data: Body) -> RequestShape:
    """That of ``/v1/completions``, which has no messages."""
    return _shape(data)


def shape_of_chat(data: Body) -> RequestShape:
    """That of a chat, and of Anthropic's messages."""
    turns = data.get("messages")
    return _shape(data, _length(turns), last_role(turns))


def shape_of_response(data: Body) -> RequestShape:
    """That of a response, whose items count as messages."""
    given = data.get("input")
    if isinstance(given, str):
        return _shape(data, 1, USER)
    return _shape(data, _length(given), last_role(given))


def whole_number(value: Any) -> int:
    """A whole number as engines take it: 100.0 and "100" are one to them too; 0 for anything else, or over 32 bits."""
    if (isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS) or (
        isinstance(value, float) and value.is_integer()
    ):
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _MOST_NUMBER else 0


def short_text(value: Any, most_bytes: int = _MOST_BYTES) -> str:
    """The beginning of a text, as it can be sent; empty for anything else."""
    if not isinstance(value, str):
        return ""
    return value[:most_bytes].encode("utf-8", "replace")[:most_bytes].decode("utf-8", "ignore").strip()


def structured_format(constraints: object) -> str:
    """The form that an engine binds an answer to, by the members of its own object for that; empty where to none."""
    held = constraints if isinstance(constraints, Mapping) else _Attributes(constraints)
    return _first_form(held, _CONSTRAINTS)


class _Attributes:
    """An object's attributes as if it were a mapping."""

    def __init__(self, held: object) -> None:
        self._held = held

    def get(self, name: str) -> Any:
        return getattr(self._held, name, None)


def _shape(data: Body, messages: int = 0, role: str = "") -> RequestShape:
    choices = max(whole_number(data.get("n")), whole_number(data.get("best_of")))
    return RequestShape(
        messages=messages,
        tools=_length(data.get("tools")) + _length(data.get("functions")),
        last_role=short_text(role),
        tool_choice=_tool_choice(data),
        response_format=_response_format(data),
        reasoning_effort=_reasoning_effort(data),
        thinking_budget=_thinking_budget(data),
        choices=choices if choices > 1 else 0,
        stops=_stops(data.get("stop")) + _stops(data.get("stop_sequences")),
    )


def _tool_choice(data: Body) -> str:
    """``auto``, ``none``, ``required``, or which tool it must be, as ``function:search``."""
    choice = data.get("tool_choice")
    if choice is None:
        choice = data.get("function_call")
    if not isinstance(choice, dict):
        return short_text(choice)
    kind = short_text(choice.get("mode")) or short_text(choice.get("type"))
    if kind in _CHOICES:
        return _CHOICES[kind]
    name = short_text(_within(choice, "function").get("name")) or short_text(choice.get("name"))
    return short_text(f"function:{name}") if name else kind


def _response_format(data: Body) -> str:
    """``text``, ``json_object``, ``json_schema`` or another form, with its name behind it where it has one."""
    for form in (
        data.get("response_format"),
        _within(data, "text").get("format"),
        _within(data, "output_config").get("format"),
        data.get("output_format"),
    ):
        kind = short_text(_member_of(form, "type") or form)
        if kind:
            name = short_text(_within(form, "json_schema").get("name")) or short_text(_member_of(form, "name"))
            return short_text(f"{kind}:{name}") if name else kind
    own = data.get("structured_outputs")
    return (structured_format(own) if isinstance(own, dict) else "") or _first_form(data, _GUIDED + _IN_BODY)


def _reasoning_effort(data: Body) -> str:
    """The effort by its name; ``enabled`` or ``disabled`` where a body says no more than that."""
    for effort in (
        data.get("reasoning_effort"),
        _within(data, "reasoning").get("effort"),
        _within(data, "output_config").get("effort"),
        _within(data, "chat_template_kwargs").get("reasoning_effort"),
        _within(data, "thinking").get("type"),
    ):
        if named := short_text(effort):
            return named
    template = _within(data, "chat_template_kwargs")
    for switch in (
        data.get("enable_thinking"),
        template.get("enable_thinking"),
        template.get("thinking"),
        _within(data, "reasoning").get("enabled"),
    ):
        if isinstance(switch, bool):
            return "enabled" if switch else "disabled"
    return ""


def _thinking_budget(data: Body) -> int:
    found = (
        _within(data, "thinking").get("budget_tokens"),
        data.get("thinking_token_budget"),
        data.get("thinking_budget"),
        _within(data, "reasoning").get("max_tokens"),
        _within(data, "chat_template_kwargs").get("thinking_budget"),
    )
    return next((number for value in found if (number := whole_number(value))), 0)


def _stops(value: Any) -> int:
    return 1 if isinstance(value, str) and value else _length(value)


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0


def _within(value: Any, name: str) -> Body:
    """A member that is an object; an empty one where there is none."""
    found = _member_of(value, name)
    return found if isinstance(found, dict) else {}


def _member_of(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _first_form(held: Any, names: tuple[tuple[str, str], ...]) -> str:
    return next((form for name, form in names if held.get(name) not in (None, False, "")), "")
