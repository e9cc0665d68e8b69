"""The standard streams, which may be closed or poor in characters. Loads the standard library only."""

from __future__ import annotations

import io
import os
import sys

from rankd.text import printable


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
