"""What an answer says of itself while it passes: how many tokens it and its prompt have, and why it ended. No I/O.

A length is reported only where the engine itself counted it (``usage``). Events of a stream are no tokens: engines put
several tokens into one, and one into none. They make a lower bound, which is all that an answer that was not finished
needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from rankd_client.integration import Ending, Route, ending_of

from rankd.proxy.content_coding import Decoder, UnreadableError
from rankd.proxy.event_stream import EventStream
from rankd.proxy.prompt_usage import PromptUsage, prompt_usage, prompt_usage_of_message

_NO_TOKENS = 2
"""Events of a stream that bring none: the role at its beginning, the reason at its end."""
_MOST_TOKENS = 2**32
_LIKE_EVENTS = (
    b"data:",
    b"event:",
    b"id:",
    b"retry:",
    b":",
    b"\xef\xbb\xbfdata:",
    b"\xef\xbb\xbfevent:",
    b"\xef\xbb\xbf:",
)
_UNFINISHED = Ending.UNFINISHED
_OPENAI = frozenset({Route.COMPLETIONS, Route.CHAT})
_SNIFFED = 16
"""Bytes by which an answer of another type, JSON too, is told to be a stream: gateways get it wrong."""


_LITTLE, _STEP = 16_384, 65_536
"""Bytes that are kept without asking, and that are asked for at once."""
_KEPT_EVENTS = 3
_USAGE = re.compile(rb'"usage"[: \t\r\n]*\{')
_REASON = re.compile(rb'_reason"[: \t\r\n]*(?:"(?!")|\{)')
"""A member whose name ends so, and whose value is an object or a text that is not empty."""


def without_asking(more: int) -> bool:
    """For whoever has memory enough."""
    del more
    return True


class AnswerReader:
    """Reads along. Bounded: a body, or an event of a stream, beyond ``limit`` bytes is not kept."""

    def __init__(
        self,
        route: Route,
        *,
        kind: str,
        limit: int,
        codings: Sequence[bytes] = (),
        asks_usage: bool = True,
        take_memory: Callable[[int], bool] = without_asking,
    ) -> None:
        """Nothing came yet.

        Args:
            route: whose answer it is.
            kind: the answer's Content-Type.
            limit: most bytes that are kept.
            codings: the answer's content codings, in the order in which they were applied.
            asks_usage: whether the request is one whose answer is to count its tokens.
            take_memory: takes so many bytes more of what there is for all; whether it may. What a few lines need is
                not asked for, and nothing is given back: that is up to whoever ends the request.
        """
        self._route, self._limit, self._asks_usage = route, limit, asks_usage
        self._take_memory, self._held = take_memory, _LITTLE
        self._events: EventStream | None = EventStream(limit) if kind.startswith("text/event-stream") else None
        self._certain = self._events is not None
        self._body = bytearray()
        self._count = self._usages = 0
        self._usage = self._reason = self._last = b""
        self._done = False
        self._unreadable = ""
        self._decoder: Decoder | None = None
        self._outcome: tuple[int, Ending] | None = None
        self._closed, self._cause = False, ""
        self.prompt = PromptUsage()
        """What it says of its prompt, as far as it was asked for its outcome or its lower bound."""
        try:
            self._decoder = Decoder(codings, limit) if codings else None
        except UnreadableError as error:
            self._unreadable = error.cause

    def feed(self, chunk: bytes) -> None:
        """Take what passes, however it is cut; never raises."""
        if self._unreadable:
            return
        if self._decoder is None:
            self._take(chunk)
            return
        try:
            for piece in self._decoder.feed(chunk):
                self._take(piece)
                if self._unreadable:
                    return
        except UnreadableError as error:
            self._give_up(error.cause)

    def _take(self, chunk: bytes) -> None:
        if self._events is not None:
            for data in self._events.feed(chunk):
                if not self._unreadable:
                    self._take_event(data)
            if self._events.held > self._held:
                self._hold(self._events.held)
            return
        if not self._hold(len(self._body) + len(chunk)):
            return
        self._body += chunk
        if not self._certain and len(self._body) >= _SNIFFED:
            self._certain = True
            if self._body.lstrip(b"\r\n").startswith(_LIKE_EVENTS):
                body, self._body = bytes(self._body), bytearray()
                self._events = EventStream(self._limit)
                self._take(body)
        if len(self._body) > self._limit:
            self._give_up("too_large")

    def _give_up(self, cause: str) -> None:
        """Read no more of it; what a stream said by now still holds."""
        self._unreadable, self._decoder = cause, None
        self._body.clear()
        if self._events is not None:
            self._events.clear()

    def _hold(self, size: int) -> bool:
        """Whether so many bytes may be kept; if not nothing more is read."""
        while self._held < min(size, self._limit):
            if not self._take_memory(_STEP):
                self._give_up("no_memory")
                return False
            self._held += _STEP
        return True

    def _take_event(self, data: bytes) -> None:
        if len(data) < _SNIFFED and data.strip() == b"[DONE]":
            self._done = True
            return
        self._count += 1
        if len(data) > self._held and not self._hold(_KEPT_EVENTS * len(data)):
            return
        self._last = data
        if _USAGE.search(data):
            self._usage = data
            self._usages += 1
            if self._usages == 1 and self._route is Route.MESSAGES and len(data) <= _LITTLE:
                self._count_prompt(_object(_parsed(data).get("message")))  # its beginning counts the prompt
        if _REASON.search(data):
            self._reason = data

    @property
    def lower_bound(self) -> int:
        """Tokens that there are at least by now."""
        if self._usage and (counted := self._counted(_parsed(self._usage))) is not None:
            return counted
        return max(0, self._count - _NO_TOKENS) if self._route in _OPENAI else 0

    @property
    def says_its_end(self) -> bool:
        """Whether it told why it ended, or that it did: nothing that matters comes after that."""
        outcome = self.outcome()
        return outcome is not None and (self._done or outcome[1] not in {Ending.NOT_GIVEN, Ending.UNFINISHED})

    @property
    def cause(self) -> str:
        """Why there is no outcome, a word to count; empty where there is one."""
        return "" if self.outcome() is not None else self._unreadable or self._cause

    def outcome(self) -> tuple[int, Ending] | None:
        """Output tokens and how it ended; None where it does not say, for which there is a cause.

        Nothing is fed after that.
        """
        if not self._closed:
            self._closed = True
            self._outcome = self._outcome_of_stream() if self._events is not None else self._outcome_of_body()
        return self._outcome

    def _outcome_of_body(self) -> tuple[int, Ending] | None:
        data = _parsed(bytes(self._body))
        counted = self._counted(data)
        if counted is not None:
            return counted, self._ending(data, data)
        reason = ending_of(self._reason_of(data))
        self._cause = (
            "not_json"
            if not data
            else "error"
            if _is_error(data)
            else "unfinished"
            if reason is _UNFINISHED
            else "not_sent"
        )
        return None

    def _outcome_of_stream(self) -> tuple[int, Ending] | None:
        assert self._events is not None
        for data in self._events.end():
            if data.strip() == b"[DONE]" or _parsed(data):  # half an event tells nothing
                self._take_event(data)
        last = _parsed(self._last)
        usage = last if self._usage is self._last else _parsed(self._usage)
        counted = self._counted(usage)
        if counted is None:
            self._cause = self._cause_of_stream(last)
            return None
        reason = self._reason
        ending = self._ending(usage if not reason or reason is self._usage else _parsed(reason), last)
        if ending is Ending.NOT_GIVEN and not self._is_over(usage, last):
            ending = _UNFINISHED
        return counted, ending

    def _cause_of_stream(self, last: dict[str, Any]) -> str:
        if _is_error(last):
            return "error"
        if self._events is not None and self._events.dropped:
            return "too_large"
        if not self._count:
            return "not_events"
        if not self._asks_usage:
            return "not_asked"
        return "not_sent" if self._done or self._reason else "ended_early"

    def _is_over(self, usage: dict[str, Any], last: dict[str, Any]) -> bool:
        """Whether a stream that gives no reason came to its end: usage that is not counted along is what comes last."""
        if self._done or last.get("type") == "message_stop":
            return True
        counted_along = usage.get("choices") and not (self._usages == 1 and self._count > 1)
        return not self._unreadable and last == usage and not counted_along and self._route in _OPENAI

    def _counted(self, data: dict[str, Any]) -> int | None:
        if self._route is Route.RESPONSES:
            data = _object(data.get("response", data))
        usage = _object(data.get("usage"))
        self._count_prompt(data)
        names = ("completion_tokens", "output_tokens")
        value = next((usage[name] for name in names if usage.get(name) is not None), None)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST_TOKENS else None

    def _count_prompt(self, data: dict[str, Any]) -> None:
        """Take in what is said of the prompt. A message's end may count only what of it was not cached."""
        usage = _object(data.get("usage"))
        read = prompt_usage_of_message if self._route is Route.MESSAGES else prompt_usage
        self.prompt = max(self.prompt, read(usage), key=lambda said: (said.tokens, said.cached is not None))

    def _ending(self, data: dict[str, Any], last: dict[str, Any]) -> Ending:
        return Ending.FAILED if _is_error(last) else ending_of(self._reason_of(data))

    def _reason_of(self, data: dict[str, Any]) -> object:
        if self._route is Route.RESPONSES:
            response = _object(data.get("response", data))
            details = _object(response.get("incomplete_details"))
            return details.get("reason") or response.get("status")
        if self._route is Route.MESSAGES:
            return _object(data.get("delta", data)).get("stop_reason")
        choices = data.get("choices")
        return _object(choices[0]).get("finish_reason") if isinstance(choices, list) and choices else None


def _is_error(data: dict[str, Any]) -> bool:
    """Whether an answer, or the last event of one, is an engine's error."""
    return bool(data.get("error")) or data.get("type") == "error"


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        return _object(json.loads(text)) if text else {}
    except (ValueError, RecursionError):
        return {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
