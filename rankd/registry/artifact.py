"""A ranker as a directory: ``model.onnx``, ``tokenizer.json`` and a ``manifest.json`` that vouches for both.

It may have a second graph, ``model.cuda.onnx``, in an arithmetic of which CUDA has kernels: where it runs chooses.

Everything that can be wrong with a directory has its own reason, and a message that names the file or field and the
remedy. What only the model itself can show (its inputs, its scores) is checked by ``infer``.

Each file is read once, into memory: what is hashed is what is loaded, and a model whose tensors are in further files
is refused. All may be symbolic links, also to outside the directory: model stores and Kubernetes mounts are made
of them. File names are fixed, never taken from the manifest, and the hashes vouch for what a link leads to.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from rankd_client.calibration import Calibration, Knot

from rankd.errors import ArtifactError
from rankd.registry.artifact_files import (
    CUDA_MODEL,
    DEFAULT_MAX_BYTES,
    MANIFEST,
    MODEL,
    TOKENIZER,
    ArtifactFiles,
    read_files,
    sha256_of,
    short,
)
from rankd.registry.external_data import refuse_external_data
from rankd.scoring.memory_file import MemoryFile

MANIFEST_VERSION = 1
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
"""What a ranker or a version of one may be called."""

Name = Annotated[str, Field(pattern=rf"^{NAME.pattern}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TruncationSpec(_Part):
    """What the model reads of a long prompt, in tokens; special tokens count towards ``max_tokens``."""

    max_tokens: int = Field(ge=4, le=65536)
    head_tokens: int = Field(ge=1)
    tail_tokens: int = Field(ge=0)

    @model_validator(mode="after")
    def _sums(self) -> TruncationSpec:
        if self.head_tokens + self.tail_tokens != self.max_tokens:
            raise ValueError(
                f"head_tokens {self.head_tokens} + tail_tokens {self.tail_tokens} must be max_tokens {self.max_tokens}"
            )
        return self


class KnotSpec(_Part):
    """One point of the calibration, lengths in output tokens."""

    score: Finite
    expected: Finite
    p50: Finite | None = None
    p90: Finite | None = None

    @model_validator(mode="after")
    def _ordered(self) -> KnotSpec:
        if self.p50 is not None and self.p90 is not None and self.p50 > self.p90:
            raise ValueError(f"p50 {self.p50} must not be above p90 {self.p90}")
        return self


class CalibrationSpec(_Part):
    """From score to length, as learned when the ranker was made."""

    knots: tuple[KnotSpec, ...] = Field(min_length=1, max_length=1024)
    mean_expected: Finite
    """Expected length of a request of which nothing is known."""
    source: str = ""
    """What it was learned on."""


class DataSource(_Part):
    """Data that the weights were trained on."""

    name: str
    licence: str
    rows: int | None = None


class Measurement(_Part):
    """One measured figure."""

    dataset: str
    model: str
    rows: int = Field(ge=1)
    kendall_tau: float = Field(ge=-1, le=1)
    realised_gain: float | None = Field(None, ge=-1, le=1)
    trained_on: bool = False
    """The ranker saw this data in training: the figure says little."""


class CudaSpec(_Part):
    """What ``model.cuda.onnx`` calculates in."""

    precision: Literal["fp32", "fp16"]


class Manifest(_Part):
    """``manifest.json``, version 1. Unknown fields are refused: they would be promises that nobody keeps."""

    manifest_version: Literal[1]
    name: Name
    version: Name
    sha256: dict[str, Sha256]
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")
    output: str = "score"
    spread_output: str | None = None
    """Accepted and not read: older exports have such an output, called ``spread``; nothing reads it."""
    features_output: str | None = None
    """The model's second output, float32[batch, d] with d <= 384: what it sees in a prompt, for what is learned of the
    traffic beside it. None: it has none."""
    precision: Literal["fp32", "fp16", "int8"] | None = None
    """What ``model.onnx`` calculates in. None: not stated."""
    cuda: CudaSpec | None = None
    """Of the graph for CUDA. None: there is none, and ``model.onnx`` runs everywhere."""
    direction: Literal["higher_is_longer"]
    truncation: TruncationSpec
    calibration: CalibrationSpec | None = None
    data: tuple[DataSource, ...] = ()
    licence: str
    measured_tau: float | None = Field(None, ge=-1, le=1)
    """tau-b on prompts that it never saw; the guard ranks on it until there is live evidence. None: never measured."""
    measurements: tuple[Measurement, ...] = ()
    description: str = ""

    @field_validator("sha256")
    @classmethod
    def _both(cls, value: dict[str, str]) -> dict[str, str]:
        if set(value) - {CUDA_MODEL} != {MODEL, TOKENIZER}:
            raise ValueError(f"must have exactly {MODEL} and {TOKENIZER}, and {CUDA_MODEL} with the field cuda")
        return value

    @field_validator("inputs")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        allowed = {"input_ids", "attention_mask", "token_type_ids"}
        if "input_ids" not in value or not set(value) <= allowed or len(set(value)) != len(value):
            raise ValueError(f"must have input_ids and may have {sorted(allowed - {'input_ids'})}")
        return value

    @model_validator(mode="after")
    def _hashed(self) -> Manifest:
        if (self.cuda is not None) != (CUDA_MODEL in self.sha256):
            raise ValueError(f"the field cuda and the sha256 of {CUDA_MODEL} belong together: give both or neither")
        return self

    @model_validator(mode="after")
    def _monotone(self) -> Manifest:
        calibration_of(self)  # raises ValueError where it is no such map
        return self


@dataclass(frozen=True, slots=True)
class Graph:
    """A ranker's graph for one provider."""

    path: Path
    """Where it came from, for messages."""
    content: MemoryFile
    """The bytes that were hashed; they are what is loaded."""
    precision: str | None
    """None: not stated."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A ranker directory that was checked."""

    path: Path
    manifest: Manifest
    model: MemoryFile
    """The bytes of ``model.onnx`` that were hashed."""
    tokenizer: MemoryFile
    """Those of ``tokenizer.json``."""
    cuda_model: MemoryFile | None = None
    """Those of ``model.cuda.onnx``; None where there is none."""

    @classmethod
    def of(cls, files: ArtifactFiles) -> Artifact:
        """What was read, as a ranker whose hashes are right.

        Raises:
            ArtifactError: BAD_MANIFEST, UNKNOWN_MANIFEST_VERSION, MISSING_FILE, UNNAMED_FILE or BAD_HASH.
        """
        manifest = _parsed(files.content[MANIFEST].read(), files.path / MANIFEST)
        _check_named(manifest, files)
        for name, expected in sorted(manifest.sha256.items()):
            if (actual := files.sha256[name]) != expected:
                raise ArtifactError(
                    "BAD_HASH",
                    f"{files.path / name} has sha256 {actual}, {MANIFEST} says {expected}: "
                    "the file is damaged or was replaced; copy the directory again",
                )
        content = files.content
        return cls(files.path, manifest, content[MODEL], content[TOKENIZER], content.get(CUDA_MODEL))

    @property
    def ranker_version(self) -> str:
        """``name@version``."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def graph(self, provider: Literal["cuda", "cpu"]) -> Graph:
        """What is loaded where it runs on ``provider``: without a graph for CUDA, ``model.onnx`` there too."""
        if provider == "cuda" and self.cuda_model and self.manifest.cuda:
            return Graph(self.path / CUDA_MODEL, self.cuda_model, self.manifest.cuda.precision)
        return Graph(self.model_path, self.model, self.manifest.precision)

    def graphs(self) -> list[Graph]:
        """All there are, the CPU's first."""
        return [self.graph("cpu")] if self.cuda_model is None else [self.graph("cpu"), self.graph("cuda")]

    def keep(self, provider: Literal["cuda", "cpu"]) -> Graph:
        """The provider's graph; the memory of another one is given back."""
        kept = self.graph(provider)
        for graph in (g for g in self.graphs() if g.path != kept.path):
            graph.content.close()
        return kept

    @property
    def model_path(self) -> Path:
        """Where ``model.onnx`` came from, for messages."""
        return self.path / MODEL

    @property
    def tokenizer_path(self) -> Path:
        """Where the tokenizer came from, for messages."""
        return self.path / TOKENIZER

    def calibration(self) -> Calibration | None:
        """The manifest's calibration; None where it has none."""
        return calibration_of(self.manifest)


