"""How many connections the process's open files allow: with none left, no file of tokens could be read any more.

A connection is a descriptor, and callers decide how many there are. Each listener therefore has a bound, and together
they leave some for the daemon's own: models, logs, peers, exporters, files that are followed.
"""

from __future__ import annotations

import sys

from rankd.settings.load import Settings

_OWN = 40
_UNLIMITED = 2**20
_ADMIN_SHARE = 4
"""One in so many is for administration."""


def open_files() -> int:
    """How many files and connections this process may have open (``ulimit -n``)."""
    if sys.platform == "win32":
        return _UNLIMITED
    import resource  # noqa: PLC0415 - there is none on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else min(soft, _UNLIMITED)


def http_connections(settings: Settings) -> int:
    """Most connections to the metrics port."""
    return max(4, min(settings.http.max_connections, open_files() // 8))


def grpc_connections(settings: Settings, *, admin: bool) -> int:
    """Most connections to the gRPC services, or to that of administration."""
    files = open_files()
    most = min(settings.limits.max_connections, max(8, min(files * 3 // 4, files - _OWN - http_connections(settings))))
    of_admin = max(2, most // _ADMIN_SHARE)
    return of_admin if admin else max(1, most - of_admin)
