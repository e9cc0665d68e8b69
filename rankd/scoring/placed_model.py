"""A model that runs where it was asked to: one whose matrix products do not is refused, or loaded for the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rankd.errors import ArtifactError
from rankd.scoring.gpu import Provider
from rankd.scoring.onnx_model import OnnxModel
from rankd.scoring.placement import Placement

PRODUCTS_ON_CPU = "PRODUCTS_ON_CPU"
"""Why such a ranker is refused."""


@dataclass(frozen=True, slots=True)
class PlacedModel:
    """A model that was warmed up, and where its nodes ran."""

    model: OnnxModel
    placement: Placement | None
    """Of the run on CUDA: where ``model`` is on the CPU, that is why. None where CUDA was not tried, or hid it."""

    @property
    def given_up(self) -> Placement | None:
        """What was seen on CUDA, if that is why the model is on the CPU."""
        return self.placement if self.placement is not None and self.placement.cpu_products else None


def load_placed(
    provider: Provider,
    path: str,
    load: Callable[[Provider], OnnxModel],
    warm_up: Callable[[OnnxModel], object],
) -> PlacedModel:
    """Load a model and warm it up; under ``auto`` for the CPU, if its matrix products do not run on the GPU.

    There it is slower than on the CPU alone: each product waits for a copy from the GPU and for one back.

    Args:
        provider: where it should run.
        path: of the model, for the error's text.
        load: gives the model for a provider, which profiles where that is not the CPU.
        warm_up: runs a model and ends its profile.

    Raises:
        ArtifactError: PRODUCTS_ON_CPU, where CUDA was asked for by name; whatever ``load`` and ``warm_up`` raise.
        ProviderError: of ``load``.
    """
    model = load(provider)
    warm_up(model)
    placement = model.placement
    if placement is None or not placement.cpu_products:
        return PlacedModel(model, placement)
    if provider == "cuda":
        raise ArtifactError(
            PRODUCTS_ON_CPU,
            f"provider cuda: {path}: {sum(placement.cpu_products.values())} of its matrix products ran on the CPU, "
            f"for which onnxruntime has no CUDA kernel: {placement.named_products()}. Export the ranker with a graph "
            "for CUDA (fp16), or start with --provider cpu",
        )
    del model  # before the next one is loaded
    model = load("cpu")
    warm_up(model)
    return PlacedModel(model, placement)
