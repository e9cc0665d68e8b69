"""How many workers there are."""

import math

import pytest

from rankd.scoring.workers import choose_workers, worker_counts
from rankd.settings import ScoringSection

GIB = 2**30


@pytest.mark.parametrize(
    ("cores", "quota", "memory", "threads", "workers"),
    [
        (1, math.inf, 8 * GIB, 1, 1),
        (2, math.inf, 8 * GIB, 1, 2),  # they yield to the loop
        (3, math.inf, 8 * GIB, 1, 3),
        (4, math.inf, 8 * GIB, 1, 3),
        (16, math.inf, 8 * GIB, 1, 15),
        (64, math.inf, 256 * GIB, 1, 16),  # more than the loop can feed
        (16, math.inf, 8 * GIB, 4, 3),  # workers times threads have a core each
        (2, math.inf, 8 * GIB, 4, 1),
        (64, 4.0, 8 * GIB, 1, 3),  # what spends a quota stops the loop too
        (64, 1.5, 8 * GIB, 1, 1),
        (64, 0.5, 8 * GIB, 1, 1),
        (2, 2.0, 8 * GIB, 1, 2),  # a quota that bounds nothing
        (64, math.inf, GIB // 2, 1, 8),  # a container of 512 MiB on a large node
        (64, math.inf, GIB // 32, 1, 1),
    ],
)
def test_by_what_there_is(cores, quota, memory, threads, workers):
    """Each thread of each worker has a core, calls are answered, and memory is enough."""
    assert choose_workers(cores, quota, memory, threads) == workers


def test_what_is_set_counts():
    """Whatever the machine is; on CUDA one is chosen."""
    assert dict(worker_counts(ScoringSection(workers=5))) == {"cpu": 5, "cuda": 5}
    chosen = dict(worker_counts(ScoringSection()))
    assert chosen["cuda"] == 1
    assert 1 <= chosen["cpu"] <= 16
