"""One request of HTTP/1.1 in, one answer out, parsed and written by h11, which knows the grammar of RFC 9112."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import urlsplit

import h11

TEXT, JSON, HTML = "text/plain; charset=utf-8", "application/json", "text/html; charset=utf-8"
_MOST_BYTES = 16 * 2**10
"""Of a request's first line and headers."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""What the page may load and do: its own script, style and icon, and ask its own daemon. It makes no HTML of text."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is asked."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    """By lower-case name; of several of one name, joined by commas."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What is answered."""

    status: int
    body: bytes
    content_type: str = TEXT
    headers: dict[str, str] = field(default_factory=dict)


class RequestReader:
    """Makes a request of bytes, and bytes of its answer."""

    def __init__(self) -> None:
        """Nothing was received yet."""
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST_BYTES)
        self._head_only = False

    def feed(self, data: bytes) -> HttpRequest | HttpAnswer | None:
        """Take bytes, none at the end of the connection: a request, the refusal of what is none, or None for more."""
        try:
            self._connection.receive_data(data)
            event = self._connection.next_event()
        except h11.RemoteProtocolError as error:
            return HttpAnswer(error.error_status_hint, b"bad request\n")
        if not isinstance(event, h11.Request):
            return None
        if event.http_version[:2] != b"1.":
            return HttpAnswer(505, b"HTTP/1.1 only\n")
        method, headers = event.method.decode("ascii"), dict[str, str]()
        for name, value in event.headers:
            # Any byte over 127 is allowed there, and none is of any use.
            key, text = name.decode("ascii"), value.decode("ascii", "replace")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        self._head_only = method == "HEAD"
        target = _origin_form(event.target.decode("ascii"))
        if target is None:
            return HttpAnswer(400, b"bad request\n")
        path, _, query = target.partition("?")
        return HttpRequest(method, path, query, headers)

    def encode(self, answer: HttpAnswer) -> list[bytes]:
        """The bytes of an answer: its head, and its body where that is asked for."""
        headers = {
            "Server": "rankd",
            "Date": formatdate(usegmt=True),
            **answer.headers,
            "X-Content-Type-Options": "nosniff",
            "Content-Type": answer.content_type,
            "Content-Length": str(len(answer.body)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY if answer.content_type == HTML else "default-src 'none'",
            "Referrer-Policy": "no-referrer",
            "Connection": "close",
        }
        if self._connection.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return []
        head = self._connection.send(h11.Response(status_code=answer.status, headers=list(headers.items())))
        assert head is not None
        return [head] if self._head_only else [head, answer.body]


def _origin_form(target: str) -> str | None:
    """A target's path and query. A server must take the absolute form, too (RFC 9112, 3.2.2); None is no URL."""
    if "://" not in target.partition("?")[0]:
        return target
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
