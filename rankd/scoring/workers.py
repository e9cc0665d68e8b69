"""The threads that run a model, and how many of them there are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from rankd.scoring.onnx_model import lower_priority
from rankd.settings import ScoringSection
from rankd.settings.memory_limit import memory_limit
from rankd.settings.processors import processor_quota, usable_cores

_MOST = 16
"""Workers that are chosen at most: beyond these the event loop, which is one core, is what ends first."""
_ALL_CORES = 3
"""Up to so many cores each has a worker: the loop takes what it needs, since workers yield to it."""
_MEMORY = 2**26
"""Bytes of memory that there should be for each worker that is chosen; the bundled encoder's calculates in 2 MiB."""


class ModelWorkers(ThreadPoolExecutor):
    """``count`` threads that run one model; those that onnxruntime creates in one inherit its priority."""

    def __init__(self, count: int, nice: int) -> None:
        """Start none yet; each starts with its first batch, ``nice`` lower in priority."""
        super().__init__(count, "rankd-model", initializer=lower_priority, initargs=(nice,))
        self.count = count


def worker_counts(settings: ScoringSection) -> tuple[tuple[str, int], ...]:
    """By provider, how many workers a ranker in service has."""
    if settings.workers:
        return ("cpu", settings.workers), ("cuda", settings.workers)
    return ("cpu", choose_workers(usable_cores(), processor_quota(), memory_limit(), settings.threads)), ("cuda", 1)


def choose_workers(cores: int, quota: float, memory: int, threads: int) -> int:
    """Workers on a CPU, such that all their threads have a core and calls are answered all the same.

    Cores are shared by priority, and the event loop has the higher one: on a few cores it needs none for itself. A
    quota knows no priorities: workers that spend all of it stop the event loop too. So one core's worth is left.

    Args:
        cores: that the process may run on.
        quota: cores' worth of time that its container may use; infinite without one.
        memory: bytes that the process may have.
        threads: of each worker.
    """
    free = cores if cores <= _ALL_CORES else cores - 1
    if quota < cores:
        free = min(free, int(quota - 1))
    return max(1, min(free // threads, _MOST, memory // _MEMORY))
