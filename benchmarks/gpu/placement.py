"""Where a session's nodes ran, by onnxruntime's own profile."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from benchmarks.gpu.results import Row

_PRODUCTS = frozenset({
    "MatMul", "Gemm", "FusedMatMul", "FusedGemm", "Attention", "MultiHeadAttention", "PackedAttention",
    "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "MatMulNBits", "QAttention",
})  # fmt: skip
_CPU = "CPUExecutionProvider"


def where_nodes_ran(profile: Path) -> Row:
    """Count nodes by provider, and say what share of the time was not the CPU's.

    A node on the device counts as long as its launch takes, so that ``device_share`` is a lower bound of what the
    device does; copies between device and host are the device's.

    Args:
        profile: what ``InferenceSession.end_profiling`` wrote; the last run in it is read.
    """
    events = [e for e in json.loads(profile.read_text(encoding="utf-8")) if e.get("cat") == "Node"]
    return placement_of(events)


def placement_of(events: list[dict[str, Any]]) -> Row:
    """The same of events that were read."""
    seconds: dict[str, float] = defaultdict(float)
    nodes: dict[str, set[str]] = defaultdict(set)
    on_cpu: dict[str, str] = {}
    for event in events:
        arguments = event.get("args", {})
        provider, operator = arguments.get("provider"), arguments.get("op_name", "")
        if not provider or not event.get("name", "").endswith("_kernel_time"):
            continue
        name = event["name"].removesuffix("_kernel_time")
        seconds[provider] += event.get("dur", 0) / 1e6
        nodes[provider].add(name)
        if provider == _CPU and operator in _PRODUCTS:
            on_cpu[name] = operator
    whole = sum(seconds.values())
    return {
        "nodes": {provider: len(names) for provider, names in nodes.items()},
        "device_share": 1 - seconds.get(_CPU, 0.0) / whole if whole else None,
        "products_on_cpu": sorted(set(on_cpu.values())),
        "products_on_cpu_count": len(on_cpu),
    }
