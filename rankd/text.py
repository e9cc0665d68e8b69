"""Text from outside, made fit to be shown."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """Escape what would steer a terminal or break a line: controls, invisible and lone half characters.

    Args:
        text: text that somebody else wrote, such as a prompt or a served model's name.
        keep: characters that are let through all the same.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
