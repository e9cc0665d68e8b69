"""Child processes for what must not happen in the daemon's own: started, bounded, and gone when the daemon is.

The parent's half and the child's. A child is this interpreter with one module; it gets no secrets and no sockets.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

_LOOK_AGAIN = 1.0
"""Seconds between two looks at whether the parent lives."""
_FIRST_TO_GO = "1000"
_KEPT = frozenset({"PATH", "HOME", "TMPDIR", "LANG", "TZ"})
_KEPT_PREFIXES = ("LD_", "LC_", "CUDA", "NVIDIA_", "OMP_", "OPENBLAS_", "RAYON_", "TOKENIZERS_")


def command(module: str) -> list[str]:
    """How a child is started; ``-P`` keeps the working directory from standing in for packages."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """A child's environment: this process's packages, what libraries are found by, and nothing that may be a secret."""
    kept = {k: v for k, v in os.environ.items() if k in _KEPT or k.startswith(_KEPT_PREFIXES)}
    # An arena for each thread would reserve memory that nobody uses.
    return kept | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "MALLOC_ARENA_MAX": "2"}


def begin(*, nice: int = 0) -> None:
    """In the child: yield to others, be the first to be killed where memory ends, and go when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent ends its children
    with contextlib.suppress(OSError):
        os.nice(nice)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, encoding="ascii")
    lower("RLIMIT_CORE", 0)
    threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_AGAIN)
    os._exit(1)


def lower(limit: str, value: int) -> None:
    """In the child: lower one of its limits, where the system has it and lets it."""
    with contextlib.suppress(ImportError, AttributeError, OSError, ValueError):
        import resource  # noqa: PLC0415 - there is none on Windows

        kind = getattr(resource, limit)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def bound_memory(more: int) -> None:
    """In the child: let it take so many bytes more than it has now (Linux; elsewhere nothing bounds it)."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        now = 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmData:")))
        lower("RLIMIT_DATA", now + more)
