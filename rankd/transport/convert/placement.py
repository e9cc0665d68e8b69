"""Where a ranker's model runs, as a message."""

from __future__ import annotations

from rankd_client.v1 import quality_pb2

from rankd.registry.loaded import LoadedRanker


def placement_message(ranker: LoadedRanker) -> quality_pb2.ModelPlacement:
    """What its warm-up showed."""
    return quality_pb2.ModelPlacement(
        precision=ranker.precision or "",
        device_share=ranker.device_share,
        cpu_products=dict(ranker.cpu_products),
    )
