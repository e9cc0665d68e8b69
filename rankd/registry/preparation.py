"""From a ranker's bytes to a tokeniser and a model that scored once; the same in the daemon and in a child process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from rankd.registry.artifact_files import MODEL
from rankd.scoring.gpu import Provider, choose_provider
from rankd.scoring.memory_file import MemoryFile
from rankd.scoring.onnx_model import OnnxModel, warm_up
from rankd.scoring.placed_model import PlacedModel, load_placed
from rankd.scoring.session import ModelSpec, SessionOptions
from rankd.scoring.tokeniser import PromptLimits, Tokeniser, Truncation

WARM_UP_PROMPTS = (
    "Hi",
    "What is the capital of France? Answer in one word.",
    "Write a detailed, long essay about the causes and the consequences of the industrial revolution.",
    "Write a python program that parses a log file, groups errors by hour and draws a chart. Explain each step. " * 20,
)
"""Plain prompts of very different answers: a ranker that scores them all alike ranks nothing."""


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What has to be known to load a ranker, in values that JSON has."""

    model_path: str
    """Of the graph that is loaded, ``model.onnx`` or ``model.cuda.onnx``."""
    tokenizer_path: str
    inputs: tuple[str, ...]
    output: str
    truncation: tuple[int, int, int]
    """``max_tokens``, ``head_tokens``, ``tail_tokens``."""
    provider: Provider
    threads: int
    """Of each worker."""
    workers: tuple[tuple[str, int], ...]
    """By provider, batches that run at the same time."""
    cuda_memory_limit: int
    cuda_device: int
    batch_tokens: tuple[tuple[str, int], ...]
    """By provider, padded tokens of the largest batch."""
    features: str | None = None
    """The output of pooled features; None where the ranker has none."""

    @property
    def cut(self) -> Truncation:
        """The truncation."""
        return Truncation(*self.truncation)


def load_model(plan: LoadPlan, content: MemoryFile, *, telemetry: bool = False, memory: int = 0) -> OnnxModel:
    """Load the model of a plan from its bytes, once: all workers run it, and share its threads beside their own.

    Raises:
        ArtifactError: BAD_MODEL, BAD_INPUTS or BAD_OUTPUT.
        ProviderError: CUDA was asked for and is not to be had.
    """
    profile = choose_provider(plan.provider) == "cuda"
    threads = 1 + (plan.threads - 1) * dict(plan.workers)["cpu"]
    return OnnxModel(
        ModelSpec(plan.model_path, tuple(plan.inputs), plan.output, plan.cut.max_tokens, content, plan.features),
        SessionOptions(plan.provider, threads, plan.cuda_memory_limit, plan.cuda_device, telemetry, memory, profile),
    )


def read_tokeniser(plan: LoadPlan, content: MemoryFile) -> Tokeniser:
    """Load the tokeniser of a plan from its bytes.

    Raises:
        ArtifactError: BAD_TOKENIZER.
    """
    return Tokeniser(Path(plan.tokenizer_path), plan.cut, content.read())


def load_and_try(
    plan: LoadPlan,
    tokeniser: PromptLimits,
    load: Callable[[LoadPlan], OnnxModel],
    began: Callable[[str], object] = str,
) -> PlacedModel:
    """Load the model where it really runs; score the warm-up prompts, and the largest batch in each worker at once.

    Args:
        plan: what is loaded.
        tokeniser: its tokeniser.
        load: gives the model of a plan; a second time if the first one does not run where it was asked to.
        began: called with what begins.

    Raises:
        ArtifactError: see ``load_placed`` and ``warm_up``.
        ProviderError: CUDA was asked for and is not to be had.
    """

    def loaded(provider: Provider) -> OnnxModel:
        began("loading the model")
        path = str(Path(plan.model_path).with_name(MODEL)) if provider == "cpu" else plan.model_path
        return load(replace(plan, provider=provider, model_path=path))

    return load_placed(plan.provider, plan.model_path, loaded, lambda model: _try_out(plan, tokeniser, model, began))


def _try_out(plan: LoadPlan, tokeniser: PromptLimits, model: OnnxModel, began: Callable[[str], object]) -> None:
    began("tokenising")
    encoded = tokeniser.encode([tokeniser.cut(p) for p in WARM_UP_PROMPTS])
    began("warming up")
    tokens, workers = dict(plan.batch_tokens)[model.provider], dict(plan.workers)[model.provider]
    warm_up(model, encoded, max_batch_tokens=tokens, workers=workers)
