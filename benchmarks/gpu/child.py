"""Each variant runs in a process of its own: a crash, a hang or a CUDA error costs that variant and no other."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

from benchmarks.gpu.results import Row

PREFIX = "row "
"""What a line of a child's output begins with that is a result."""


def tell(row: Row) -> None:
    """Hand a result to the parent."""
    print(PREFIX + json.dumps(row), flush=True)


def rows_of(module: str, job: dict[str, Any], cap: float) -> Iterator[Row]:
    """Run a module with a job on its stdin, and give its results as they come.

    Args:
        module: what is run as ``python -m``; it reads one JSON object and calls ``tell``.
        job: that object.
        cap: seconds after which it is killed; the last row then says so.

    Yields:
        Rows; one with ``error`` where the child failed or ran out of time.
    """
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    lines: queue.Queue[str | None] = queue.Queue()
    said: list[str] = []
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None  # noqa: PT018
    errors = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
    errors.start()
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(job))
        process.stdin.close()
    try:
        yield from _until_end(lines, time.monotonic() + cap)
    except TimeoutError:
        yield {"error": f"cut after {cap:.0f} s: --seconds allows more"}
    finally:
        cut = process.poll() is None and _ended(process) is None
        errors.join(1)
    if process.returncode and not cut:
        yield {"error": _last_line(said) or f"ended with status {process.returncode}"}


def _ended(process: subprocess.Popen[str]) -> int | None:
    """Its status, if it ends by itself within a second; None where it had to be killed."""
    try:
        return process.wait(1)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _until_end(lines: queue.Queue[str | None], until: float) -> Iterator[Row]:
    while True:
        try:
            line = lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            return
        if line.startswith(PREFIX):
            yield json.loads(line.removeprefix(PREFIX))


def _read(stream: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _last_line(said: list[str]) -> str:
    lines = [line.strip() for line in said if line.strip()]
    return lines[-1][:500] if lines else ""
