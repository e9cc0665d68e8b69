"""What this package uses of vLLM beyond its public interface, checked when it is loaded."""

from __future__ import annotations

import dataclasses
import inspect

TRIED = ("0.32", "0.33")
"""The versions whose hooks were read."""


def version() -> str:
    """The version of vLLM that is installed."""
    import vllm  # noqa: PLC0415 - the middleware must not load it

    return str(vllm.__version__)


def check_finished() -> str:
    """What is wrong with what the stat logger reads; empty where nothing is."""
    from vllm.v1.metrics.stats import FinishedRequestStats  # noqa: PLC0415 - as above

    wanted = {
        "request_id", "num_generation_tokens", "finish_reason", "queued_time", "e2e_latency", "max_tokens_param",
        "num_prompt_tokens", "num_cached_tokens",
    }  # fmt: skip
    missing = wanted - {field.name for field in dataclasses.fields(FinishedRequestStats)}
    return _mismatch("FinishedRequestStats", missing) if missing else ""


def check_scheduler(scheduler: type) -> str:
    """What is wrong with what RankScheduler overrides and calls; empty where nothing is."""
    methods = {
        "add_request": ["request"],
        "schedule": ["throttle_prefills"],
        "update_from_output": ["scheduler_output", "model_runner_output"],
        "_free_request": ["request", "delay_free_blocks"],
    }
    missing = {
        name
        for name, parameters in methods.items()
        if not hasattr(scheduler, name)
        or not set(parameters) <= set(inspect.signature(getattr(scheduler, name)).parameters)
    }
    return _mismatch("Scheduler", missing) if missing else ""


def check_queue(queue: type, ours: type) -> str:
    """What vLLM asks of a waiting queue that ours cannot do; empty where it can do all."""
    missing = {name for name in getattr(queue, "__abstractmethods__", set()) if not hasattr(ours, name)}
    return _mismatch("RequestQueue", missing) if missing else ""


def _mismatch(name: str, missing: set[str]) -> str:
    tried = " or ".join(TRIED)
    return (
        f"vLLM {version()} has another {name} than vLLM {tried} ({', '.join(sorted(missing))}). "
        f"Install a rankd-vllm made for it, or vLLM {tried}."
    )
