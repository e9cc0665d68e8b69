"""Values of flags: readers for argparse, whose errors say what was wanted."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def whole(low: int, high: int | None = None) -> Callable[[str], int]:
    """A reader of whole numbers from ``low`` to ``high``, both included; None is no limit."""
    what = f"of {low:,} or more" if high is None else f"from {low:,} to {high:,}"

    def read(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() else -1
        if not low <= value <= (value if high is None else high):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {what}")
        return value

    return read


def number(what: str, low: float, high: float, *, above: bool = False, below: bool = False) -> Callable[[str], float]:
    """A reader of numbers.

    Args:
        what: names what is wanted, for the error: "a number of seconds above 0".
        low: the least one.
        high: the greatest one.
        above: ``low`` itself is too little.
        below: ``high`` itself is too much.
    """

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high or (above and value == low) or (below and value == high):
            raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
        return value

    return read


def between(low: float, high: float) -> Callable[[str], float]:
    """A reader of numbers from ``low`` to ``high``, both included."""
    return number(f"a number from {low:g} to {high:g}", low, high)


seconds = number("a number of seconds above 0", 0, 1e7, above=True, below=True)
"""A reader of times that something may take."""


def duration(text: str) -> float:
    """Seconds of 90, 90s, 10m, 1h or 500ms."""
    value, unit = text, "s"
    for name in _UNITS:
        if text.endswith(name) and text.removesuffix(name)[-1:].isdigit():
            value, unit = text.removesuffix(name), name
            break
    try:
        found = float(value) * _UNITS[unit]
    except ValueError:
        found = math.nan
    if not 0 <= found < 1e7:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 10m or 1h")
    return found
