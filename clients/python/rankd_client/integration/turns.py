"""Turns of a conversation, as OpenAI's and Anthropic's bodies have them: whose each is, and its text. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

USER, TOOL, ASSISTANT = "user", "tool", "assistant"
"""Roles that are the same by all names that these APIs have for them."""
_SAME_ROLE = {"function": TOOL, "model": ASSISTANT, "developer": "system"}
_TEXT_TYPES = (None, "text", "input_text")
"""Types of a content's parts that are text, by all of these APIs."""
_MOST_TURNS, _MOST_PARTS = 4096, 65_536
"""Of a conversation, from its end, and of a turn that are looked at."""


def text_of(content: Any) -> str | None:
    """A content's text; None where it has none but blanks."""
    text = content if isinstance(content, str) else "\n".join(_texts(content)) if isinstance(content, list) else ""
    return None if not text or text.isspace() else text


def role_of(turn: Any) -> str:
    """Whose a message or an item is; empty where it does not say.

    What a tool gave back is the tool's: as a message of its own (chat), an item (responses), or as blocks of a user's
    message that has no text of the user's beside them (messages).
    """
    if not isinstance(turn, dict):
        return ""
    role, kind = turn.get("role"), turn.get("type")
    if role == USER:
        content = turn.get("content")
        return TOOL if _has_results(content) and text_of(content) is None else USER
    if isinstance(role, str):
        return _SAME_ROLE.get(role, role)
    if isinstance(kind, str):
        if kind.endswith("_output"):
            return TOOL
        if kind.endswith("_call") or kind == "reasoning":
            return ASSISTANT
    return ""


def ranked_text(turns: Any) -> str | None:
    """What of a conversation is ranked; None where there is no text for it.

    The user's last message that has text: what is answered, and what rankers are trained on. Where the conversation
    ends in what tools gave back, the last of that: the user's message is the same at every step of an agent
    (docs/adr/0023-what-of-a-request-is-ranked.md). A picture, a sound or a document is no text.
    """
    if not isinstance(turns, list):
        return None
    at_end = in_results = True
    for turn in islice(reversed(turns), _MOST_TURNS):
        role = role_of(turn)
        text = None
        if role == USER:
            text, in_results = text_of(turn.get("content")), False
        elif role == TOOL:
            text = _result_of(turn) if in_results else None
        elif role == ASSISTANT:
            in_results = in_results and at_end  # an answer that is begun, and to be gone on with
        if text is not None:
            return text
        at_end = at_end and role == ASSISTANT
    return None


def last_role(turns: Any) -> str:
    """Whose the last turn of a conversation is; empty where it does not say."""
    return role_of(turns[-1]) if isinstance(turns, list) and turns else ""


def _has_results(content: Any) -> bool:
    return isinstance(content, list) and any(_is_result(part) for part in content[:_MOST_PARTS])


def _is_result(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "tool_result"


def _result_of(turn: dict[str, Any]) -> str | None:
    """The text of what a tool gave back, of several in one message the last."""
    if turn.get("role") == USER:
        results = filter(_is_result, reversed(turn["content"][:_MOST_PARTS]))
        return next((text for part in results if (text := text_of(part.get("content"))) is not None), None)
    return text_of(turn.get("output") if turn.get("content") is None else turn.get("content"))


def _texts(parts: list[Any]) -> Iterable[str]:
    for part in parts[:_MOST_PARTS]:
        if isinstance(part, str):
            yield part
        elif isinstance(part, dict) and part.get("type") in _TEXT_TYPES and isinstance(part.get("text"), str):
            yield part["text"]
