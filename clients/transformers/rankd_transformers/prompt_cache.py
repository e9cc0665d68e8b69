"""What of a prompt transformers need not read."""

from __future__ import annotations

from typing import Any


def cached_tokens(cache: Any, state: Any) -> int:
    """Tokens of a request that waits of which the cache holds keys and values now.

    As ``PagedAttentionCache.search_prefix_match``, which takes the blocks; this takes nothing. It hashes the prompt up
    to the first block that is not there.

    Args:
        cache: transformers' cache.
        state: a request that waits; one that was moved to the CPU brings back what it had.
    """
    if state.is_cpu_offloaded:
        return int(state.position_offset)
    if not cache.use_prefix_sharing:
        return 0
    cached = len(state.initial_tokens)
    for allocator in cache.cache_allocators.values():
        cached = min(cached, len(allocator.match_prefix_blocks(state.initial_tokens)) * allocator.tokens_per_page)
        if not cached:
            break
    return cached
