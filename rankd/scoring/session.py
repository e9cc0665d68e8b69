"""The session of a model: which providers, how many threads, how much memory.

A session that was asked to run on CUDA and does not is an error; onnxruntime alone would fall back silently.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rankd.errors import ArtifactError, ProviderError
from rankd.scoring.gpu import CUDA, Provider, choose_provider
from rankd.scoring.memory_file import MemoryFile
from rankd.scoring.onnxruntime_import import import_onnxruntime
from rankd.scoring.placement import CPU, Profile

_arenas: list[int] = []
"""The limit of this process's arena, as soon as it has one."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What the manifest promises about ``model.onnx``."""

    path: str
    input_names: tuple[str, ...]
    output_name: str
    max_tokens: int
    content: MemoryFile | None = None
    """What was read of ``path``, and hashed. None: it is read now."""
    features_name: str | None = None
    """The output of pooled features; None where it has none."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """Where and how the model runs. ``cuda_memory_limit`` in bytes."""

    provider: Provider = "auto"
    threads: int = 1
    cuda_memory_limit: int = 4 * 2**30
    cuda_device: int = 0
    telemetry: bool = False
    """onnxruntime's own, to its maker; see ``import_onnxruntime``."""
    memory: int = 0
    """Bytes that all models of the process that have this limit may calculate in on the CPU; 0: no limit."""
    profile: bool = False
    """Whether onnxruntime writes down where nodes run, until ``OnnxModel.end_profile``. The CPU alone needs none."""


def create_session(ort: Any, spec: ModelSpec, options: SessionOptions) -> tuple[Any, Profile]:
    """Create an ``onnxruntime.InferenceSession``, and the profile that it writes; an empty one where none is wanted.

    Raises:
        ProviderError: CUDA was asked for and is not to be had.
        ArtifactError: BAD_MODEL.
    """
    wanted = choose_provider(options.provider)
    providers = [_cuda(options), CPU] if wanted == "cuda" else [CPU]
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = options.threads
    session_options.inter_op_num_threads = 1
    session_options.log_severity_level = 4  # its warnings go to stderr unstructured; failures raise
    # A spinning thread takes the core on which calls are answered.
    session_options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Whatever the bytes look like: what was checked is an ONNX model.
    session_options.add_session_config_entry("session.load_model_format", "ONNX")
    if options.memory and wanted == "cpu":
        _bound_memory(options.memory)
        session_options.add_session_config_entry("session.use_env_allocators", "1")
        # Weights go back to the system with their model; they are as many as the file says.
        session_options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    source: str | bytes = b""
    profile = Profile()
    try:
        source = Path(spec.path).read_bytes() if spec.content is None else spec.content.source()
        with profile.of(session_options) if options.profile else contextlib.nullcontext():
            session = ort.InferenceSession(source, session_options, providers=providers)
    except Exception as error:  # noqa: BLE001 - onnxruntime's exceptions have no common base
        if wanted == "cuda":
            raise ProviderError(f"provider cuda: onnxruntime could not start it: {_first_line(error)}") from None
        said = _first_line(error)
        said = said.replace(source, spec.path) if isinstance(source, str) else said
        raise ArtifactError("BAD_MODEL", f"{spec.path} cannot be loaded: {said}") from None
    if wanted == "cuda" and session.get_providers()[0] != CUDA:
        raise ProviderError(
            "provider cuda: onnxruntime fell back to the CPU: check the driver, CUDA 13 and cuDNN 9, "
            "or start with --provider cpu"
        )
    return session, profile


def _bound_memory(most: int) -> None:
    """Make the one arena of this process in which models calculate on the CPU; what does not fit fails its batch.

    It is made once: a later limit is not looked at.
    """
    if _arenas:
        return
    _arenas.append(most)
    ort = import_onnxruntime()
    place = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    growth = {"arena_extend_strategy": 0, "initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
    ort.create_and_register_allocator(place, ort.OrtArenaCfg({"max_mem": most, **growth}))


def _cuda(options: SessionOptions) -> tuple[str, dict[str, Any]]:
    limits = {"gpu_mem_limit": options.cuda_memory_limit, "arena_extend_strategy": "kSameAsRequested"}
    return CUDA, {"device_id": options.cuda_device, **limits}


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
