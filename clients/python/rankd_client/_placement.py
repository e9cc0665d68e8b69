"""Where a model really runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rankd_client.v1 import quality_pb2


@dataclass(frozen=True, slots=True)
class ModelPlacement:
    """What a profile of a ranker's warm-up showed; empty from a daemon that does not say."""

    precision: str = ""
    """What the graph that runs calculates in: ``fp32``, ``fp16`` or ``int8``; empty where its manifest does not say."""
    device_share: float | None = None
    """Of the model's time, what did not pass on the CPU, 0 to 1; None where it runs there, or that is not known."""
    cpu_products: Mapping[str, int] = field(default_factory=dict)
    """Matrix products by operator that CUDA left to the CPU, which is why the model was loaded for the CPU."""


def model_placement_of(message: quality_pb2.ModelPlacement) -> ModelPlacement:
    """A placement as plain values."""
    share = message.device_share if message.HasField("device_share") else None
    return ModelPlacement(message.precision, share, dict(message.cpu_products))
