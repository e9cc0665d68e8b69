"""From a directory to a tokeniser and a model that scored: tried in a process of its own, then loaded off the loop.

Whatever a ranker does, the event loop goes on and a shutdown ends it: at most ``_AT_ONCE`` loads are under way, each
within ``scoring.load_seconds``, and none holds the others up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rankd.errors import ArtifactError, UnavailableError
from rankd.registry.artifact import Artifact, Graph, load_artifact
from rankd.registry.artifact_files import TOKENIZER, ArtifactFiles, shown
from rankd.registry.bundled import default_ranker_path
from rankd.registry.preparation import LoadPlan, load_and_try, load_model, read_tokeniser
from rankd.registry.trial import RankerTrial, trial_memory
from rankd.scoring.batch_sizes import DEFAULT_BATCH_TOKENS
from rankd.scoring.gpu import choose_provider
from rankd.scoring.onnx_model import OnnxModel
from rankd.scoring.placed_model import PlacedModel
from rankd.scoring.placement import Placement
from rankd.scoring.tokeniser import PromptLimits
from rankd.scoring.tokeniser_apart import TokeniserApart
from rankd.scoring.workers import ModelWorkers, worker_counts
from rankd.settings import Provider, ScoringSection
from rankd.settings.memory_limit import memory_limit

_AT_ONCE = 2
"""Trials at the same time: one that hangs holds nobody up, and memory for more is not planned for."""

_passed: dict[tuple[str, str, LoadPlan], bool] = {}
"""What passed its trial in this process, by hashes of graph and tokenizer, and plan: whether its tokeniser belongs
apart."""


@dataclass(frozen=True, slots=True)
class LoadedParts:
    """What a scorer is made of."""

    tokeniser: PromptLimits
    model: OnnxModel
    placement: Placement | None
    """Where its nodes ran on CUDA, as of ``PlacedModel``."""
    workers: ModelWorkers
    """The threads that run the model."""


class RankerLoader:
    """Loads rankers for one daemon. On the event loop's thread."""

    def __init__(self, provider: Provider, scoring: ScoringSection) -> None:
        """Nothing is loaded yet."""
        self._provider = provider
        self._scoring = scoring
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._trials: set[RankerTrial] = set()
        self._preparing: set[_Preparation] = set()
        self._stopping = False
        self._runs_on: Literal["cuda", "cpu"] | None = None

    async def read(self, path: Path, needed: Callable[[Artifact], bool]) -> tuple[Artifact, bool]:
        """Read a directory, and try it out where it is ``needed``.

        Returns:
            What was read, less graphs for other providers, and whether its tokeniser belongs into a process of its own.

        Raises:
            ArtifactError: the directory cannot be served.
            ProviderError: the provider asked for is not there.
            UnavailableError: the daemon ends.
        """
        if _bundled(path):  # whoever can write there can write rankd itself
            return await self._off_loop(lambda: load_artifact(path, self._scoring.max_artifact_bytes)), False
        async with self._places:
            self._check_stopping()
            async with RankerTrial(path, self._scoring) as trial:
                self._trials.add(trial)
                try:
                    async with asyncio.timeout(self._scoring.load_seconds):
                        return await self._tried(trial, needed)
                except TimeoutError:
                    raise trial.too_slow() from None
                finally:
                    self._trials.discard(trial)

    async def _tried(self, trial: RankerTrial, needed: Callable[[Artifact], bool]) -> tuple[Artifact, bool]:
        files: ArtifactFiles = await trial.read()
        artifact = await self._off_loop(lambda: Artifact.of(files))
        if not needed(artifact):
            return artifact, False
        graph = artifact.graph(self._runs())
        plan = self._plan(artifact, graph)
        hashes = " ".join(files.sha256[g.path.name] for g in artifact.graphs())
        key = (hashes, files.sha256[TOKENIZER], plan)
        if key not in _passed:
            _passed[key] = await trial.run(plan)
        return artifact, _passed[key]

    async def _off_loop(self, read: Callable[[], Artifact]) -> Artifact:
        """Read, and give back the memory of graphs that will not run here."""

        def kept() -> Artifact:
            artifact = read()
            self._runs_on = self._runs_on or choose_provider(self._provider)
            if self._provider != "auto" or self._runs_on == "cpu":  # else the CPU may have to take it
                artifact.keep(self._runs_on)
            return artifact

        return await asyncio.get_running_loop().run_in_executor(None, kept)

    def _runs(self) -> Literal["cuda", "cpu"]:
        """Where models run; known once a ranker was read."""
        assert self._runs_on is not None
        return self._runs_on

    async def prepare(self, artifact: Artifact, *, apart: bool, nice: int) -> LoadedParts:
        """Load and warm up what was read.

        Raises:
            ArtifactError: the ranker cannot be served, or TOO_SLOW.
            ProviderError: the provider asked for is not there.
            UnavailableError: the daemon ends.
        """
        self._check_stopping()
        graph = artifact.graph(self._runs())
        plan = self._plan(artifact, graph)
        preparation = _Preparation(artifact, graph, plan, self._scoring, apart=apart)
        one = ModelWorkers(1, nice)
        future = asyncio.get_running_loop().run_in_executor(one, preparation.run)
        future.add_done_callback(_forget)
        self._preparing.add(preparation)
        try:
            async with asyncio.timeout(self._scoring.load_seconds):
                tokeniser, placed = await asyncio.shield(future)
            workers = ModelWorkers(dict(plan.workers)[placed.model.provider], nice)
            return LoadedParts(tokeniser, placed.model, placed.placement, workers)
        except BaseException as error:
            preparation.end()
            self._check_stopping()
            if not isinstance(error, TimeoutError):
                raise
            raise ArtifactError(
                "TOO_SLOW",
                f"ranker {shown(artifact.path)}: loading and warming up took longer than scoring.load_seconds = "
                f"{self._scoring.load_seconds:g} allows; raise RANKD_SCORING__LOAD_SECONDS",
            ) from None
        finally:
            one.shutdown(wait=False)
            self._preparing.discard(preparation)

    def stop(self) -> None:
        """End what is being loaded, and load nothing more."""
        self._stopping = True
        for trial in self._trials:
            trial.stop()
        for preparation in self._preparing:
            preparation.end()

    def _check_stopping(self) -> None:
        if self._stopping:
            raise UnavailableError("the daemon is shutting down", retry_after=1.0)

    def _plan(self, artifact: Artifact, graph: Graph) -> LoadPlan:
        manifest, scoring = artifact.manifest, self._scoring
        cut = manifest.truncation
        return LoadPlan(
            model_path=str(graph.path),
            tokenizer_path=str(artifact.tokenizer_path),
            inputs=tuple(manifest.inputs),
            output=manifest.output,
            truncation=(cut.max_tokens, cut.head_tokens, cut.tail_tokens),
            provider=self._provider,
            threads=scoring.threads,
            workers=worker_counts(scoring),
            cuda_memory_limit=scoring.cuda_memory_limit,
            cuda_device=scoring.cuda_device,
            batch_tokens=tuple((p, scoring.max_batch_tokens or n) for p, n in DEFAULT_BATCH_TOKENS.items()),
            features=manifest.features_output,
        )


