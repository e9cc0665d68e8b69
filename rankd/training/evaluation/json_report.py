"""The verdict on a ranker as plain JSON values."""

from __future__ import annotations

from typing import Any

from rankd.quality.statistics.interval import Interval
from rankd.training.evaluation.curves import CalibrationQuality
from rankd.training.evaluation.evaluate import Evaluation
from rankd.training.evaluation.figures import EvaluationFigures
from rankd.training.evaluation.prequential import AdaptEvaluation


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The verdict as plain JSON values, without any prompt; undefined figures are null."""
    speed, adapt = evaluation.speed, evaluation.adapt
    return {
        "ranker": evaluation.ranker,
        **_figures_json(evaluation.overall),
        "head_tau": _round(evaluation.head_tau),
        "tail_tau": _round(evaluation.tail_tau),
        "pooled_tau": _round(evaluation.pooled_tau),
        "unscored_rows": evaluation.unscored,
        "decided_pair_share": _round(evaluation.decided_pair_share),
        "estimator": estimator(evaluation),
        "prompts": speed.prompts,
        "prompts_per_second": round(speed.prompts_per_second, 1),
        "latency_ms": {"p50": _round(speed.latency_p50_ms), "p99": _round(speed.latency_p99_ms)},
        "latency_prompts": speed.latency_prompts,
        "threads": speed.threads,
        "provider": speed.provider,
        "device_share": speed.device_share,
        "machine": speed.machine,
        "graphs": [
            {
                "file": g.file,
                "precision": g.precision,
                "provider": g.provider,
                "judged": g.judged,
                "compared_prompts": g.prompts,
                "agreement_tau": _round(g.agreement),
                "largest_difference": _round(g.largest_difference),
            }
            for g in evaluation.graphs
        ],
        "groups": [{"name": f.name, **_figures_json(f)} for f in evaluation.groups],
        "models": [{"name": f.name, **_figures_json(f)} for f in evaluation.models],
        "sources": [{"name": f.name, **_figures_json(f)} for f in evaluation.sources],
        "scripts": [{"name": f.name, **_figures_json(f)} for f in evaluation.scripts],
        "calibration": _calibration_json(evaluation.calibration),
        **({} if adapt is None else _adapt_json(adapt)),
    }


def estimator(evaluation: Evaluation) -> str:
    """How the rows that were cut off count, in words."""
    if not evaluation.overall.censored:
        return "all pairs within a source and model"
    return (
        "pairs within a source and model whose order is known: of two complete answers, or of a complete one and one "
        "cut off at more tokens; lengths are compared up to where fewer than 20 % of the answers are still followed"
    )


def _figures_json(f: EvaluationFigures) -> dict[str, Any]:
    ceiling = f.ceiling
    return {
        "rows": f.rows,
        "censored_rows": f.censored,
        **_bounded("kendall_tau", f.tau),
        **_bounded("realised_gain", f.realised_gain),
        "mean_tokens": _round(f.mean_tokens, 1),
        "expected_tokens": _round(f.expected_tokens, 1),
        "ceiling": ceiling
        and {
            "kendall_tau": _round(ceiling.tau),
            "realised_gain": _round(ceiling.realised_gain),
            "rows": ceiling.rows,
            "sample_pairs": ceiling.sample_pairs,
            "ranker_tau": _round(ceiling.ranker_tau),
            "ranker_realised_gain": _round(ceiling.ranker_gain),
            "tau_share": _round(ceiling.tau_share),
            "gain_share": _round(ceiling.gain_share),
        },
    }


def _bounded(name: str, value: Interval | None) -> dict[str, float | None]:
    if value is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: _round(value.value), f"{name}_low": _round(value.low), f"{name}_high": _round(value.high)}


def _calibration_json(quality: CalibrationQuality | None) -> dict[str, Any] | None:
    if quality is None:
        return None
    return {
        "expected_tokens": _round(quality.expected_tokens, 1),
        "actual_tokens": _round(quality.actual_tokens, 1),
        "below_p50": _round(quality.below_p50),
        "below_p90": _round(quality.below_p90),
        "bins": [
            {"rows": b.rows, "expected_tokens": _round(b.expected, 1), "actual_tokens": _round(b.actual, 1)}
            for b in quality.bins
        ],
    }


def _adapt_json(adapt: AdaptEvaluation) -> dict[str, Any]:
    points = [
        {
            "completions": p.completions,
            "base_tau": _round(None if p.base_tau is None else p.base_tau.value),
            "adapted_tau": _round(None if p.adapted_tau is None else p.adapted_tau.value),
            "difference": _round(None if p.difference is None else p.difference.value),
            "difference_low": _round(None if p.difference is None else p.difference.low),
            "difference_high": _round(None if p.difference is None else p.difference.high),
            "rows": p.rows,
            "in_use": _round(p.in_use),
        }
        for p in adapt.points
    ]
    models = [
        {
            "name": m.model,
            "completions": m.completions,
            "in_use_after": m.in_use_after,
            "switches": m.switches,
            "state": m.state.value,
        }
        for m in adapt.models
    ]
    return {"adapt": points, "adapt_pays_from": adapt.pays_from, "adapt_models": models}


def _round(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(float(value), digits)
