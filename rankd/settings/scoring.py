"""How prompts become scores."""

from __future__ import annotations

from pydantic import Field

from rankd.settings.section import LONGEST, Section


class ScoringSection(Section):
    """How prompts become scores."""

    workers: int = Field(
        0,
        ge=0,
        le=256,
        description="Batches that the model reads at the same time, each on a core of its own; 0 chooses: on a CPU by "
        "the cores, the quota and the memory that the process may use, up to 16; on cuda 1.",
    )
    threads: int = Field(
        1, ge=1, le=256, description="Threads of each worker (onnxruntime intra-op); more than 1 is for large models."
    )
    tokeniser_threads: int = Field(1, ge=1, le=64, description="Threads that tokenise.")
    max_batch_tokens: int = Field(
        0, ge=0, le=2**18, description="Padded tokens in one batch; 0 chooses by provider: cpu 128, cuda 16384."
    )
    max_batch_prompts: int = Field(512, ge=1, le=2**16, description="Most prompts in one batch.")
    max_padding_share: float = Field(0.2, ge=0, le=1, description="Most padding in a batch, as a share of its tokens.")
    max_queued_prompts: int = Field(16384, ge=1, le=2**24, description="Prompts that may wait for the model.")
    max_queued_tokens: int = Field(2**21, ge=1, le=2**32, description="Tokens that may wait for the model.")
    cache_entries: int = Field(
        65536,
        ge=0,
        le=2**26,
        description="Scores kept of each ranker, with their texts' features; prompts are not.",
    )
    cache_bytes: int = Field(
        2**25,
        ge=0,
        le=2**40,
        description="Most memory that they take, of each ranker: a score takes 256 bytes, the features of its text up "
        "to 650 more.",
    )
    deadline_margin: float = Field(
        0.01, ge=0, le=LONGEST, description="Answer this long before a call's deadline, seconds."
    )
    default_deadline: float = Field(60.0, gt=0, le=LONGEST, description="Deadline of calls that set none, seconds.")
    cuda_memory_limit: int = Field(4 * 2**30, ge=2**26, le=2**40, description="Most GPU memory of the model, bytes.")
    cuda_device: int = Field(0, ge=0, le=255, description="Which GPU.")
    max_batch_seconds: float = Field(
        30.0, gt=0, le=LONGEST, description="A batch that the model reads for longer is given up, seconds."
    )
    max_artifact_bytes: int = Field(
        2**30, ge=2**16, le=2**40, description="Most bytes of a ranker's files together; larger ones are refused."
    )
    load_seconds: float = Field(
        60.0,
        gt=0,
        le=LONGEST,
        description="What trying a ranker out in a process of its own may take, and then loading it, seconds each.",
    )
    load_memory: int = Field(
        2 * 2**30,
        ge=2**26,
        le=2**44,
        description="Most memory that a ranker may take on trial, and a tokeniser in a process of its own, bytes; "
        "no more than half of what the container or the machine has. On CUDA nothing else bounds a trial.",
    )
    model_memory: int = Field(
        0,
        ge=0,
        le=2**44,
        description="Most memory in which all models calculate on the CPU, bytes; a batch that needs more fails. "
        "0: half of what the container or the machine has.",
    )
    onnxruntime_telemetry: bool = Field(
        default=False,
        description="Let onnxruntime send usage events and a device id to its maker. Otherwise they are off, "
        "whatever ORT_DISABLE_TELEMETRY says.",
    )
    nice: int = Field(
        10, ge=0, le=19, description="Lower priority of the model's threads on CPU (Linux), so that calls are answered."
    )
