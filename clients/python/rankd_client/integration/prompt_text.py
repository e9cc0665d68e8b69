"""How much text a request's prompt has: all that the model will read, not only what is ranked. No I/O.

Counted in bytes of UTF-8, of which a token has about as many in any language; in characters it would not. Nothing is
copied but, for a moment, a text that is not ASCII. Pictures, sounds and files count as nothing, as nothing in a request
says how many tokens an engine makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_READ = frozenset(
    {
        "content",
        "text",
        "thinking",
        "reasoning",
        "reasoning_content",
        "refusal",
        "summary",
        "tool_calls",
        "function_call",
        "function",
        "name",
        "output",
        "title",
        "context",
    }
)
"""Members of a message, or of a part of one, whose texts reach the model; what they hold is looked through as well."""
_READ_WHOLE = frozenset({"input", "arguments"})
"""Members that reach it as JSON, names and all: what a tool is called with."""
_MEDIA = frozenset(
    {
        "image_url",
        "image",
        "input_audio",
        "audio",
        "audio_url",
        "video_url",
        "file",
        "file_id",
        "file_data",
        "file_url",
        "source",
    }
)
"""Members that become tokens in a way that only the engine knows."""
_ELSEWHERE = ("previous_response_id", "conversation", "prompt")
"""Members of a response's request by which the engine adds text that is not in it."""
_ANSWERED = frozenset({"function_call", "custom_tool_call", "reasoning"})
"""Types of a response's items that the model made."""
_MARKS, _NUMBER = 8, 4
"""Bytes of JSON around a member, as templates write it: quotes, a colon, a comma and blanks; and of what is no text."""

_MOST_PARTS = 65_536
"""Of a request that are looked at one by one; one of more counts as text from its first byte to its last."""


@dataclass(frozen=True, slots=True)
class PromptText:
    """What one prompt has.

    ``size``: bytes of its text. ``earlier``: those of them up to the model's last answer in it: what the engine may
    have read before, and hold in its prefix cache. ``token_ids``: of a prompt that came as token ids, their number.
    ``is_all``: whether that is all of the prompt, as far as one can see: no pictures, nothing that the engine adds.
    """

    size: int = 0
    earlier: int = 0
    token_ids: int = 0
    is_all: bool = True


NO_TEXT = PromptText()


@dataclass(slots=True)
class _Sum:
    """What was counted; ``whole`` is the length of the body, and ``left`` the parts that may be looked at yet."""

    whole: int
    size: int = 0
    earlier: int = 0
    is_all: bool = True
    left: int = _MOST_PARTS

    def text(self) -> PromptText:
        if self.left < 0:
            return PromptText(self.whole, is_all=False)
        return PromptText(self.size, self.earlier, is_all=self.is_all)


def texts_of_completion(data: Mapping[str, Any], most: int) -> tuple[PromptText, ...]:
    """Those of ``/v1/completions``: a text, token ids, or a list of either; at most so many of it."""
    prompt, suffix = data.get("prompt"), _size_of(data.get("suffix"))
    several = isinstance(prompt, list) and prompt and not isinstance(prompt[0], int)
    return tuple(_of_prompt(one, suffix) for one in (prompt[:most] if several and prompt else [prompt]))


def text_of_chat(data: Mapping[str, Any], whole: int) -> PromptText:
    """That of a chat, OpenAI's or Anthropic's, of so many bytes in all: messages, system, tools and documents."""
    counted = _Sum(whole)
    _count(data.get("system"), counted)
    _count(data.get("documents"), counted)
    _count_everything(data.get("tools"), counted)
    _count_everything(data.get("functions"), counted)
    _count_turns(data.get("messages"), counted)
    return counted.text()


def text_of_response(data: Mapping[str, Any], whole: int) -> PromptText:
    """That of a response, of so many bytes in all: instructions, input and tools."""
    counted = _Sum(whole, is_all=not any(data.get(name) for name in _ELSEWHERE))
    _count(data.get("instructions"), counted)
    _count_everything(data.get("tools"), counted)
    _count_turns(data.get("input"), counted)
    return counted.text()


def _of_prompt(prompt: object, suffix: int) -> PromptText:
    if isinstance(prompt, str):
        return PromptText(_size(prompt) + suffix)
    if isinstance(prompt, list):
        return PromptText(token_ids=len(prompt))
    return NO_TEXT


def _count_turns(turns: object, counted: _Sum) -> None:
    if not isinstance(turns, list):
        _count(turns, counted)
        return
    for turn in turns:
        if counted.left < 0:
            return
        if not isinstance(turn, dict):
            _count(turn, counted)
            continue
        if isinstance(text := turn.get("content"), str) and len(turn) == 2 and "role" in turn:  # as nearly all come
            counted.size += len(text) if text.isascii() else _size(text)
            counted.left -= 1
        else:
            _count(turn, counted)
        if turn.get("role") == "assistant" or _is_answer(turn.get("type")):
            counted.earlier = counted.size


def _is_answer(kind: object) -> bool:
    return isinstance(kind, str) and kind in _ANSWERED


def _count(value: object, counted: _Sum) -> None:
    """Add the texts of a message, of its content, or of whatever holds some."""
    pending = [value]
    while pending and counted.left >= 0:
        held = pending.pop()
        counted.left -= 1
        if isinstance(held, str):
            counted.size += _size(held)
        elif isinstance(held, list):
            pending.extend(held[: counted.left + 2])
        elif isinstance(held, dict):
            for name, inner in held.items():
                if name in _READ:
                    pending.append(inner)
                elif name in _READ_WHOLE:
                    _count_everything(inner, counted)
                elif name in _MEDIA and inner is not None:
                    _count_source(inner, counted, pending.append)


def _count_source(source: object, counted: _Sum, look_at: Callable[[object], None]) -> None:
    """A document of Anthropic's may be plain text; all else is no text."""
    kind = source.get("type") if isinstance(source, dict) else None
    if isinstance(source, dict) and kind in ("text", "content"):
        look_at(source.get("data" if kind == "text" else "content"))
    else:
        counted.is_all = False


def _count_everything(value: object, counted: _Sum) -> None:
    """Add about the bytes of a value as JSON."""
    total, pending = 0, [value]
    while pending and counted.left >= 0:
        held = pending.pop()
        counted.left -= 1
        if isinstance(held, str):
            total += _size(held)
        elif isinstance(held, list):
            pending.extend(held[: counted.left + 2])
        elif isinstance(held, dict):
            counted.left -= len(held)
            if counted.left < 0:
                break
            for name, inner in held.items():
                total += len(name) + _MARKS
                if isinstance(inner, str):  # without going round by the list: most are texts
                    total += len(inner) if inner.isascii() else _size(inner)
                else:
                    pending.append(inner)
        elif held is not None:
            total += _NUMBER
    counted.size += total


def _size_of(value: object) -> int:
    return _size(value) if isinstance(value, str) else 0


def _size(text: str) -> int:
    """Bytes of UTF-8; whether a text is ASCII, Python knows."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