def calibration_of(manifest: Manifest) -> Calibration | None:
    """A manifest's calibration as a map.

    Raises:
        ValueError: naming what is wrong with it.
    """
    spec = manifest.calibration
    if spec is None:
        return None
    knots = Calibration(tuple(Knot(k.score, k.expected, k.p50, k.p90) for k in spec.knots), spec.mean_expected)
    return knots.rising()


def load_artifact(path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> Artifact:
    """Read and check a ranker directory; each file is read once.

    Args:
        path: the directory.
        max_bytes: of its files together.

    Raises:
        ArtifactError: NOT_A_DIRECTORY, MISSING_FILE, EMPTY_FILE, UNREADABLE_FILE, CHANGED_MEANWHILE, TOO_LARGE,
            BAD_MANIFEST, UNKNOWN_MANIFEST_VERSION, UNNAMED_FILE, BAD_HASH, EXTERNAL_DATA or BAD_MODEL.
    """
    artifact = Artifact.of(read_files(path, max_bytes))
    for graph in artifact.graphs():
        refuse_external_data(memoryview(graph.content.read()), str(graph.path))
    return artifact


def write_manifest(path: Path, fields: dict[str, Any]) -> Manifest:
    """Write ``manifest.json`` for a directory that holds the other files; hashes are taken here.

    Raises:
        ArtifactError: BAD_MANIFEST, where ``fields`` do not make one; nothing is written then.
    """
    names = (MODEL, TOKENIZER, CUDA_MODEL) if fields.get("cuda") else (MODEL, TOKENIZER)
    hashes = {name: sha256_of(path / name) for name in names}
    manifest = _validated({"manifest_version": MANIFEST_VERSION, "sha256": hashes, **fields}, path / MANIFEST)
    text = json.dumps(manifest.model_dump(exclude_none=True), indent=1, ensure_ascii=False)
    temporary = path / (MANIFEST + ".new")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path / MANIFEST)
    return manifest


