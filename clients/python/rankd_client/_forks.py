"""What a fork leaves of a process: locks that nobody opens, threads that are gone, and gRPC, which mostly stands still.

gRPC's threads do not come along. Once a channel was opened, every call in a forked child waits for them, past its
deadline, for ever; a channel of the child's own too. With ``GRPC_ENABLE_FORK_SUPPORT`` gRPC winds itself up and down
around a fork, and all works.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

FORKED = (
    "gRPC was used before this process was forked, and does not work after it: make the first call in each worker "
    "(with gunicorn --preload: in post_fork or later), start workers by spawn, or set GRPC_ENABLE_FORK_SUPPORT=1 "
    "before python starts"
)


class Follower(Protocol):
    """What must begin anew in a forked child."""

    def forked(self) -> None:
        """Begin anew: no other thread runs, and none that ran will let go of a lock."""


class _Process:
    """Of gRPC in this process."""

    used = False
    """Whether a channel was opened here."""
    dead = False
    """Whether one was opened before the fork that this process came from, so that calls would wait for ever."""


_followers: weakref.WeakSet[Follower] = weakref.WeakSet()
_supported = os.environ.get("GRPC_ENABLE_FORK_SUPPORT", "").strip().lower() in ("1", "t", "true", "y", "yes")
"""As grpc reads it when it is imported."""


def follow_forks(follower: Follower) -> None:
    """Call a follower's ``forked`` in every forked child, while it lives."""
    _followers.add(follower)


def grpc_is_used() -> None:
    """Note that a channel is opened in this process."""
    _Process.used = True


def grpc_is_dead() -> bool:
    """Whether no call of this process would ever come back."""
    return _Process.dead


def _forked() -> None:
    _Process.dead = _Process.dead or (_Process.used and not _supported)
    _Process.used = False
    for follower in list(_followers):
        follower.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
