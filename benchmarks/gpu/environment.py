"""What this machine and this Python are: driver, GPU, onnxruntime, and what would make a figure mean something else."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from benchmarks.gpu.child import rows_of
from benchmarks.gpu.device import describe, used_memory
from benchmarks.gpu.encoder import Encoder
from benchmarks.gpu.packages import missing, versions
from benchmarks.gpu.raw import Files
from benchmarks.gpu.results import Results, Row
from benchmarks.gpu.scale import Scale
from rankd.registry.artifact import Artifact
from rankd.scoring.gpu import cuda_device_present
from rankd.scoring.onnxruntime_import import import_onnxruntime


def run_environment(results: Results, artifact: Artifact, encoder: Encoder, files: Files, scale: Scale) -> None:
    """Look, and load a session of the served graph and one of the CPU's own graph."""
    found: Row = {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.platform(),
        "packages": versions(),
        "missing_for_daemon": missing({"daemon"}),
        "gpu": describe(),
        "gpu_memory_used": used_memory(),
        "ranker": f"{artifact.ranker_version} at {artifact.path}",
        "encoder": encoder.source,
        "encoder_is_the_ranker": encoder.real,
        "onnxruntime": _onnxruntime(),
    }
    results.start("environment", found)
    for name in ("served", "int8"):
        job = {
            "kind": "onnx", "graph": files.path(name), "provider": scale.provider, "feed": "fresh", "options": {},
            "lanes": 1, "share": False, "profile": True, "rows": str(files.rows), "references": files.references(name),
            "shapes": [], "seconds": 0.0, "mixes": [],
        }  # fmt: skip
        found[f"{name}_graph"] = list(rows_of("benchmarks.gpu.variant", job, min(60.0, max(5.0, scale.left()))))
        results.write()
    results.say("environment", f"{found['gpu'].get('name', 'no GPU')}, {found['onnxruntime']}")


def _onnxruntime() -> Row:
    ort = import_onnxruntime()
    return {
        "version": ort.__version__,
        "available_providers": ort.get_available_providers(),
        "preload_dlls": hasattr(ort, "preload_dlls"),
        "cuda_device_present": cuda_device_present(),
        "built_for_cuda": str(getattr(ort, "cuda_version", "")),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