def _check_named(manifest: Manifest, files: ArtifactFiles) -> None:
    """The manifest names every graph that is there, and no other: a forgotten file would be served, or trusted in."""
    path = files.path / CUDA_MODEL
    if CUDA_MODEL in manifest.sha256 and CUDA_MODEL not in files.sha256:
        raise ArtifactError(
            "MISSING_FILE",
            f"{path} is missing, and {MANIFEST} names it: copy the directory again, or take cuda and its hash out",
        )
    if CUDA_MODEL in files.sha256 and CUDA_MODEL not in manifest.sha256:
        raise ArtifactError(
            "UNNAMED_FILE",
            f"{path} is there, and {MANIFEST} does not name it: remove the file, or copy the directory again",
        )


def _parsed(content: bytes, path: Path) -> Manifest:
    try:
        fields = json.loads(content.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise ArtifactError("BAD_MANIFEST", f"{path} is not proper JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ArtifactError("BAD_MANIFEST", f"{path} must hold a JSON object")
    version = fields.get("manifest_version")
    if version != MANIFEST_VERSION or isinstance(version, bool):
        raise ArtifactError(
            "UNKNOWN_MANIFEST_VERSION",
            f"{path} has manifest_version {short(repr(version))}, this rankd reads {MANIFEST_VERSION}: "
            "use a matching rankd",
        )
    return _validated(fields, path)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose names differ: of two hashes or figures nobody could say which one is meant."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))
        raise ValueError(f"{short(twice)} is given twice")
    return fields


def _validated(fields: dict[str, Any], path: Path) -> Manifest:
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        shown = [
            f"{'.'.join(str(p) for p in e['loc']) or 'manifest'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_url=False)
        ]
        raise ArtifactError("BAD_MANIFEST", f"{path}: " + "; ".join(shown[:5])) from None
