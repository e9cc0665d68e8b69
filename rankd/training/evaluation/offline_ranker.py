"""A ranker read from its directory, scoring as the daemon does: same tokeniser, same batches, same model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation import FeatureHasher
from rankd.registry.artifact import Artifact
from rankd.registry.preparation import WARM_UP_PROMPTS
from rankd.scoring.batch_queue import BatchQueue, QueuedPrompt
from rankd.scoring.batch_sizes import DEFAULT_BATCH_TOKENS, WIDTH_MULTIPLE
from rankd.scoring.gpu import choose_provider
from rankd.scoring.onnx_model import Ids, OnnxModel, pad, warm_up
from rankd.scoring.placed_model import load_placed
from rankd.scoring.placement import Placement
from rankd.scoring.session import ModelSpec, SessionOptions
from rankd.scoring.tokeniser import Tokeniser, Truncation
from rankd.settings import Provider, ScoringSection
from rankd.types import Scored

Floats = NDArray[np.float64]

QUEUE = 512
"""Prompts that are tokenised and sorted by length together: the queue that an engine would send."""


class OfflineRanker:
    """A ranker for prompts that are all there: no deadlines, no cache, no calls."""

    def __init__(
        self,
        artifact: Artifact,
        *,
        truncation: Truncation | None = None,
        provider: Provider = "cpu",
        threads: int = 1,
        key: bytes = b"",
        graph: Literal["cuda", "cpu"] | None = None,
    ) -> None:
        """Load it; ``truncation`` overrides the manifest's, ``key`` is what words are hashed with.

        ``graph`` loads the graph for one provider, wherever it runs; None: the one that belongs there.

        Raises:
            ArtifactError: its model or tokenizer cannot be used.
            ProviderError: CUDA was asked for and is not to be had.
        """
        self._artifact, self._options = artifact, ScoringSection(threads=threads)
        self.hasher = FeatureHasher(key, artifact.ranker_version)
        """Makes the texts' part of features, and packs them with the requests' shapes."""
        spec = artifact.manifest.truncation
        cut = truncation or Truncation(spec.max_tokens, spec.head_tokens, spec.tail_tokens)
        self._tokeniser = Tokeniser(artifact.tokenizer_path, cut, artifact.tokenizer.read())
        self._asked = provider
        self.placement: Placement | None = None
        """Where its nodes ran on CUDA, after a warm-up; as of ``PlacedModel``."""
        self._take(self._load(provider, graph))

    def _load(
        self, provider: Provider, graph: Literal["cuda", "cpu"] | None = None, *, profile: bool = False
    ) -> OnnxModel:
        manifest, options = self._artifact.manifest, self._options
        self.graph = self._artifact.graph(graph or choose_provider(provider))
        """What was loaded."""
        return OnnxModel(
            ModelSpec(
                str(self.graph.path),
                tuple(manifest.inputs),
                manifest.output,
                self._tokeniser.max_tokens,
                self.graph.content,
                manifest.features_output,
            ),
            SessionOptions(provider, options.threads, options.cuda_memory_limit, options.cuda_device, profile=profile),
        )

    def _take(self, model: OnnxModel) -> None:
        self._model = model
        self.provider = model.provider
        self._multiple = WIDTH_MULTIPLE[self.provider]
        self._limits = {
            "max_tokens": DEFAULT_BATCH_TOKENS[self.provider],
            "max_prompts": self._options.max_batch_prompts,
            "max_padding_share": self._options.max_padding_share,
        }

    def warm_up(self) -> None:
        """Run what the daemon runs before it serves; a ranker that it would refuse is refused here too.

        With ``auto`` one that it would load for the CPU is loaded for the CPU.

        Raises:
            ArtifactError: BAD_OUTPUT, NAN_SCORES, CONSTANT_SCORES or PRODUCTS_ON_CPU.
        """
        if choose_provider(self._asked) == "cpu" or self.placement is not None:
            self._warm(self._model)
            return
        # Anew, under a profile: nobody who scores without a warm-up should pay for one.
        del self._model
        placed = load_placed(
            self._asked,
            str(self.graph.path),
            lambda provider: self._load(provider, profile=provider != "cpu"),
            self._warm,
        )
        self._take(placed.model)
        self.placement = placed.placement

    @property
    def device_share(self) -> float | None:
        """Of the model's time, what did not pass on the CPU, 0 to 1; None where it runs there, or that is not known."""
        return None if self.placement is None or self.provider == "cpu" else self.placement.device_share

    def _warm(self, model: OnnxModel) -> None:
        warm_up(model, self._encode(WARM_UP_PROMPTS), max_batch_tokens=DEFAULT_BATCH_TOKENS[model.provider])

    def length(self, prompt: str) -> int:
        """Tokens of a prompt, no more than the limit."""
        return len(self._encode([prompt])[0])

    def scores(self, prompts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> Floats:
        """Score prompts in the daemon's batches.

        Args:
            prompts: any number.
            on_progress: called with how many are done, after every queue of ``QUEUE``.

        Returns:
            Scores, [prompts]; NaN is possible.

        Raises:
            InferenceError: the model failed; the text carries no input.
        """
        out = np.empty(len(prompts))
        for places, rows in self._all_batches(prompts, on_progress):
            out[places] = self._model.run(*pad(rows, self._multiple))
        return out

    def scored(self, prompts: Sequence[str], on_progress: Callable[[int], None] | None = None) -> list[Scored]:
        """Score prompts as ``scores`` does, to the bit, and make the texts' part of what the daemon learns from.

        Args:
            prompts: any number.
            on_progress: as of ``scores``.

        Returns:
            Score and text of each prompt; ``hasher.pack`` puts a request's shape beside the text.

        Raises:
            InferenceError: the model failed; the text carries no input.
        """
        out = [Scored(np.nan)] * len(prompts)
        for places, rows in self._all_batches(prompts, on_progress):
            scores, pooled = self._model.run_with_features(*pad(rows, self._multiple))
            found = zip(scores.tolist(), self.hasher.text(rows, pooled), strict=True)
            for place, (score, text) in zip(places.tolist(), found, strict=True):
                out[place] = Scored(score, text)
        return out

    def pooled(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """What the model sees in prompts: its pooled features, [prompts, d]; d is 0 where it gives none.

        Raises:
            InferenceError: the model failed; the text carries no input.
        """
        out = np.zeros((len(prompts), self._model.features), dtype=np.float32)
        for places, rows in self._all_batches(prompts, None):
            pooled = self._model.run_with_features(*pad(rows, self._multiple))[1]
            if pooled is not None:
                out[places] = pooled
        return out

    def _all_batches(
        self, prompts: Sequence[str], on_progress: Callable[[int], None] | None
    ) -> Iterator[tuple[NDArray[np.int64], list[Ids]]]:
        """Places and token ids of each batch, a queue of ``QUEUE`` after the other."""
        for start in range(0, len(prompts), QUEUE):
            encoded = self._encode(prompts[start : start + QUEUE])
            for places in self._batches(encoded):
                yield start + places, [encoded[i] for i in places]
            if on_progress is not None:
                on_progress(min(start + QUEUE, len(prompts)))

    def alone(self, prompts: Sequence[str]) -> Floats:
        """Score prompts one at a time: int8 scores depend a little on their neighbours, these on nothing."""
        return np.array([self._model.run(*pad([ids], self._multiple))[0] for ids in self._encode(prompts)])

    def latencies(self, prompts: Sequence[str]) -> Floats:
        """Seconds for each prompt alone, from text to score."""
        seconds = []
        for prompt in prompts:
            began = time.perf_counter()
            self._model.run(*pad(self._encode([prompt]), self._multiple))
            seconds.append(time.perf_counter() - began)
        return np.array(seconds)

    def _encode(self, prompts: Sequence[str]) -> list[Ids]:
        return self._tokeniser.encode([self._tokeniser.cut(p) for p in prompts])

    def _batches(self, encoded: list[Ids]) -> Iterator[NDArray[np.int64]]:
        """Places of the prompts of each batch, as the daemon's own queue forms them."""
        queue = BatchQueue(self._tokeniser.max_tokens, multiple=self._multiple, **self._limits)  # type: ignore[arg-type]
        places = {QueuedPrompt(b"", None, len(ids), ids=ids): i for i, ids in enumerate(encoded)}
        for entry in places:
            queue.add(entry)
        while len(queue):
            # A pace of 0 means that no deadline bounds a batch.
            yield np.array([places[entry] for entry in queue.form(0.0, 0.0)])
