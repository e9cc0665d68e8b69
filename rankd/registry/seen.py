"""Which completions a ranker was made of, by its manifest: no judgement of it may rest on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rankd.registry.manifest import Manifest
from rankd.registry.trained_rows import PromptList

Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class CompletionColumns:
    """What is asked about, by column; each is [n]."""

    prompts: Sequence[str]
    models: Sequence[str]
    """Served models."""
    ended_at: NDArray[np.float64]
    """Seconds since the epoch; NaN where it is not known."""


def listed_prompts(prompts: PromptList | None, completions: CompletionColumns) -> Bools:
    """Those whose prompt is among a ranker's rows, [n]."""
    if prompts is None:
        return np.zeros(len(completions.prompts), np.bool_)
    return prompts.has(completions.prompts)


def learned_traffic(manifest: Manifest, completions: CompletionColumns) -> Bools:
    """Those that ended while a daemon learned what was baked into a ranker, [n]."""
    found = np.zeros(len(completions.models), np.bool_)
    for source in () if manifest.trained_rows is None else manifest.trained_rows.sources:
        if source.by == "time" and source.ended_to is not None:
            own = np.array([model == source.model for model in completions.models], np.bool_)
            found |= own & (completions.ended_at <= source.ended_to.timestamp())
    return found


def says_all(manifest: Manifest) -> bool:
    """Whether a manifest says of all rows what they were."""
    return manifest.trained_rows is not None and manifest.trained_rows.complete
