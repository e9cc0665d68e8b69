"""What the verbs print to: streams that may be closed or poor in characters, and text that others wrote."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from rich import console as rich_console
from rich.text import Text

from rankd.text import printable


class PlainConsole(rich_console.Console):
    """rich's console, for text from outside: nothing in a string is markup, and nothing in it steers the terminal.

    Styles come by arguments, or by ``Text`` made of :func:`rankd.text.printable` parts.
    """

    def __init__(self, **options: Any) -> None:
        """Take rich's options."""
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape every string that is printed, in a table too, before its width is measured."""
        shown = printable(text, keep="\n").encode(self.encoding, "backslashreplace").decode(self.encoding)
        return super().render_str(shown, **options)

    def on_broken_pipe(self) -> None:
        """Leave it to :func:`rankd.cli.main`, as for all that prints; rich would exit with 1."""
        raise BrokenPipeError


def output(width: int) -> PlainConsole:
    """The console of stdout, ``width`` characters wide where it is no terminal."""
    return PlainConsole(width=None if sys.stdout.isatty() else width)


def complain(message: str) -> None:
    """Say on stderr what went wrong."""
    print("rankd: " + printable(message, keep="\n"), file=sys.stderr)


def mend_streams() -> None:
    """Make the standard streams such that printing does not fail.

    A closed one (``>&-``) is None in Python, and its number goes to the next file or socket that is opened, into which
    C libraries would then write their messages: /dev/null takes its place. stdin stays None, so that a verb that is to
    read it can say so. Characters that a stream's encoding does not have are escaped.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def abandon_output() -> None:
    """Let nothing more go to a reader that is gone, as when Python flushes at its exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
