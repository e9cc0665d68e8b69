"""Where something was measured."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any

from rankd.version import VERSION


def machine() -> dict[str, Any]:
    """Processor, cores, Python, system, day and version."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        model = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), model)
    except OSError:
        pass
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "when": time.strftime("%Y-%m-%d"),
        "rankd": VERSION,
    }
