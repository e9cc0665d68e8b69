"""What this package raises."""

from __future__ import annotations


class RankdClientError(Exception):
    """Base of what is raised for the daemon's sake. A caller's own mistake is a ``ValueError`` or ``TypeError``."""


class RankdUnavailableError(RankdClientError):
    """The daemon could not answer a question that has no fallback, such as its quality."""


class RankdRefusedError(RankdClientError):
    """The daemon will not do what was asked; the text says why and what to do."""
