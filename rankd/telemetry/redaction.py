"""What may be said of a request outside of its answer: nothing that its caller sent."""

from __future__ import annotations

import traceback
from typing import Any

LOG_KEYS = frozenset(
    {"model", "ranker_version", "provider", "origin", "to", "reason", "listen", "metrics", "admin", "method",
     "error_type", "frames", "names", "previous", "calls", "version", "verdict", "evidence", "completions", "prompts",
     "difference", "low", "high", "state", "blocks", "setting", "windows", "upstream", "engine", "direction", "target",
     "replicas", "operators", "share", "workers"}
)  # fmt: skip
"""Keys that a log event may carry. None of them ever holds a prompt, token ids, a request id or a secret."""


def describe_error(error: BaseException) -> dict[str, Any]:
    """An exception as log keys: its type and the places it passed, without its text, which may hold what was sent."""
    frames = [f"{f.filename.rsplit('/', 1)[-1]}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)]
    return {"error_type": type(error).__name__, "frames": frames[-12:]}