class _Preparation:
    """A ranker that is being loaded in a thread, such that another thread can end it."""

    def __init__(
        self, artifact: Artifact, graph: Graph, plan: LoadPlan, scoring: ScoringSection, *, apart: bool
    ) -> None:
        self._artifact = artifact
        self._graph = graph
        self._plan = plan
        self._scoring = scoring
        self._apart = apart
        self._ended = False
        self._tokeniser: PromptLimits | None = None
        self._model: OnnxModel | None = None

    def run(self) -> tuple[PromptLimits, PlacedModel]:
        """Build both, and warm up."""
        try:
            tokeniser = self._tokeniser = self._read_tokeniser()
            placed = load_and_try(self._plan, tokeniser, self._load)
        except BaseException:
            self._close_tokeniser()
            raise
        self._close_graphs()
        return tokeniser, placed

    def _load(self, plan: LoadPlan) -> OnnxModel:
        graph = self._artifact.graph("cpu") if plan.provider == "cpu" else self._graph
        model = self._model = load_model(
            plan,
            graph.content,
            telemetry=self._scoring.onnxruntime_telemetry,
            memory=self._scoring.model_memory or memory_limit() // 2,
        )
        if plan.provider != "auto" or choose_provider("auto") == "cpu":  # else the CPU may have to take it
            self._close_graphs()
        if self._ended:
            model.end()
        return model

    def _close_graphs(self) -> None:
        """Give back the memory, not whenever it is forgotten: it is as large as the weights."""
        for graph in self._artifact.graphs():
            graph.content.close()

    def _read_tokeniser(self) -> PromptLimits:
        if not self._apart:
            return read_tokeniser(self._plan, self._artifact.tokenizer)
        return TokeniserApart(
            self._artifact.tokenizer_path,
            self._plan.cut,
            self._artifact.tokenizer,
            memory=trial_memory(self._scoring),
            start_seconds=self._scoring.load_seconds,
            seconds=self._scoring.max_batch_seconds,
        )

    def _close_tokeniser(self) -> None:
        if self._tokeniser is not None:
            self._tokeniser.close()

    def end(self) -> None:
        """End it at its next node or turn of a loop; from any thread."""
        self._ended = True
        self._close_tokeniser()
        if self._model is not None:
            self._model.end()


def _forget(future: asyncio.Future[tuple[PromptLimits, PlacedModel]]) -> None:
    """Look at a result that nobody may wait for any more, so that asyncio does not complain of it."""
    if not future.cancelled():
        future.exception()


def _bundled(path: Path) -> bool:
    """Whether a directory came with the package, by name alone: a disk that does not answer must not be asked here."""
    return Path(os.path.abspath(path)).parent == default_ranker_path().parent  # noqa: PTH100 - follows no links
