"""Who makes room when there is too little memory for everybody's next token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def may_run_out(cache: Any, running: int) -> bool:
    """Whether there may be too little; each that runs may need a block or two. A microsecond."""
    return running > 1 and bool(cache.compute_free_capacity() * cache.num_blocks < 2 * running)


def victims(cache: Any, order: Sequence[Any]) -> int:
    """How many, from the end, must give up their memory so that the others get the next token's; 0 where all do.

    transformers preempts those that got no block when they needed one, whoever that is. It only looks at those that are
    not in the batch: so who shall make room is left out of it.

    Args:
        cache: transformers' cache.
        order: running requests, the last to be preempted first.
    """
    allocators = cache.cache_allocators
    needs = [
        {name: one.needs_new_blocks(state.request_id, state.current_len(), 1) for name, one in allocators.items()}
        for state in order
    ]
    served = cache.count_storable_requests(needs)
    if served == len(order):
        return 0
    missing = sum(sum(need.values()) for need in needs[served:])
    freed = 0
    for count in range(1, len(order)):
        state = order[-count]
        freed += sum(len(one.block_table.get(state.request_id, ())) for one in allocators.values())
        if count <= len(order) - served:
            missing -= sum(needs[-count].values())
        if freed >= missing:
            return count
    return len(order) - 1
