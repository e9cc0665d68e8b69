"""From a trained ranker to a directory that is served: fused graph, precision, check, calibration, manifest, card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from onnx import ModelProto
from rankd_client.calibration import fit_monotone

from rankd.errors import ArtifactError, ConfigError
from rankd.registry.artifact import MODEL, TOKENIZER, write_manifest
from rankd.scoring.onnx_model import ModelSpec, OnnxModel, Scores, SessionOptions
from rankd.training.bases.base import NGRAM
from rankd.training.bases.transformer import TransformerRanker
from rankd.training.data.dataset import Row
from rankd.training.data.lists import EncodedRows, encode
from rankd.training.export.canonical_graph import to_bytes
from rankd.training.export.model_card import write_card
from rankd.training.export.onnx_graph import fused_graph
from rankd.training.export.parity import (
    INPUTS,
    SCORE,
    SPREAD,
    PrecisionLoss,
    one_thread,
    scores_of,
    tau_lost,
    torch_runner,
)
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

    def for_card(self) -> dict[str, Any]:
        """What a model card says of an export."""
        return {
            "largest_difference": self.largest_difference,
            "tau_lost": self.tau_lost,
            "ranges_by_batch": self.ranges_by_batch,
        }


def export(
    fitted: FittedRanker,
    out: Path,
    *,
    name: str,
    version: str,
    precision: Precision,
    calibration_rows: Sequence[Row],
    data: str,
    licence: str,
    measurements: Sequence[dict[str, Any]] = (),
    measured_tau: float | None = None,
    description: str = "",
    card: Mapping[str, Any] | None = None,
    most_tau_lost: float | None = None,
) -> ExportReport:
    """Write a ranker's directory; the same bytes for the same arguments.

    Args:
        fitted: what was trained.
        out: the directory; made where missing.
        name: of the ranker.
        version: of the ranker.
        precision: what the model calculates in.
        calibration_rows: rows not trained on, at most ``CHECKED_ROWS`` are used; they also calibrate int8.
        data: what it was trained on, in words.
        licence: of the weights.
        measurements: figures for the manifest, as ``rankd.registry.artifact.Measurement`` has them.
        measured_tau: tau on prompts that it never saw; default: the validation tau of the fit.
        description: free text for the manifest.
        card: what ``rankd.training.export.model_card`` takes beside the manifest's fields.
        most_tau_lost: tau that the precision may cost; default ``MOST_TAU_LOST``; ``inf`` allows any.

    Raises:
        ConfigError: there are no calibration rows, or ``out`` cannot be written.
        ArtifactError: NOT_EXPORTED, NOT_FUSED, NAN_SCORES or TAU_LOST.
    """
    if not any(r.complete for r in calibration_rows):
        raise ConfigError("calibration rows: none is complete; give validation rows whose answers ended")
    encoded = encode(_spaced(calibration_rows, CHECKED_ROWS), fitted.base.tokeniser(), "first")
    with one_thread():
        expected = scores_of(torch_runner(fitted.module), encoded.ids)
        model, fused = build(fitted, precision, encoded)
    _write_files(fitted, out, to_bytes(model))
    actual = scores_of(_served(fitted, out).run, encoded.ids)
    loss = _checked(precision, expected, actual, encoded, most_tau_lost)
    tau = fitted.validation_tau if measured_tau is None else measured_tau
    fields = {
        "name": name,
        "version": version,
        "inputs": list(INPUTS),
        "output": SCORE,
        "spread_output": SPREAD if fitted.has_spread else None,
        "precision": precision,
        "direction": "higher_is_longer",
        "truncation": {
            "max_tokens": fitted.base.truncation.max_tokens,
            "head_tokens": fitted.base.truncation.head_tokens,
            "tail_tokens": fitted.base.truncation.tail_tokens,
        },
        "calibration": calibration_fields(actual, encoded, data),
        "data": [{"name": data, "licence": licence}],
        "licence": licence,
        "measured_tau": None if np.isnan(tau) else round(tau, 4),
        "measurements": list(measurements),
        "description": description,
    }
    fields = {name: value for name, value in fields.items() if value is not None}
    write_manifest(out, fields)
    report = ExportReport(
        precision,
        float(np.abs(actual - expected).max()),
        float(np.std(expected)),
        loss.tau,
        loss.deviation,
        (out / MODEL).stat().st_size,
        len(encoded),
        fused,
        any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node),
    )
    write_card({**fields, **report.for_card(), **(card or {})}, measurements, out / CARD)
    return report


def build(fitted: FittedRanker, precision: Precision, encoded: EncodedRows) -> tuple[ModelProto, dict[str, int]]:
    """The model in a precision, and how many of which operators were fused.

    Args:
        fitted: what was trained.
        precision: what to calculate in.
        encoded: real prompts, for what has to be calibrated on some.
    """
    if fitted.base.name == NGRAM:
        from rankd.training.bases.ngram import to_onnx

        return to_onnx(fitted.module, precision), {}
    assert isinstance(fitted.module, TransformerRanker)
    graph = fused_graph(fitted.module)
    if precision == "fp16":
        from rankd.training.export.fp16 import to_fp16

        return to_fp16(graph.model, fitted.module, encoded), graph.fused
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


def _write_files(fitted: FittedRanker, out: Path, model: bytes) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MODEL).write_bytes(model)
        (out / TOKENIZER).write_text(fitted.base.tokenizer.to_str(), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--out {out} cannot be written: {error.strerror}; free space or name another") from None


def _served(fitted: FittedRanker, out: Path) -> OnnxModel:
    """The file as the daemon loads it on a CPU."""
    spec = ModelSpec(str(out / MODEL), INPUTS, SCORE, fitted.base.truncation.max_tokens)
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
