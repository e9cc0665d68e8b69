"""What the verbs print to, and text that others wrote."""

from __future__ import annotations

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
