"""The model itself, in onnxruntime: a batch in, scores and pooled features out."""

from __future__ import annotations

import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.features import MOST_DENSE
from rankd.errors import ArtifactError, InferenceError
from rankd.scoring.gpu import CUDA
from rankd.scoring.onnxruntime_import import import_onnxruntime
from rankd.scoring.placement import Placement
from rankd.scoring.session import ModelSpec, SessionOptions, create_session

Ids = NDArray[np.int64]
Scores = NDArray[np.float64]
Pooled = NDArray[np.float32]

_OUT_OF_MEMORY = re.compile(r"bad.?alloc|allocat\w+ memory|available memory|out of memory", re.IGNORECASE)


class OnnxModel:
    """A ranker in onnxruntime. ``run`` may be called from several threads at once: weights are shared."""

    def __init__(self, spec: ModelSpec, options: SessionOptions) -> None:
        """Create the session.

        Raises:
            ProviderError: CUDA was asked for and is not to be had.
            ArtifactError: BAD_MODEL, BAD_INPUTS or BAD_OUTPUT.
        """
        self._spec = replace(spec, content=None)  # which is as large as the weights, and not needed any more
        self._ort = import_onnxruntime(telemetry=options.telemetry)
        self._session, self._profile = create_session(self._ort, spec, options)
        self._running: dict[int, Any] = {}
        """What ends a run that is under way, by the thread that it is in."""
        self._ended = False
        self.provider: Literal["cuda", "cpu"] = "cuda" if self._session.get_providers()[0] == CUDA else "cpu"
        self._device = options.cuda_device
        self.placement: Placement | None = None
        """Where nodes ran at warm-up; None where it was not asked for, or cannot be known."""
        self.features = 0
        """Pooled features that it gives of a prompt; 0 for none."""
        self._check_signature()

    def _check_signature(self) -> None:
        names = [i.name for i in self._session.get_inputs()]
        if sorted(names) != sorted(self._spec.input_names):
            raise ArtifactError(
                "BAD_INPUTS",
                f"{self._spec.path} takes inputs {names}, its manifest says {list(self._spec.input_names)}: "
                "export it again or correct the manifest's inputs",
            )
        for node in self._session.get_inputs():
            if node.type != "tensor(int64)" or len(node.shape) != 2:
                raise ArtifactError(
                    "BAD_INPUTS",
                    f"input {node.name} of {self._spec.path} is {node.type}{node.shape}; "
                    "rankd feeds int64[batch, tokens]",
                )
        outputs = {o.name: o for o in self._session.get_outputs()}
        if self._spec.output_name not in outputs:
            raise ArtifactError(
                "BAD_OUTPUT",
                f"{self._spec.path} has outputs {sorted(outputs)}, its manifest says {self._spec.output_name!r}",
            )
        if self._spec.features_name is not None:
            self._check_features(outputs)

    def _check_features(self, outputs: dict[str, Any]) -> None:
        name = self._spec.features_name
        if name not in outputs:
            raise ArtifactError(
                "BAD_OUTPUT",
                f"{self._spec.path} has outputs {sorted(outputs)}, its manifest says features_output = {name!r}: "
                "export it again or leave features_output out of the manifest",
            )
        node = outputs[name]
        width = node.shape[1] if len(node.shape) == 2 else None
        if node.type != "tensor(float)" or not isinstance(width, int) or not 1 <= width <= MOST_DENSE:
            raise ArtifactError(
                "BAD_OUTPUT",
                f"features_output {name} of {self._spec.path} is {node.type}{node.shape}; it must be "
                f"float32[batch, d] with d a fixed number from 1 to {MOST_DENSE}",
            )
        self.features = width

    def end_profile(self) -> None:
        """Write down no longer where nodes run, and take ``placement`` from the last run."""
        self.placement = self._profile.end(self._session) or self.placement

    def run(self, ids: Ids, mask: Ids) -> Scores:
        """Score a batch.

        Args:
            ids: token ids, int64[batch, tokens], padded with anything.
            mask: 1 where ``ids`` counts, int64[batch, tokens].

        Returns:
            Scores, float64[batch]; NaN is possible and the caller's to judge.

        Raises:
            InferenceError: the model failed; the text carries no input.
        """
        return self._run(ids, mask, [self._spec.output_name])[0]

    def run_with_features(self, ids: Ids, mask: Ids) -> tuple[Scores, Pooled | None]:
        """Score a batch, and give what the ranker sees in it; ``run`` gives the same scores.

        Returns:
            Scores, float64[batch], and pooled features, float32[batch, ``features``]; None where it has none, or they
            came out in another shape. NaN is possible in both.

        Raises:
            InferenceError: as of ``run``.
        """
        if self._spec.features_name is None:
            return self.run(ids, mask), None
        scores, pooled = self._run(ids, mask, [self._spec.output_name, self._spec.features_name])
        return scores, pooled if pooled.shape == (len(ids), self.features) else None

    def _run(self, ids: Ids, mask: Ids, names: list[str]) -> list[NDArray[Any]]:
        feeds = {"input_ids": ids, "attention_mask": mask, "token_type_ids": None}
        inputs = {
            name: np.zeros_like(ids) if feeds.get(name) is None else feeds[name] for name in self._spec.input_names
        }
        thread, options = threading.get_ident(), self._ort.RunOptions()
        self._running[thread] = options
        if self._ended:  # looked at after the options are where ``end`` finds them
            options.terminate = True
        try:
            run = self._run_cuda if self.provider == "cuda" else self._run_cpu
            scores, *others = run(inputs, names, options)
        except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions have no common base
            what = "out of memory" if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(str(error)) else None
            raise InferenceError(f"onnxruntime failed: {what or type(error).__name__}") from None
        finally:
            del self._running[thread]
        if scores.shape != (ids.shape[0],):
            raise InferenceError(f"the model answered with shape {scores.shape} to a batch of {ids.shape[0]}")
        return [scores.astype(np.float64), *others]

    def give_up(self, thread: int | None = None) -> None:
        """End what runs now, which fails, at its next node or turn of a loop; from any thread.

        Args:
            thread: by its ``threading.get_ident()``, the one whose run is ended; None: all of them.
        """
        for running, options in list(self._running.items()):
            if thread in {None, running}:
                options.terminate = True

    def end(self) -> None:
        """End the batches that run now, and fail every later one."""
        self._ended = True
        self.give_up()

    def _run_cpu(self, inputs: dict[str, Any], names: list[str], options: Any) -> list[NDArray[Any]]:
        results: list[NDArray[Any]] = self._session.run(names, inputs, options)
        return results

    def _run_cuda(self, inputs: dict[str, Any], names: list[str], options: Any) -> list[NDArray[Any]]:
        binding = self._session.io_binding()
        for name, value in inputs.items():
            binding.bind_ortvalue_input(name, self._ort.OrtValue.ortvalue_from_numpy(value, "cuda", self._device))
        for name in names:
            binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(binding, options)
        return [value.numpy() for value in binding.get_outputs()]


