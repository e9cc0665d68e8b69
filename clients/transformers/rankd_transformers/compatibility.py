"""What this package uses of transformers beyond its public interface, checked when it is registered."""

from __future__ import annotations

import dataclasses
import inspect

from transformers import __version__

TRIED = "5.19 to 5.24"
"""The versions whose hooks were read; the tests ran on the first and the last."""

_METHODS = {
    "__init__": ["cache", "safety_margin", "max_requests_per_batch"],
    "reset": [],
    "add_waiting_request": ["state"],
    "schedule_batch": ["token_budget", "cache_budget"],
    "finish_request": ["request_id"],
    "clear_cancelled_requests": [],
    "_process_candidates": ["candidates", "token_budget", "cache_budget", "request_ids_to_remove_from_waiting"],
    "_get_waiting_candidates": [],
    "_cleanup_waiting_queue": ["request_ids_to_remove_from_waiting"],
}
"""Overridden, with the parameters that are passed on."""
_CALLED = {"_get_waiting_candidates", "_process_candidates", "_cleanup_waiting_queue"}
"""By ``schedule_batch``: what is overridden must be what is called."""
_TABLES = {"active_requests", "waiting_requests", "waiting_requests_order", "starved_requests"}
"""Set by ``reset``."""
_STATE = {
    "request_id", "initial_tokens", "generated_tokens", "max_new_tokens", "created_time",
    "_new_tokens_limit", "_eos_token_ids", "_true_initial_tokens", "position_offset", "is_cpu_offloaded",
}  # fmt: skip
_STATUSES = {"DECODING", "FAILED"}
_CACHE = {"compute_free_capacity", "count_storable_requests"}
_ALLOCATOR = {"needs_new_blocks", "match_prefix_blocks"}
_ALLOCATOR_MATCHES = {"tokens_per_page"}
_CACHE_SETS = {"cache_allocators", "num_blocks", "use_prefix_sharing"}
_ALLOCATOR_FREES = {"block_table"}


def check() -> str:
    """What is wrong with what RankScheduler overrides, calls and reads; empty where nothing is."""
    try:
        # The modules themselves may have moved.
        from transformers.generation.continuous_batching.cache import PagedAttentionCache  # noqa: PLC0415
        from transformers.generation.continuous_batching.cache_allocators import CacheAllocator  # noqa: PLC0415
        from transformers.generation.continuous_batching.requests import RequestState, RequestStatus  # noqa: PLC0415
        from transformers.generation.continuous_batching.scheduler import (  # noqa: PLC0415
            SCHEDULER_MAPPING,
            FIFOScheduler,
        )
    except ImportError as error:
        return _mismatch({str(error)})
    missing = {name for name, parameters in _METHODS.items() if not _has(FIFOScheduler, name, parameters)}
    missing |= _CALLED - _names_in(FIFOScheduler, "schedule_batch")
    missing |= _TABLES - _names_in(FIFOScheduler, "reset")
    missing |= _STATE - {field.name for field in dataclasses.fields(RequestState)}
    missing |= _STATUSES - set(RequestStatus.__members__)
    missing |= {name for name in _CACHE if not hasattr(PagedAttentionCache, name)}
    missing |= {name for name in _ALLOCATOR if not hasattr(CacheAllocator, name)}
    missing |= _CACHE_SETS - _names_in(PagedAttentionCache, "__init__")
    missing |= _ALLOCATOR_MATCHES - _names_in(CacheAllocator, "match_prefix_blocks")
    missing |= _ALLOCATOR_FREES - _names_in(CacheAllocator, "free_blocks")
    if "fifo" not in SCHEDULER_MAPPING:
        missing.add("SCHEDULER_MAPPING")
    return _mismatch(missing) if missing else ""


def _has(kind: type, name: str, parameters: list[str]) -> bool:
    method = getattr(kind, name, None)
    return method is not None and set(parameters) <= set(inspect.signature(method).parameters)


def _names_in(kind: type, name: str) -> set[str]:
    """The attributes that a method names."""
    code = getattr(getattr(kind, name, None), "__code__", None)
    return set(code.co_names) if code is not None else set()


def _mismatch(missing: set[str]) -> str:
    return (
        f"transformers {__version__} has another continuous batching than transformers {TRIED} "
        f"({', '.join(sorted(missing))}). Install a rankd-transformers made for it, or transformers {TRIED}."
    )
