"""Where a session's nodes ran, by onnxruntime's own profile, as the daemon reads it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.gpu.results import Row
from rankd.scoring.placement import placement_of


def where_nodes_ran(profile: Path) -> Row:
    """Nodes by provider, the share of the run's time that did not pass in nodes of the CPU, and products that did.

    Args:
        profile: what ``InferenceSession.end_profiling`` wrote; the last run in it is read.
    """
    placed = placement_of(profile.read_bytes())
    if placed is None:
        return {"nodes": {}, "device_share": None, "products_on_cpu": [], "products_on_cpu_count": None}
    return {
        "nodes": dict(placed.nodes),
        "device_share": placed.device_share,
        "products_on_cpu": sorted(placed.cpu_products),
        "products_on_cpu_count": sum(placed.cpu_products.values()),
    }