def warm_up(model: OnnxModel, encoded: list[Ids], *, max_batch_tokens: int, workers: int = 1) -> None:
    """Run known prompts, and the largest batches that run at the same time; where they ran is known then.

    Args:
        model: the model.
        encoded: distinct prompts, int64[tokens] each.
        max_batch_tokens: padded tokens of the largest batch.
        workers: batches at the same time; running them once takes the memory they need.

    Raises:
        ArtifactError: BAD_OUTPUT, NAN_SCORES, CONSTANT_SCORES or BATCH_TOO_LARGE.
    """
    try:
        scores = np.concatenate([model.run_with_features(*pad([ids]))[0] for ids in encoded])
    except InferenceError as error:
        raise ArtifactError("BAD_OUTPUT", f"the model failed at warm-up: {error}") from None
    if not np.isfinite(scores).all():
        raise ArtifactError("NAN_SCORES", "the model gives NaN or infinite scores at warm-up: export it again")
    if np.ptp(scores) == 0:
        raise ArtifactError(
            "CONSTANT_SCORES", f"the model gives {len(encoded)} different prompts the same score: it ranks nothing"
        )
    longest = max(encoded, key=len)
    rows = max(1, max_batch_tokens // len(longest))
    try:
        batch = pad([longest] * rows)
        with ThreadPoolExecutor(workers) as pool:  # whose threads are as low in priority as this one
            for run in [pool.submit(model.run_with_features, *batch) for _ in range(workers)]:
                run.result()
    except (InferenceError, MemoryError, RuntimeError) as error:
        several = f" in each of {workers} workers" if workers > 1 else ""
        raise ArtifactError(
            "BATCH_TOO_LARGE",
            f"a batch of {max_batch_tokens} tokens{several} fails at warm-up ({type(error).__name__}), smaller ones do "
            "not: lower scoring.max_batch_tokens (RANKD_SCORING__MAX_BATCH_TOKENS)"
            f"{' or scoring.workers (RANKD_SCORING__WORKERS)' if workers > 1 else ''}",
        ) from None
    model.end_profile()


def pad(rows: list[Ids], multiple: int = 1) -> tuple[Ids, Ids]:
    """Pad token ids to one rectangle whose width is a multiple of ``multiple``.

    Returns:
        ``(ids, mask)``, both int64[len(rows), width].
    """
    width = max(len(r) for r in rows)
    width += -width % multiple
    ids = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


def lower_priority(nice: int) -> None:
    """Make the calling thread, and threads it creates later, yield to others (Linux; elsewhere nothing happens)."""
    if nice and sys.platform == "linux":
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
        except OSError:
            return  # a sandbox may forbid it; scoring works all the same
