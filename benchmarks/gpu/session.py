"""A session of one variant, and runs of it in each of the ways that a batch can be handed over."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rankd.scoring.gpu import CUDA, cuda_device_present
from rankd.scoring.onnx_model import Ids
from rankd.scoring.onnxruntime_import import import_onnxruntime

Floats = NDArray[np.float32]
Feed = Literal["fresh", "bound", "pinned", "resident", "graph"]
"""``fresh``: device buffers made anew for each batch and outputs bound to the CPU, as the daemon does. ``bound``: the
buffers of a shape are kept. ``pinned``: from page-locked memory. ``resident``: inputs lie on the device already, which
no caller can have; it bounds what copying costs. ``graph``: one CUDA graph for each shape."""
NAMES = ("input_ids", "attention_mask")
TENSORRT = "TensorrtExecutionProvider"
_MOST_KEPT = 64
"""Shapes whose buffers are kept."""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """What to run."""

    graph: str
    """A file."""
    provider: Literal["cuda", "cpu", "tensorrt"]
    feed: Feed = "fresh"
    options: dict[str, str] = field(default_factory=dict)
    """Of the provider."""
    profile: str = ""
    """Prefix of a profile's file; empty is none."""
    threads: int = 1


class Session:
    """A session, and buffers of the shapes that it has met."""

    def __init__(self, plan: SessionPlan) -> None:
        """Load the graph.

        Raises:
            RuntimeError: the provider that was asked for is not the session's first.
        """
        self.plan = plan
        self.ort = import_onnxruntime()
        options = self.ort.SessionOptions()
        options.intra_op_num_threads = plan.threads
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if plan.profile:
            options.enable_profiling, options.profile_file_prefix = True, plan.profile
        if plan.provider != "cpu" and not cuda_device_present():
            raise RuntimeError("no CUDA device, no driver, or no CUDA build of onnxruntime on this machine")
        self.session = self.ort.InferenceSession(plan.graph, options, providers=self._providers())
        self.providers: list[str] = self.session.get_providers()
        wanted = {"cuda": CUDA, "tensorrt": TENSORRT, "cpu": "CPUExecutionProvider"}[plan.provider]
        if self.providers[0] != wanted:
            raise RuntimeError(f"onnxruntime fell back to {self.providers[0]} from {wanted}")
        self._device = "cpu" if plan.provider == "cpu" else "cuda"
        self._bound: dict[tuple[int, ...], _Bound] = {}
        self._numbers = count(1)

    def _providers(self) -> list[Any]:
        plan = self.plan
        graph = {"enable_cuda_graph": "1"} if plan.feed == "graph" else {}
        cuda = (CUDA, {"device_id": "0", "arena_extend_strategy": "kSameAsRequested", **graph, **plan.options})
        if plan.provider == "tensorrt":
            return [(TENSORRT, {"device_id": "0", **plan.options}), CUDA, "CPUExecutionProvider"]
        return ["CPUExecutionProvider"] if plan.provider == "cpu" else [cuda, "CPUExecutionProvider"]

    def run(self, ids: Ids, mask: Ids) -> Floats:
        """Score a batch, int64[batch, tokens] each: float32[batch]."""
        if self.plan.feed == "fresh":
            return self._fresh(ids, mask)
        kept = self._bound.get(ids.shape)
        if kept is None:
            if len(self._bound) >= _MOST_KEPT:
                self._bound.clear()
            kept = self._bound[ids.shape] = _Bound(self, ids.shape, next(self._numbers), self._device)
        return kept.run(ids, mask)

    def _fresh(self, ids: Ids, mask: Ids) -> Floats:
        values = dict(zip(NAMES, (ids, mask), strict=True))
        if self._device == "cpu":
            found: Floats = self.session.run(["score"], values)[0]
            return found
        binding = self.session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, self.ort.OrtValue.ortvalue_from_numpy(value, "cuda", 0))
        binding.bind_output("score", "cpu")
        self.session.run_with_iobinding(binding)
        scores: Floats = binding.get_outputs()[0].numpy()
        return scores

    def end_profile(self) -> Path:
        """The file of the profile, where there is one."""
        return Path(self.session.end_profiling())


class _Bound:
    """The buffers and the binding of one shape."""

    def __init__(self, owner: Session, shape: tuple[int, ...], number: int, device: str) -> None:
        self._session, self._feed = owner.session, owner.plan.feed
        value, ort = owner.ort.OrtValue, owner.ort
        self._inputs = [value.ortvalue_from_shape_and_type(list(shape), np.int64, device, 0) for _ in NAMES]
        self._score = value.ortvalue_from_shape_and_type([shape[0]], np.float32, device, 0)
        self._binding = owner.session.io_binding()
        for name, buffer in zip(NAMES, self._inputs, strict=True):
            self._binding.bind_ortvalue_input(name, buffer)
        self._binding.bind_ortvalue_output("score", self._score)
        self._options = ort.RunOptions()
        if self._feed == "graph":
            self._options.add_run_config_entry("gpu_graph_id", str(number))
        self._host: list[Ids] = []
        if self._feed == "pinned":
            self._host = [np.zeros(shape, dtype=np.int64) for _ in NAMES]
            if device == "cuda":
                for array in self._host:
                    _pin(array)
        self._filled = False

    def run(self, ids: Ids, mask: Ids) -> Floats:
        if not (self._feed == "resident" and self._filled):
            for i, array in enumerate((ids, mask)):
                if self._host:
                    np.copyto(self._host[i], array)
                self._inputs[i].update_inplace(self._host[i] if self._host else array)
            self._filled = True
        self._session.run_with_iobinding(self._binding, self._options)
        scores: Floats = self._score.numpy()
        return scores


def _pin(array: Ids) -> None:
    """Lock an array's pages, so that copies to the device need no other buffer; until the process ends.

    Raises:
        RuntimeError: the driver does not.
    """
    driver = ctypes.CDLL("libcuda.so.1")
    register: Callable[..., int] = driver.cuMemHostRegister_v2
    status = register(ctypes.c_void_p(array.ctypes.data), ctypes.c_size_t(array.nbytes), ctypes.c_uint(1))
    if status:
        raise RuntimeError(f"cuMemHostRegister failed with status {status}")
