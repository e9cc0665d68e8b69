"""One raw row, whatever file it came from, to a ``Row``; or the reason why it is not one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Any

from rankd_client.integration import Ending, ending_of
from rankd_client.shape import NO_SHAPE, RequestShape

from rankd.datafiles import UnusableRowError, is_absent, name_of, shown, text_of, whole_of
from rankd.datafiles.shapes import prompt_tokens_of, shape_of, tenant_of, time_of

NEAR_CAP = 0.6
"""Share of a cap from which an answer without a final punctuation mark counts as cut. Caps are in tokens of the
answering model, lengths need not be: Vicuna's 1,024 are at most 974 cl100k tokens: reaching the cap shows nothing."""

LONGEST_LENGTH = 10_000_000
"""Output tokens that are believed, as the daemon's ``limits.max_token_count``."""

LENGTH_FIELDS = (
    "output_token_count", "output_tokens", "completion_tokens", "usage.completion_tokens", "usage.output_tokens",
)  # fmt: skip
"""Where a length may stand: the first that holds one counts."""

_NOT_TEXT = 0.1
"""Share of control and replacement characters from which a string is no text."""
_NO_LIMIT = """
    inf infinity infinite ∞ unlimited nolimit limitless unbounded endless max maximum modelmax nomax nomaximum full all
    any unset notset notgiven unspecified missing undefined default auto automatic disabled off no false never omit
    omitted none null nil
"""
_NO_LIMIT_WORDS = frozenset(_NO_LIMIT.split())
"""In small letters, and without what is between words."""
_LONGEST_WORD = 32
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
    is_reason_known: bool = True
    """Whether the finish reason is a known one, or there is none; an unknown one makes the length a lower bound."""
    shape: RequestShape = NO_SHAPE
    prompt_tokens: int = 0
    """As the served model counts them; 0: not told."""
    max_tokens: int = 0
    """0: not told, or no limit."""
    tenant: str = ""
    packed_shape: bytes = b""
    """The same four as the daemon hashed them for its completion log, which has no more of them."""
    at: float | None = None
    """Seconds by any clock."""

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
    column = next((name for name in LENGTH_FIELDS if not is_absent(raw.get(name))), None)
    if column is None:
        raise UnusableRowError("no length")
    tokens = _length(raw[column], column)
    source = name_of(raw.get("source")) or stem
    cap = caps.get(source, caps.get(stem))
    limit = _limit(raw.get("max_tokens")) if cap is None else None
    ending = ending_of(raw.get("finish_reason"))
    return Row(
        prompt,
        tokens,
        _is_complete(raw, ending, tokens, limit if cap is None else cap),
        source,
        name_of(raw.get("model")),
        _samples(raw.get("samples"), tokens),
        ending is not Ending.UNKNOWN,
        shape_of(raw),
        prompt_tokens_of(raw),
        limit or 0,
        tenant_of(raw),
        at=time_of(raw),
    )


def _prompt(value: Any) -> str:
    """The prompt. Text is taken at its word, "null" and "-" too: those are prompts that people send."""
    if is_absent(value) and not isinstance(value, str | bytes):
        raise UnusableRowError("no prompt")
    text = text_of(value)
    if text is None:
        raise UnusableRowError("prompt is not text")
    if not text.strip():
        raise UnusableRowError("empty prompt")
    return _text(text)


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


def _length(value: Any, column: str) -> int:
    """A length in tokens, above 0: what produced nothing tells nothing."""
    number, name = whole_of(value), shown(column)
    if number is None:
        raise UnusableRowError(f"{name} is not a whole number")
    if number < 1:
        raise UnusableRowError(f"{name} is below 1")
    if number > LONGEST_LENGTH:
        raise UnusableRowError(f"{name} is above {LONGEST_LENGTH:,}")
    return int(number)


def _limit(value: Any) -> int | None:
    """What ``max_tokens`` allowed; None for no limit, however it is spelled.

    None are: nothing ("none", "(null)", NaN, an empty object ...), False, "inf", "no_limit" and their like, what is
    below 1 (an answer has a token, so 0 and -1 are how gateways write that nothing was set), and what is above any
    length that is believed (2^31 - 1).
    """
    if is_absent(value) or value is False or (isinstance(value, Sized) and _says_no_limit(value)):
        return None
    number = whole_of(value)
    if number is None:
        raise UnusableRowError("`max_tokens` is neither a whole number nor a word for no limit")
    return int(number) if 1 <= number <= LONGEST_LENGTH else None


def _says_no_limit(value: Sized) -> bool:
    """Whether a text has nothing but a word for no limit, or nothing but signs; whether another value is empty."""
    text = text_of(value)
    if text is None:
        return len(value) == 0
    if len(text) > _LONGEST_WORD:
        return False
    word = "".join(c for c in text.lower() if c.isalnum() or c == "∞")
    return not word or word in _NO_LIMIT_WORDS


def _flag(value: Any) -> bool:
    text = text_of(value)
    return value in (True, 1) if text is None else text.strip().lower() in ("true", "1", "1.0", "yes", "t", "y")


def _is_complete(raw: Mapping[str, Any], ending: Ending, tokens: int, cap: int | None) -> bool:
    """Whether the length is known; what the row says itself goes before what a cap suggests."""
    if _flag(raw.get("ignore_eos")) or _flag(raw.get("length_is_complete")):
        return True
    if ending is not Ending.NOT_GIVEN:
        return ending.is_complete
    return cap is None or (tokens < cap and not (_flag(raw.get("no_final_punct")) and tokens >= NEAR_CAP * cap))


def _samples(value: Any, tokens: int) -> tuple[int, ...]:
    if is_absent(value):
        return ()
    text = text_of(value)
    if text is not None:
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise UnusableRowError("samples are neither a list nor an object of lengths") from None
    if isinstance(value, Mapping):
        lengths = list(value.values())
        # By name: the first of them may be the row's own answer.
        if lengths and whole_of(lengths[0]) == tokens:
            del lengths[0]
        return _valid(lengths)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return _valid(value)
    raise UnusableRowError("samples are neither a list nor an object of lengths")


def _valid(lengths: Iterable[Any]) -> tuple[int, ...]:
    whole = (whole_of(v) for v in lengths)
    return tuple(int(n) for n in whole if n is not None and 0 < n <= LONGEST_LENGTH)
