"""How much is run: by provider, and whether it shall be quick."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from benchmarks.gpu.prompts import WORKLOADS
from benchmarks.gpu.results import Row

_DAEMON_PROMPTS = 512
"""``scoring.max_batch_prompts``."""


@dataclass(frozen=True, slots=True)
class DaemonPlan:
    """How daemons are loaded."""

    workloads: tuple[str, ...]
    """The first one counts; others are run with the best number of daemons only."""
    servers: tuple[int, ...]
    """Numbers of daemons."""
    generators: int
    """Processes that send."""
    items: int
    """Prompts of a call, where throughput is measured."""
    payloads: int
    """Different calls of a generator."""
    in_flight: int
    """Calls of a generator to each daemon at a time."""
    half_load_items: tuple[int, ...]
    """Prompts of a call, where latency is measured."""
    warm: float
    seconds: float
    row_cap: float
    """Seconds that must be left for a row to be begun."""
    calls_per_generator: float = 1500.0
    """What a process with grpc's own client sends a second at most."""


_SMOKE = DaemonPlan(("mixed",), (1, 2), 1, 8, 4, 2, (4,), 0.3, 1.0, 10.0)
_QUICK = DaemonPlan(("tokens64",), (1, 4), 4, 128, 48, 4, (32,), 1.0, 4.0, 30.0)
_FULL = DaemonPlan(("tokens64", "mixed"), (1, 2, 4, 8), 4, 128, 64, 4, (32, 8, 1), 1.5, 6.0, 30.0)


@dataclass(slots=True)
class Scale:
    """Sizes of a run."""

    provider: str
    """``cuda`` or ``cpu``."""
    quick: bool
    seconds: float
    """What each part may take."""
    onnxruntime: bool = True
    """Whether it can use the provider; where not, PyTorch may."""
    _until: float = field(default=0.0)

    @property
    def cuda(self) -> bool:
        """Whether it is a real run, and not a smoke test of the code."""
        return self.provider == "cuda"

    def begin(self) -> None:
        """A part begins now."""
        self._until = time.monotonic() + self.seconds

    def left(self) -> float:
        """Seconds that are left of this part."""
        return self._until - time.monotonic()

    @property
    def variant_cap(self) -> float:
        """Seconds that one variant may take."""
        return 90.0 if self.cuda else 40.0

    @property
    def row_seconds(self) -> float:
        """Seconds that one shape is run for, after warm-up."""
        return (0.15 if self.quick else 0.4) if self.cuda else 0.05

    @property
    def prompts(self) -> int:
        """Prompts of a workload in the raw loop."""
        return (8192 if self.quick else 32768) if self.cuda else (32 if self.quick else 256)

    @property
    def checked(self) -> int:
        """Prompts whose scores are compared with the CPU's."""
        return 512 if self.cuda else (16 if self.quick else 64)

    @property
    def shapes(self) -> list[list[int]]:
        """Batches and widths."""
        if self.cuda and not self.quick:
            return [[batch, width] for width in (16, 32, 64, 128) for batch in (1, 8, 32, 128, 256, 512)]
        return self.few_shapes

    @property
    def few_shapes(self) -> list[list[int]]:
        """The shapes of variants of which only the best batch matters."""
        if not self.cuda:
            return [[1, 16], [4, 16]]
        return [[1, 64], [128, 64], [256, 64], [512, 32]]

    @property
    def daemons(self) -> DaemonPlan:
        """How daemons are loaded."""
        if not self.cuda:
            return _SMOKE
        return _QUICK if self.quick else _FULL

    def mixes(self, *, paddings: bool, every_width: bool) -> list[Row]:
        """Which workloads are read, in what batches; ``every_width``: no multiple but 16 is forbidden."""
        rounds = 2 if self.cuda else 1
        main = 16384 if self.cuda else 128
        budgets = (4096, 8192, main, 32768) if self.cuda else (main,)
        plans = [(workload, main, 16) for workload in WORKLOADS]
        if paddings and every_width:
            plans += [("mixed", main, multiple) for multiple in (1, 8, 32)]
            plans += [(workload, budget, 16) for workload in WORKLOADS for budget in budgets if budget != main]
        return [
            {"workload": workload, "budget": budget, "multiple": multiple, "most": _DAEMON_PROMPTS, "rounds": rounds}
            for workload, budget, multiple in plans
        ]
