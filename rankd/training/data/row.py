"""One raw row, whatever file it came from, to a ``Row``; or the reason why it is not one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rankd.datafiles import UnusableRowError

NEAR_CAP = 0.6
"""Share of a cap from which an answer without a final punctuation mark counts as cut. Caps are in tokens of the
answering model, lengths need not be: Vicuna's 1,024 are at most 974 cl100k tokens: reaching the cap shows nothing."""

LONGEST_LENGTH = 10_000_000
"""Output tokens that are believed, as the daemon's ``limits.max_token_count``."""

LENGTH_FIELDS = ("output_token_count", "output_tokens")

_ENDED = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence", "tool_calls", "tool_use", "function_call"})
_CUT = frozenset({"length", "max_tokens", "abort", "aborted", "cancelled", "canceled", "content_filter", "in_progress"})
_NOT_TEXT = 0.1
"""Share of control and replacement characters from which a string is no text."""
_LOOKED_AT = 4096
_CONTROLS = {code: None for code in [*range(32), 127, 0xFFFD] if chr(code) not in "\t\n\r\f\v\x1b"}


@dataclass(frozen=True, slots=True)
class Row:
    """One answered prompt."""

    prompt: str
    tokens: int
    """Output tokens; a lower bound where not ``complete``."""
    complete: bool
    source: str = ""
    """Field ``source`` of the row, or the stem of its file."""
    model: str = ""
    """Who answered."""
    samples: tuple[int, ...] = ()
    """Lengths of further answers of the same model to the same prompt."""

    @property
    def group(self) -> tuple[str, str]:
        """Rows share a scale of lengths within a group only: lists and pairs are drawn within it."""
        return self.source, self.model


def row_of(raw: Mapping[str, Any], stem: str, caps: Mapping[str, int]) -> Row:
    """Make a row of a raw one.

    Args:
        raw: fields by name; values of CSV files are strings.
        stem: of the file, the source where the row names none.
        caps: tokens at which the answers of a source, or of a file (by its stem), were cut.

    Raises:
        UnusableRowError: with the reason.
    """
    prompt = _prompt(raw.get("prompt"))
    tokens = _length(next((raw[name] for name in LENGTH_FIELDS if raw.get(name) not in (None, "")), None))
    source = _name(raw.get("source")) or stem
    cap = caps.get(source, caps.get(stem))
    if cap is None and raw.get("max_tokens") not in (None, ""):
        cap = _length(raw["max_tokens"])
    return Row(prompt, tokens, _complete(raw, tokens, cap), source, _name(raw.get("model")), _samples(raw, tokens))


def _prompt(value: Any) -> str:
    if value is None:
        raise UnusableRowError("no prompt")
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise UnusableRowError("prompt is not text") from None
    if not isinstance(value, str):
        raise UnusableRowError("prompt is not text")
    if not value.strip():
        raise UnusableRowError("empty prompt")
    return _text(value)


def _text(value: str) -> str:
    """The string, if people could read it: no binary data that was decoded by force, no half characters."""
    looked_at = value[:_LOOKED_AT]
    controls = len(looked_at) - len(looked_at.translate(_CONTROLS))
    if "\0" in value or controls > _NOT_TEXT * len(looked_at):
        raise UnusableRowError("prompt is not text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UnusableRowError("prompt is not text") from None
    return value


def _length(value: Any) -> int:
    """A length in tokens, above 0: what produced nothing tells nothing."""
    if value is None:
        raise UnusableRowError("no length")
    number = _whole(value)
    if number is None:
        raise UnusableRowError("length is not a whole number")
    if number < 0:
        raise UnusableRowError("negative length")
    if number == 0:
        raise UnusableRowError("length of 0")
    if number > LONGEST_LENGTH:
        raise UnusableRowError("absurd length")
    return number


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        if math.isinf(value):
            return LONGEST_LENGTH + 1 if value > 0 else -1
        return int(value) if value.is_integer() else None
    return value


def _name(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _flag(value: Any) -> bool:
    return value.strip().lower() in ("true", "1", "yes") if isinstance(value, str) else value is True or value == 1


def _complete(raw: Mapping[str, Any], tokens: int, cap: int | None) -> bool:
    """Whether the length is known; what the row says itself goes before what a cap suggests."""
    if _flag(raw.get("ignore_eos")) or _flag(raw.get("length_is_complete")):
        return True
    reason = raw.get("finish_reason")
    if reason is None or reason == "":
        if cap is None:
            return True
        return tokens < cap and not (_flag(raw.get("no_final_punct")) and tokens >= NEAR_CAP * cap)
    name = reason.strip().lower().removeprefix("finish_reason_") if isinstance(reason, str) else ""
    if name not in _ENDED and name not in _CUT:
        raise UnusableRowError("unknown finish_reason")
    return name in _ENDED


def _samples(raw: Mapping[str, Any], tokens: int) -> tuple[int, ...]:
    value = raw.get("samples")
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            raise UnusableRowError("samples are neither a list nor an object of lengths") from None
    if value is None or value == "":
        return ()
    if isinstance(value, Mapping):
        lengths = list(value.values())
        # By name: the first of them may be the row's own answer.
        if lengths and lengths[0] == tokens:
            del lengths[0]
        return _valid(lengths)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return _valid(value)
    raise UnusableRowError("samples are neither a list nor an object of lengths")


def _valid(lengths: Iterable[Any]) -> tuple[int, ...]:
    whole = (_whole(v) for v in lengths if v is not None)
    return tuple(n for n in whole if n is not None and 0 < n <= LONGEST_LENGTH)
