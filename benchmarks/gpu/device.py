"""The GPU as its driver sees it: name, driver, memory in use. By NVML's own library, without a package."""

from __future__ import annotations

import ctypes
import subprocess
from typing import Any

from benchmarks.gpu.results import Row


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class Gpu:
    """The first GPU, through NVML."""

    def __init__(self) -> None:
        """Open it.

        Raises:
            OSError: there is no driver.
            RuntimeError: there is no GPU.
        """
        self._library: Any = ctypes.CDLL("libnvidia-ml.so.1")
        self._handle = ctypes.c_void_p()
        if self._library.nvmlInit_v2() or self._library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(self._handle)):
            raise RuntimeError("NVML finds no GPU")

    def used_memory(self) -> int:
        """Bytes in use on the device, of all processes."""
        memory = _Memory()
        if self._library.nvmlDeviceGetMemoryInfo(self._handle, ctypes.byref(memory)):
            raise RuntimeError("NVML does not say how much memory is in use")
        return int(memory.used)


def used_memory() -> int | None:
    """Bytes in use on the first GPU; None where there is none."""
    try:
        return Gpu().used_memory()
    except (OSError, RuntimeError, AttributeError):
        return None


def describe() -> Row:
    """Name, driver, memory and clocks, as nvidia-smi says them; ``error`` where it cannot."""
    names = ("name", "driver_version", "memory.total", "clocks.max.sm", "power.limit", "compute_cap")
    try:
        done = subprocess.run(  # noqa: S603
            ["nvidia-smi", f"--query-gpu={','.join(names)}", "--format=csv,noheader"],  # noqa: S607
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return {"error": f"nvidia-smi: {error}"}
    values = [value.strip() for value in done.stdout.splitlines()[0].split(",")]
    return dict(zip(names, values, strict=False))
