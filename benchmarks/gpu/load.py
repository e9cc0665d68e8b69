"""Several generator processes as one, and a look at the event loop meanwhile."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.gpu.child import PREFIX
from benchmarks.gpu.results import Row
from benchmarks.gpu.timing import milliseconds

_PROBE_SECONDS = 0.002


class Generators:
    """Generators of one workload, which send the same requests in each run."""

    def __init__(self, ranker: Path, workload: str, *, items: int, payloads: int, processes: int) -> None:
        """Start them, and wait until their requests are made.

        Args:
            ranker: whose tokeniser counts tokens.
            workload: as ``prompts.texts`` knows it.
            items: prompts of a call.
            payloads: different calls of each process.
            processes: how many.

        Raises:
            RuntimeError: one did not start.
        """
        self._items, self._running = items, []
        job = {"ranker": str(ranker), "workload": workload, "items": items, "payloads": payloads}
        for seed in range(processes):
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu.generator"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            self._running.append(process)
            _send(process, {**job, "seed": seed + 10})
        for process in self._running:
            _receive(process)

    def closed(self, targets: Sequence[str], *, in_flight: int, warm: float, seconds: float) -> Row:
        """As many prompts as the daemons take, with ``in_flight`` calls to each of them from each process."""
        return self._run({"targets": list(targets), "in_flight": in_flight, "warm": warm, "seconds": seconds})

    def open(self, targets: Sequence[str], *, rate: float, warm: float, seconds: float) -> Row:
        """``rate`` prompts per second, at random times."""
        calls = rate / self._items / len(self._running)
        return self._run({"targets": list(targets), "rate": calls, "warm": warm, "seconds": seconds})

    def _run(self, run: dict[str, Any]) -> Row:
        for process in self._running:
            _send(process, run)
        rows = [_receive(process) for process in self._running]
        whole = {name: sum(row[name] for row in rows) for name in ("prompts", "calls", "failed", "unscored")}
        times = [ms / 1e3 for row in rows for ms in row["ms"]]
        return {
            "prompts_per_second": whole["prompts"] / run["seconds"], "items_per_call": self._items, **whole,
            **milliseconds(times), "reasons": sorted({r for row in rows for r in row["reasons"]}),
            "generator_behind_ms": max(row.get("behind_ms", 0.0) for row in rows),
        }  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.wait()


class LoopProbe:
    """Asks a daemon's event loop for the smallest page again and again; how long it waits is how long the loop did."""

    def __init__(self, address: str) -> None:
        """Begin."""
        self._address, self._ends = address, threading.Event()
        self._seconds: list[float] = []
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        while not self._ends.wait(_PROBE_SECONDS):
            began = time.perf_counter()
            try:
                connection.request("GET", "/livez")
                connection.getresponse().read()
            except OSError:
                connection.close()
                continue
            self._seconds.append(time.perf_counter() - began)

    def end(self) -> Row:
        """How long answers took."""
        self._ends.set()
        self._thread.join(30)
        return {"probes": len(self._seconds), **milliseconds(self._seconds)}


def _send(process: subprocess.Popen[str], message: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def _receive(process: subprocess.Popen[str]) -> Row:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(PREFIX):
            row: Row = json.loads(line.removeprefix(PREFIX))
            return row
    raise RuntimeError(f"a generator ended with status {process.wait()}")
