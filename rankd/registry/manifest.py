"""``manifest.json``: what it may say of a ranker, and how it is checked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from rankd_client.calibration import Calibration, Knot

from rankd.errors import ArtifactError
from rankd.registry.artifact_files import CUDA_MODEL, MODEL, OPTIONAL_FILES, TOKENIZER, TRAINED_ROWS, short
from rankd.registry.trained_rows import KEY_BYTES, MOST_LISTED, MOST_SOURCES

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


class TrainedSource(_Part):
    """Rows of one origin that it was made of: trained on, or held back to choose an epoch or a calibration by."""

    name: str = Field(max_length=200)
    model: str = Field("", max_length=256)
    """Who answered."""
    rows: int | None = Field(None, ge=1)
    """None: not stated."""
    by: Literal["prompt", "time", "elsewhere"]
    """How a completion is known to be among them: its prompt is in ``trained_rows.bin``; it is one of ``model`` and
    ended no later than ``ended_to``; or not at all, as these rows are no daemon's, such as public data."""
    ended_from: AwareDatetime | None = None
    ended_to: AwareDatetime | None = None
    """When the first and the last ended. None: not known."""

    @model_validator(mode="after")
    def _timed(self) -> TrainedSource:
        if self.by == "time" and self.ended_to is None:
            raise ValueError('ended_to: needed with by "time"')
        return self


class TrainedRowsSpec(_Part):
    """Which rows it was made of: no judgement rests on them."""

    key: str = Field("", pattern=rf"^([0-9a-f]{{{2 * KEY_BYTES}}})?$")
    """Of the hashes in ``trained_rows.bin``, hex; empty where there is none."""
    prompts: int = Field(0, ge=0, le=MOST_LISTED)
    """Listed there."""
    complete: bool = True
    """Whether the sources and the list have all rows."""
    sources: tuple[TrainedSource, ...] = Field((), max_length=MOST_SOURCES)

    @model_validator(mode="after")
    def _keyed(self) -> TrainedRowsSpec:
        if bool(self.key) != bool(self.prompts):
            raise ValueError("key and prompts belong together: give both or neither")
        return self


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
    trained_rows: TrainedRowsSpec | None = None
    """Which rows it was made of. None: not known, so whatever ended before its files were written may be among them."""
    licence: str
    measured_tau: float | None = Field(None, ge=-1, le=1)
    """tau-b on prompts that it never saw; the guard ranks on it until there is live evidence. None: never measured."""
    measurements: tuple[Measurement, ...] = ()
    description: str = ""

    @field_validator("sha256")
    @classmethod
    def _both(cls, value: dict[str, str]) -> dict[str, str]:
        if set(value) - set(OPTIONAL_FILES) != {MODEL, TOKENIZER}:
            raise ValueError(
                f"must have exactly {MODEL} and {TOKENIZER}, {CUDA_MODEL} with the field cuda, and {TRAINED_ROWS} with "
                "trained_rows.prompts"
            )
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
        listed = self.trained_rows is not None and self.trained_rows.prompts > 0
        if listed != (TRAINED_ROWS in self.sha256):
            raise ValueError(f"trained_rows.prompts and the sha256 of {TRAINED_ROWS} belong together: both or neither")
        return self

    @model_validator(mode="after")
    def _monotone(self) -> Manifest:
        calibration_of(self)  # raises ValueError where it is no such map
        return self


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


def parsed(content: bytes, path: Path) -> Manifest:
    """The bytes of a manifest, checked.

    Raises:
        ArtifactError: BAD_MANIFEST or UNKNOWN_MANIFEST_VERSION.
    """
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
    return validated(fields, path)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose names differ: of two hashes or figures nobody could say which one is meant."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        twice = next(name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i]))
        raise ValueError(f"{short(twice)} is given twice")
    return fields


def validated(fields: dict[str, Any], path: Path) -> Manifest:
    """Fields as a manifest; ``path`` for messages.

    Raises:
        ArtifactError: BAD_MANIFEST, naming what is wrong.
    """
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        shown = [
            f"{'.'.join(str(p) for p in e['loc']) or 'manifest'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_url=False)
        ]
        raise ArtifactError("BAD_MANIFEST", f"{path}: " + "; ".join(shown[:5])) from None
