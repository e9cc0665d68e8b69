"""Whether the server that we are in heeds priorities, said once and loudly where it does not."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from enum import Enum
from typing import Any

from rankd_client.integration import logger

_NOT_IN_PRIORITY_MODE = """
===========================================================================================
rankd has NO EFFECT: this vLLM server was started with --scheduling-policy %s, under which
vLLM ignores priorities without a word. Add to its command line:
    --scheduling-policy priority
==========================================================================================="""


class SchedulingMode(Enum):
    """What the server does with a priority."""

    UNKNOWN = "unknown"
    """No vLLM server, or one that does not say."""
    PRIORITY = "priority"
    """It orders by it."""
    IGNORED = "ignored"
    """It takes it and does nothing with it."""
    SCHEDULER = "scheduler"
    """RankScheduler orders: it needs no priorities."""


def mode_of(scope: Mapping[str, Any]) -> SchedulingMode:
    """The mode of the server that a connection came in by; warns where priorities are ignored."""
    config = getattr(getattr(scope.get("app"), "state", None), "vllm_config", None)
    scheduler = getattr(config, "scheduler_config", None)
    policy = getattr(scheduler, "policy", None)
    if policy is None:
        return SchedulingMode.UNKNOWN
    if is_ours(getattr(scheduler, "scheduler_cls", None)):
        _step_aside()
        return SchedulingMode.SCHEDULER
    if policy == "priority":
        return SchedulingMode.PRIORITY
    warn_of(str(policy))
    return SchedulingMode.IGNORED


def is_ours(scheduler_class: object) -> bool:
    """Whether a ``--scheduler-cls`` is one of this package."""
    name = scheduler_class if isinstance(scheduler_class, str) else getattr(scheduler_class, "__module__", "")
    return str(name).startswith("rankd_vllm.")


@functools.cache
def warn_of(policy: str) -> None:
    """Say, once, that priorities are ignored."""
    logger.warning(_NOT_IN_PRIORITY_MODE, policy)


@functools.cache
def _step_aside() -> None:
    logger.info("rankd: RankScheduler orders this server, so RankMiddleware leaves requests alone")
