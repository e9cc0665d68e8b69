"""Names of served models out of requests' bodies, as far as the engine serves them: a bounded number.

Anybody can name any model. A name is used once the engine answered a request for it, and before that only while there
is room; who makes names up uses up that credit, and from then on a name waits for its first answer.
"""

from __future__ import annotations

from collections import Counter

import structlog

_log = structlog.get_logger("rankd")
_FULL = "the engine serves more models than RANKD_PROXY_MAX_MODELS: those beyond it share a nameless one; raise it"

OTHER = "other"
"""The label of what has no name of its own."""
_LONGEST_NAME = 256
"""Bytes, as the daemon's limits.max_name_bytes."""
_REFUSED = frozenset({400, 404, 422})
"""Statuses by which engines say that they do not serve a model."""


class ServedModels:
    """Which name a request is ranked and reported by."""

    def __init__(self, most: int, fixed: str = "") -> None:
        """At most so many names; ``fixed`` is the one name for all, whatever bodies say."""
        self._most, self._fixed = most, fixed
        self._known: set[str] = set()
        self._tried: Counter[str] = Counter()
        self._made_up = 0
        self.full = False
        """A model that the engine serves found no place."""

    def claim(self, asked: str) -> str:
        """The name to rank a request by that asks for a model; empty for that of no model in particular.

        ``settle`` must follow once for each claim.
        """
        if self._fixed:
            return self._fixed
        if asked in self._known:
            return asked
        if not _is_name(asked):
            return ""
        if asked not in self._tried and (
            len(self._known) + len(self._tried) >= self._most or self._made_up >= self._most
        ):
            return ""
        self._tried[asked] += 1
        return asked

    def settle(self, asked: str, claimed: str, status: int | None) -> str:
        """Take the engine's answer to a claim into account, by its HTTP status; None where it gave none.

        Returns:
            The model's name as a label.
        """
        if self._fixed or asked in self._known:
            return self._fixed or asked
        if status is not None and 200 <= status < 300 and _is_name(asked):
            if asked in self._tried or len(self._known) + len(self._tried) < self._most:
                self._known.add(asked)
                del self._tried[asked]
                return asked
            if not self.full and self._most:
                _log.warning("models_without_place", reason=_FULL)
            self.full = True
        elif claimed:
            self._made_up += status in _REFUSED
            self._tried[claimed] -= 1
            if not self._tried[claimed]:
                del self._tried[claimed]
        return OTHER


def _is_name(asked: str) -> bool:
    try:
        return bool(asked) and asked.isprintable() and len(asked.encode()) <= _LONGEST_NAME
    except UnicodeEncodeError:
        return False
