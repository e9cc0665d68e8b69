"""What an answer says of itself while it passes: how many tokens it has, and why it ended. No I/O.

A length is reported only where the engine itself counted it (``usage``). Events of a stream are no tokens: engines put
several tokens into one, and one into none. They make a lower bound, which is all that an answer that was not finished
needs.
"""

from __future__ import annotations

import json
from typing import Any

from rankd_client import Finish
from rankd_client.integration import Route

_STOPS = frozenset(
    {"stop", "tool_calls", "function_call", "completed", "end_turn", "stop_sequence", "tool_use", "tool"}
)
_CUTS = frozenset({"length", "max_tokens", "max_output_tokens"})
_NO_TOKENS = 2
"""Events of a stream that bring none: the role at its beginning, the reason at its end."""
_MOST_TOKENS = 2**32


class AnswerReader:
    """Reads along. Bounded: a body, or a line of a stream, beyond ``limit`` bytes is not kept."""

    def __init__(self, route: Route, *, stream: bool, limit: int) -> None:
        """Nothing came yet."""
        self._route, self._stream, self._limit = route, stream, limit
        self._rest = bytearray()
        self._skipping = False
        self._events = 0
        self._usage: bytes | None = None
        self._reason: bytes | None = None

    def feed(self, chunk: bytes) -> None:
        """Take what passes, however it is cut."""
        if not self._stream:
            if not self._skipping:
                self._rest += chunk
                self._skipping = len(self._rest) > self._limit
                if self._skipping:
                    self._rest.clear()
            return
        begin = 0
        while (end := chunk.find(b"\n", begin)) >= 0:
            if not self._skipping:
                self._line(bytes(self._rest + chunk[begin:end]))
            self._rest.clear()
            self._skipping = False
            begin = end + 1
        if not self._skipping:
            self._rest += chunk[begin:]
            if len(self._rest) > self._limit:
                self._rest.clear()
                self._skipping = True

    def _line(self, line: bytes) -> None:
        if not line.startswith(b"data:"):
            return
        self._events += 1
        if b'"usage":{' in line or b'"usage": {' in line:
            self._usage = line
        if b'finish_reason":"' in line or b'finish_reason": "' in line:
            self._reason = line

    @property
    def lower_bound(self) -> int:
        """Tokens that there are at least by now."""
        if self._usage is not None and (counted := self._counted(_data(self._usage))) is not None:
            return counted
        one_token_each = self._stream and self._route in {Route.COMPLETIONS, Route.CHAT}
        return max(0, self._events - _NO_TOKENS) if one_token_each else 0

    def outcome(self) -> tuple[int, Finish] | None:
        """Output tokens and how it ended, of an answer that is complete; None where it does not say."""
        if self._stream:
            usage = _data(self._usage)
            reason = self._reason_of(_data(self._reason) if self._reason is not None else usage)
        else:
            usage = _parsed(bytes(self._rest)) if not self._skipping else {}
            reason = self._reason_of(usage)
        counted = self._counted(usage)
        return None if counted is None else (counted, _finish(reason))

    def _counted(self, data: dict[str, Any]) -> int | None:
        if self._route is Route.RESPONSES:
            data = _object(data.get("response", data))
        usage = _object(data.get("usage"))
        name = "completion_tokens" if self._route in {Route.COMPLETIONS, Route.CHAT} else "output_tokens"
        value = usage.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS else None

    def _reason_of(self, data: dict[str, Any]) -> object:
        if self._route is Route.RESPONSES:
            response = _object(data.get("response", data))
            details = _object(response.get("incomplete_details"))
            return details.get("reason") or response.get("status")
        if self._route is Route.MESSAGES:
            return _object(data.get("delta", data)).get("stop_reason")
        choices = data.get("choices")
        return _object(choices[0]).get("finish_reason") if isinstance(choices, list) and choices else None


def _finish(reason: object) -> Finish:
    """A reason that is not known is a length that the engine chose."""
    if reason in _STOPS:
        return "stop"
    return "length" if reason in _CUTS else "aborted"


def _data(line: bytes | None) -> dict[str, Any]:
    return _parsed(line[5:]) if line is not None else {}


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        return _object(json.loads(text))
    except (ValueError, RecursionError):
        return {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
