"""The only place that imports onnxruntime: it says nothing to anybody, neither its maker nor stderr.

Since 1.29 onnxruntime's wheels send usage events and a persistent device id to Microsoft unless
``ORT_DISABLE_TELEMETRY`` is set before the library is loaded. Its logger writes lines of its own shape to stderr: of
GPUs that it does not find, of CUDA libraries that are missing. What fails raises all the same.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

VARIABLE = "ORT_DISABLE_TELEMETRY"
_ITS_LINE = re.compile(rb"\[[VIWEF]:onnxruntime")
_FATAL = 4


def keep_telemetry_off() -> None:
    """Tell an onnxruntime that this process, or one that it starts, may load later to send nothing."""
    os.environ[VARIABLE] = "1"


def import_onnxruntime(module: str = "", *, telemetry: bool = False) -> Any:
    """Import onnxruntime, or a module of it such as ``quantization``.

    Args:
        module: below ``onnxruntime``; empty for itself.
        telemetry: let it send usage events. Only the first call of a process counts, whatever the environment says:
            the library is asked once, when it is loaded.

    Raises:
        ImportError: it is not installed, or not such a module of it.
    """
    if "onnxruntime" not in sys.modules:
        if telemetry:
            os.environ.pop(VARIABLE, None)
        else:
            keep_telemetry_off()
        with _without_its_lines():
            library = importlib.import_module("onnxruntime")
        library.set_default_logger_severity(_FATAL)
        if not telemetry:
            library.disable_telemetry_events()  # on Windows a variable does not reach all of it
    return importlib.import_module(f"onnxruntime.{module}" if module else "onnxruntime")


@contextlib.contextmanager
def _without_its_lines() -> Iterator[None]:
    """Keep onnxruntime's lines off stderr while it is loaded, before its logger can be told; others come late."""
    try:
        kept, caught = os.dup(2), tempfile.TemporaryFile()  # noqa: SIM115 - closed below
    except OSError:  # no stderr, or nowhere to write: then they are shown
        yield
        return
    with caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            rest = [line for line in caught if not _ITS_LINE.search(line) and line.strip(b"\x1b[0m\r\n ")]
            with contextlib.suppress(OSError):
                os.write(2, b"".join(rest))
