"""rankd inside vLLM: shortest expected answer first, and arrival order whenever rankd cannot be asked.

``RankMiddleware`` is for ``--middleware`` and needs nothing of vLLM; ``RankScheduler`` and ``RankAsyncScheduler`` are
for ``--scheduler-cls``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rankd_client.integration import IntegrationSettings, log_under

from rankd_vllm.middleware import RankMiddleware

if TYPE_CHECKING:
    from rankd_vllm.scheduler import RankAsyncScheduler, RankScheduler

# Its logger has the handlers; others are mute in a vLLM server.
log_under("vllm")

__all__ = ["IntegrationSettings", "RankAsyncScheduler", "RankMiddleware", "RankScheduler"]


def __getattr__(name: str) -> Any:
    """Load what needs vLLM when it is asked for: the middleware must not wait for it."""
    if name in {"RankScheduler", "RankAsyncScheduler"}:
        return getattr(importlib.import_module("rankd_vllm.scheduler"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
