"""Several processes training one ranker: started by ``torchrun``, on one machine or on many.

Each process reads its share of a list, the scores are exchanged, and every process works out the loss of the whole
list. The sum of the gradients is then exactly that of one process: the figure does not depend on how many there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from rankd.errors import ConfigError

_PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others, which may have to read and tokenise their data."""


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process among its peers."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that prints and writes."""
        return self.rank == 0

    def gather(self, own: Tensor, places: Tensor, total: int) -> Tensor:
        """Put the scores of all processes in place; only this process's own carry a gradient.

        Args:
            own: this process's, [k] or [k, columns].
            places: where they belong, int64[k].
            total: how many there are over all processes.

        Returns:
            [total] or [total, columns].
        """
        whole = torch.zeros((total, *own.shape[1:]), dtype=own.dtype, device=own.device)
        if self.size > 1:
            whole[places] = own.detach()
            distributed.all_reduce(whole)
        return whole.index_copy(0, places, own)

    def add_up(self, part: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            distributed.all_reduce(part)
        return part

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up the gradients of all processes, in one exchange."""
        if self.size == 1:
            return
        learning = [p for p in parameters if p.requires_grad]
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in learning]
        flat = torch.cat([g.reshape(-1) for g in grads])
        distributed.all_reduce(flat)
        start = 0
        for parameter in learning:
            parameter.grad = flat[start : start + parameter.numel()].view_as(parameter)
            start += parameter.numel()

    def from_first(self, value: bytes | None) -> bytes | None:
        """What the first process has; nodes need not share a disk."""
        if self.size == 1:
            return value
        box: list[bytes | None] = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def agree(self, fingerprint: str) -> None:
        """Check that all processes train on the same.

        Raises:
            ConfigError: a process has other rows, another base or other options.
        """
        if self.size == 1:
            return
        all_of_them: list[str | None] = [None] * self.size
        distributed.all_gather_object(all_of_them, fingerprint)
        if len(set(all_of_them)) > 1:
            raise ConfigError("the processes do not read the same --data and --base: copy both to every node")


ALONE = ProcessGroup()


@contextmanager
def joined() -> Iterator[ProcessGroup]:
    """Join the peers that ``torchrun`` started, if it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        yield ALONE
        return
    distributed.init_process_group("gloo", timeout=_PATIENCE)
    try:
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
