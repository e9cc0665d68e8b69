"""From a trained ranker to a directory that is served: fused graph, precision, check, calibration, manifest, card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from onnx import ModelProto
from rankd_client.calibration import fit_monotone

from rankd.errors import ArtifactError, ConfigError
from rankd.registry.artifact import write_manifest
from rankd.registry.artifact_files import CUDA_MODEL, MODEL, TOKENIZER
from rankd.scoring.onnx_model import OnnxModel, Scores
from rankd.scoring.session import ModelSpec, SessionOptions
from rankd.training.bases.base import NGRAM
from rankd.training.bases.transformer import TransformerRanker
from rankd.training.data.dataset import Row
from rankd.training.data.lists import EncodedRows, encode
from rankd.training.export.canonical_graph import to_bytes
from rankd.training.export.cuda_graph import PRECISION as CUDA_PRECISION
from rankd.training.export.cuda_graph import CudaReport, write_cuda_graph
from rankd.training.export.model_card import write_card
from rankd.training.export.onnx_graph import FusedGraph, fused_graph
from rankd.training.export.parity import (
    FEATURES,
    INPUTS,
    SCORE,
    PrecisionLoss,
    one_thread,
    scores_of,
    tau_lost,
    torch_runner,
)
from rankd.training.export.trained_rows import write_trained_rows
from rankd.training.fit.options import FittedRanker

Precision = Literal["fp32", "fp16", "int8"]
MOST_TAU_LOST: dict[Precision, float] = {"fp32": 0.0005, "fp16": 0.001, "int8": 0.003}
"""What a precision may cost in tau against PyTorch's float32, on the calibration rows."""
KNOTS = 32
CARD = "README.md"
CHECKED_ROWS = 1000
"""Rows that are scored for check and calibration."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and how near it is to what was trained."""

    precision: Precision
    largest_difference: float
    """Between a score in onnxruntime and PyTorch's, in units of the score."""
    score_deviation: float
    """Standard deviation of PyTorch's scores, to see the difference by."""
    tau_lost: float
    tau_lost_deviation: float
    """What the choice of rows alone makes of ``tau_lost``; infinite where there are too few."""
    bytes: int
    """Of ``model.onnx``."""
    rows: int
    fused: dict[str, int]
    """Fused operators in the graph, by name."""
    ranges_by_batch: bool
    """Whether activations are quantised by ranges of the batch, so that a score depends on its neighbours."""
    cuda: CudaReport | None = None
    """Of the graph for CUDA; None: there is none."""
    no_cuda: str = ""
    """Why there is none, where there was to be one."""

    def for_card(self) -> dict[str, Any]:
        """What a model card says of an export."""
        return {
            "largest_difference": self.largest_difference,
            "tau_lost": self.tau_lost,
            "ranges_by_batch": self.ranges_by_batch,
            "cuda_tau_lost": None if self.cuda is None else self.cuda.tau_lost,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlan:
    """What is to be written of a trained ranker."""

    name: str
    """Of the ranker."""
    version: str
    """Of the ranker."""
    precision: Precision
    """What the model calculates in."""
    calibration_rows: Sequence[Row]
    """Rows not trained on, of which at most ``CHECKED_ROWS`` are used; they also calibrate int8."""
    data: str
    """What it was trained on, in words."""
    licence: str
    """Of the weights."""
    measurements: Sequence[dict[str, Any]] = ()
    """Figures for the manifest, as ``rankd.registry.manifest.Measurement`` has them."""
    measured_tau: float | None = None
    """tau-b on prompts that it never saw; None: the validation tau of the fit."""
    description: str = ""
    """Free text for the manifest."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """What ``rankd.training.export.model_card`` takes beside the manifest's fields."""
    most_tau_lost: float | None = None
    """tau that the precision may cost; None: ``MOST_TAU_LOST``; ``inf`` allows any."""
    trained_rows: Sequence[Row] = ()
    """All that it was made of, ``calibration_rows`` among them, to be listed beside it; empty: the manifest does not
    say, so that no judgement rests on what ended before."""
    cuda: bool = True
    """Whether an encoder in int8 gets a graph for CUDA beside it."""


@dataclass(frozen=True, slots=True)
class ExportedGraph:
    """A model in its precision, beside what it is checked against."""

    model: ModelProto
    fused: dict[str, int]
    """Fused operators in it, by name."""
    encoded: EncodedRows
    """The rows to check on."""
    expected: Scores
    """PyTorch's scores of them, float64[rows]."""
    float32: FusedGraph | None
    """A transformer in float32."""


def export(fitted: FittedRanker, out: Path, plan: ExportPlan) -> ExportReport:
    """Write a ranker's directory, made where missing; the same bytes for the same arguments.

    Raises:
        ConfigError: there are no calibration rows, or ``out`` cannot be written.
        ArtifactError: NOT_EXPORTED, NOT_FUSED, NAN_SCORES or TAU_LOST.
    """
    graph = make_graph(fitted, plan)
    _write_model(fitted, out, to_bytes(graph.model))
    actual, report = check(fitted, out, graph, plan)
    report = _with_cuda(fitted, out, graph, plan, report)
    write_description(fitted, out, plan, calibration_fields(actual, graph.encoded, plan.data), report)
    return report


def make_graph(fitted: FittedRanker, plan: ExportPlan) -> ExportedGraph:
    """The model in the plan's precision.

    Raises:
        ConfigError: no calibration row is complete.
        ArtifactError: NOT_EXPORTED, NOT_FUSED or OVERFLOW.
    """
    if not any(r.complete for r in plan.calibration_rows):
        raise ConfigError("calibration rows: none is complete; give validation rows whose answers ended")
    encoded = encode(_spaced(plan.calibration_rows, CHECKED_ROWS), fitted.base.tokeniser(), "first")
    with one_thread():
        expected = scores_of(torch_runner(fitted.module), encoded.ids)
        transformer = fitted.module if isinstance(fitted.module, TransformerRanker) else None
        float32 = None if transformer is None else fused_graph(transformer)
        model, fused = build(fitted, plan.precision, encoded, float32)
    return ExportedGraph(model, fused, encoded, expected, float32)


def _with_cuda(
    fitted: FittedRanker, out: Path, graph: ExportedGraph, plan: ExportPlan, report: ExportReport
) -> ExportReport:
    """The report, with the graph for CUDA where there is to be one. One that cannot be had stops nothing."""
    (out / CUDA_MODEL).unlink(missing_ok=True)
    if not plan.cuda or plan.precision != "int8" or graph.float32 is None:
        return report
    assert isinstance(fitted.module, TransformerRanker)
    try:
        with one_thread():
            cuda = write_cuda_graph(graph.float32.model, fitted.module, graph.encoded, graph.expected, out)
    except ArtifactError as error:
        return replace(report, no_cuda=str(error))
    return replace(report, cuda=cuda)


def check(fitted: FittedRanker, out: Path, graph: ExportedGraph, plan: ExportPlan) -> tuple[Scores, ExportReport]:
    """Score the rows with the file as the daemon loads it, and compare with PyTorch.

    Returns:
        Its scores, float64[rows], and how near they are.

    Raises:
        ArtifactError: NAN_SCORES or TAU_LOST.
    """
    actual = scores_of(_served(fitted, out).run, graph.encoded.ids)
    loss = _checked(plan.precision, graph.expected, actual, graph.encoded, plan.most_tau_lost)
    return actual, ExportReport(
        plan.precision,
        float(np.abs(actual - graph.expected).max()),
        float(np.std(graph.expected)),
        loss.tau,
        loss.deviation,
        (out / MODEL).stat().st_size,
        len(graph.encoded),
        graph.fused,
        any(node.op_type == "DynamicQuantizeLinear" for node in graph.model.graph.node),
    )


def write_description(
    fitted: FittedRanker, out: Path, plan: ExportPlan, calibration: Mapping[str, Any], report: ExportReport
) -> None:
    """Write manifest and model card beside the model.

    Raises:
        ConfigError: the card, or the list of rows, cannot be written.
    """
    cut = fitted.base.truncation
    tau = fitted.validation_tau if plan.measured_tau is None else plan.measured_tau
    fields = {
        "name": plan.name,
        "version": plan.version,
        "inputs": list(INPUTS),
        "output": SCORE,
        "features_output": FEATURES,
        "precision": plan.precision,
        "cuda": None if report.cuda is None else {"precision": CUDA_PRECISION},
        "direction": "higher_is_longer",
        "truncation": {
            "max_tokens": cut.max_tokens,
            "head_tokens": cut.head_tokens,
            "tail_tokens": cut.tail_tokens,
        },
        "calibration": calibration,
        "data": [{"name": plan.data, "licence": plan.licence}],
        "trained_rows": write_trained_rows(out, plan.trained_rows, fitted.fingerprint) if plan.trained_rows else None,
        "licence": plan.licence,
        "measured_tau": None if np.isnan(tau) else round(tau, 4),
        "measurements": list(plan.measurements),
        "description": plan.description,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    write_manifest(out, fields)
    write_card({**fields, **report.for_card(), **plan.card}, plan.measurements, out / CARD)


def build(
    fitted: FittedRanker, precision: Precision, encoded: EncodedRows, float32: FusedGraph | None = None
) -> tuple[ModelProto, dict[str, int]]:
    """The model in a precision, and how many of which operators were fused.

    Args:
        fitted: what was trained.
        precision: what to calculate in.
        encoded: real prompts, for what has to be calibrated on some.
        float32: a transformer's graph, where it was made already.
    """
    if fitted.base.name == NGRAM:
        from rankd.training.bases.ngram import to_onnx

        return to_onnx(fitted.module, precision), {}
    assert isinstance(fitted.module, TransformerRanker)
    return transformer_graph(fitted.module, precision, encoded, float32)


def transformer_graph(
    module: TransformerRanker, precision: Precision, encoded: EncodedRows, float32: FusedGraph | None = None
) -> tuple[ModelProto, dict[str, int]]:
    """The same of a transformer."""
    graph = float32 or fused_graph(module)
    if precision == "fp16":
        from rankd.training.export.fp16 import to_fp16

        return to_fp16(graph.model, module, encoded), graph.fused
    if precision == "int8":
        from rankd.training.export.quantise import to_int8

        return to_int8(graph.model, encoded.ids), graph.fused
    return graph.model, graph.fused


def calibration_fields(scores: Scores, encoded: EncodedRows, source: str) -> dict[str, Any]:
    """The manifest's map from score to length, learned on rows; those that were cut count as "at least"."""
    fitted = fit_monotone(scores, encoded.tokens.astype(np.int64), encoded.complete, knots=KNOTS)
    knots = [
        {
            "score": float(f"{k.score:.8g}"),
            "expected": round(k.expected, 1),
            "p50": round(k.p50 or 0, 1),
            "p90": round(k.p90 or 0, 1),
        }
        for k in fitted.knots
    ]
    return {"knots": knots, "mean_expected": round(fitted.mean_expected, 1), "source": source}


def _spaced(rows: Sequence[_T], most: int) -> list[_T]:
    """At most ``most`` rows, evenly spaced over all: sources follow each other in them."""
    if len(rows) <= most:
        return list(rows)
    return [rows[i] for i in np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _write_model(fitted: FittedRanker, out: Path, model: bytes) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MODEL).write_bytes(model)
        (out / TOKENIZER).write_text(fitted.base.tokenizer.to_str(), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written: {error.strerror}; free space or name another") from None


def _served(fitted: FittedRanker, out: Path) -> OnnxModel:
    """The file as the daemon loads it on a CPU."""
    spec = ModelSpec(str(out / MODEL), INPUTS, SCORE, fitted.base.truncation.max_tokens, features_name=FEATURES)
    return OnnxModel(spec, SessionOptions("cpu"))


def _checked(
    precision: Precision, expected: Scores, actual: Scores, encoded: EncodedRows, most_tau_lost: float | None
) -> PrecisionLoss:
    if not np.isfinite(actual).all():
        raise ArtifactError(
            "NAN_SCORES",
            f"{precision}: {int((~np.isfinite(actual)).sum())} of {len(actual)} scores are not finite; export fp32",
        )
    loss = tau_lost(expected, actual, encoded)
    most = MOST_TAU_LOST[precision] if most_tau_lost is None else most_tau_lost
    # Twice the deviation: with few rows the figure is noise.
    if loss.tau - 2 * loss.deviation > most:
        raise ArtifactError(
            "TAU_LOST",
            f"{precision} loses {loss.tau:.4f} ± {loss.deviation:.4f} tau on {loss.rows} rows, {most} is allowed: "
            "export fp32, or allow more with --most-tau-lost",
        )
    return loss
