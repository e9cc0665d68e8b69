"""The daemon's own page: a document that shows the facts as they are, and a script that brings it to life."""

from __future__ import annotations

from html import escape
from typing import Any

from rankd.html.parts import resource
from rankd.text import printable

_PACKAGE = "rankd.status"
_SCRIPTS = ("words", "charts", "events", "savings", "live")
ASSETS: dict[str, tuple[bytes, str]] = {
    "/page.css": (
        (resource("rankd.html", "page.css") + resource(_PACKAGE, "live.css")).encode(),
        "text/css; charset=utf-8",
    ),
    "/page.js": (
        "".join(resource(_PACKAGE, f"{name}.js") for name in _SCRIPTS).encode(),
        "text/javascript; charset=utf-8",
    ),
    "/icon.svg": (resource(_PACKAGE, "icon.svg").encode(), "image/svg+xml"),
}
"""What the page loads, all from its own daemon: body and content type, by path."""

_BEFORE, _AFTER = resource(_PACKAGE, "live.html").split("<!-- facts -->")


def live_page(state: dict[str, Any]) -> str:
    """The page.

    Args:
        state: ``ready``, ``reason``, and ``facts`` by label. Names in them are a caller's to choose.
    """
    rows = "".join(
        f'<tr><th scope="row">{escape(printable(k))}</th><td>{escape(printable(v))}</td></tr>'
        for k, v in state["facts"].items()
    )
    shown = "ready" if state["ready"] else f"not ready: {state['reason']}"
    return f'{_BEFORE}<tr><th scope="row">state</th><td>{escape(shown)}</td></tr>{rows}{_AFTER}'
