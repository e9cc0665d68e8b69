"""Whether there is a GPU that onnxruntime can use."""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rankd.errors import ProviderError
from rankd.scoring.onnxruntime_import import import_onnxruntime

Provider = Literal["auto", "cuda", "cpu"]
"""Where a model is asked to run."""
CUDA = "CUDAExecutionProvider"
"""What onnxruntime calls it."""
GPU_PATHS = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""What is there where the kernel has an NVIDIA GPU, and where Windows lends one to Linux (WSL)."""


def wanted_provider(provider: Provider, gpu_paths: Sequence[Path] = GPU_PATHS) -> Literal["cuda", "cpu"]:
    """Say where a model should run, whether or not it can: for ``auto``, on the GPU that the machine shows.

    A GPU whose driver or whose onnxruntime does not fit leaves ``auto`` on the CPU, and nothing says so.
    """
    if provider == "auto":
        return "cuda" if any(path.exists() for path in gpu_paths) else "cpu"
    return provider


def choose_provider(provider: Provider) -> Literal["cuda", "cpu"]:
    """Say where a model runs: with ``auto`` on a GPU that onnxruntime can use here, else on the CPU.

    Asking takes a while where the answer is not in the question.

    Raises:
        ProviderError: CUDA was asked for and is not to be had.
    """
    if provider == "cpu":
        return "cpu"
    if cuda_device_present():
        return "cuda"
    if provider == "cuda":
        raise ProviderError(
            "provider cuda: no CUDA device or no CUDA build of onnxruntime on this machine; "
            "install onnxruntime-gpu and a driver, or start with --provider auto or cpu"
        )
    return "cpu"


def cuda_device_present() -> bool:
    """Say whether onnxruntime can use a CUDA device here; ``auto`` must not pay for a failing session."""
    ort = import_onnxruntime()
    if CUDA not in ort.get_available_providers():
        return False
    preload = getattr(ort, "preload_dlls", None)
    if preload is not None and _has_nvidia_driver():
        # It prints what it does not find; the session says so itself.
        with contextlib.redirect_stdout(io.StringIO()):
            preload()
    return _has_nvidia_driver()


def _has_nvidia_driver() -> bool:
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(name)
        count = ctypes.c_int()
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except OSError:
        return False
