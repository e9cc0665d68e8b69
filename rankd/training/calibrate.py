"""``python -m rankd.training.calibrate``: write calibration and measured figures into a ranker's manifest.

The map from score to length is a prior, refined in service; it is learned on sources that may be shipped. What the
ranker is worth is measured on sources that it never saw, and those figures are measurements, not weights.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rankd_client.calibration import fit_monotone

from rankd.artifact import MANIFEST, load_artifact, write_manifest
from rankd.quality.sums import pair_sums
from rankd.training.dataset import Row, read_dataset
from rankd.training.formats import stem_of
from rankd.training.scoring import OfflineRanker

# Source: (models, cap). Chat in English that may be shipped, of strong and weak models; each source counts the same.
CALIBRATION: dict[str, tuple[tuple[str, ...], int | None]] = {
    "arena_bench_v1": (("vicuna-13b-v1.5", "gpt-4-0314", "Mixtral-8x7B-Instruct-v0.1", "claude-2.1"), 1024),
    "arena_hard_1k": (("gpt-4", "vicuna-7b-v1.5", "Llama-2-70b-chat", "gpt-3.5-turbo"), 1024),
    "arena_hard_v01": (("gpt-3.5-turbo-0125", "gpt-4-0314"), None),
    "oasst_eval": (("gpt-3.5-turbo", "vicuna"), 512),
    "gpteacher_codegen": (("gpt-4",), None),
    "gpteacher_roleplay": (("gpt-4",), None),
    "hh_rlhf_harmless_test": (("anthropic-52b-rlhf",), None),
    "mmlu_pro_cot": (("Meta-Llama-3_1-8B-Instruct",), 2048),
}
ROWS_PER_SOURCE = 400
KNOTS = 32
# (file, cap, trained on): what the ranker never saw, but for the last one.
MEASUREMENTS = [
    ("alpaca20k-seqsched__vicuna-7b", 512, False),
    ("instructwild_v2__Llama-3.2-3B-Instruct", None, False),
    ("flask__gpt4", 1024, False),
    ("flask__vicuna_13b", 1024, False),
    ("so_chatgpt__gpt-3.5-turbo", None, False),
    ("complexbench_zh__llama3_8b", None, True),
]
ROWS = 1500
MEASURED_TAU_IS = (
    "measured_tau is the median over the measured data sets in English that the ranker was not trained on, "
    "each counting once (models of one set are averaged)."
)


def draw(path: Path, most: int, *, cap: int | None = None, seed: int = 0) -> list[Row]:
    """Up to ``most`` rows of a file, drawn at random but the same each time.

    Args:
        path: a file of rows.
        most: rows to draw.
        cap: tokens at which its answers were cut.
        seed: of the draw.
    """
    rows = read_dataset([path], caps={} if cap is None else {stem_of(path): cap}).rows
    random.Random(seed).shuffle(rows)  # noqa: S311 - nothing secret
    return rows[:most]


def tau_of(scores: NDArray[np.float64], rows: list[Row]) -> tuple[float, float | None]:
    """tau-b and realised gain of scores against lengths, one that was cut counting as it is."""
    size = len(rows)
    lengths = np.array([r.tokens for r in rows], dtype=np.int64)
    sums = pair_sums([scores], lengths, np.ones(size, dtype=np.bool_), np.zeros(size, dtype=np.int64))
    tau, gain = sums.tau_b(), sums.realised_gain()
    assert tau is not None
    return tau[0], gain[0] if gain is not None else None


def measured_tau(measured: list[dict[str, Any]]) -> float:
    """The median tau over unseen data sets, each counting once."""
    by_set: dict[str, list[float]] = {}
    for row in measured:
        if not row["trained_on"]:
            by_set.setdefault(row["dataset"], []).append(row["kendall_tau"])
    return round(float(np.median([np.mean(taus) for taus in by_set.values()])), 4)


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--ranker", type=Path, required=True, help="directory with model, tokenizer and manifest")
    parser.add_argument("--data", type=Path, required=True, help="directory with the .jsonl.gz files")
    arguments = parser.parse_args()
    artifact = load_artifact(arguments.ranker)
    ranker = OfflineRanker(artifact)
    fields: dict[str, Any] = json.loads((arguments.ranker / MANIFEST).read_text(encoding="utf-8"))
    fields["calibration"] = _calibration(ranker, arguments.data)
    fields["measurements"] = measured = _measurements(ranker, arguments.data)
    fields["measured_tau"] = measured_tau(measured)
    if MEASURED_TAU_IS not in fields.get("description", ""):
        fields["description"] = f"{fields.get('description', '')} {MEASURED_TAU_IS}".strip()
    write_manifest(arguments.ranker, {k: v for k, v in fields.items() if k not in ("manifest_version", "sha256")})
    print(json.dumps({"measured_tau": fields["measured_tau"], "measurements": measured}, indent=1))
    return 0


def _calibration(ranker: OfflineRanker, data: Path) -> dict[str, Any]:
    rows: list[Row] = []
    for source, (models, cap) in CALIBRATION.items():
        for model in models:
            rows += draw(data / f"{source}__{model}.jsonl.gz", ROWS_PER_SOURCE // len(models), cap=cap)
        print(f"calibration: {source}", file=sys.stderr)
    complete = np.array([r.complete for r in rows])
    print(f"calibration: {len(rows)} rows, {int((~complete).sum())} cut short", file=sys.stderr)
    fitted = fit_monotone(
        ranker.alone([r.prompt for r in rows]), np.array([r.tokens for r in rows]), complete, knots=KNOTS
    )
    return {
        "knots": [
            {
                "score": round(k.score, 4),
                "expected": round(k.expected, 1),
                "p50": round(k.p50 or 0, 1),
                "p90": round(k.p90 or 0, 1),
            }
            for k in fitted.knots
        ],
        "mean_expected": round(fitted.mean_expected, 1),
        "source": ", ".join(f"{source}__{model}" for source, (models, _) in CALIBRATION.items() for model in models),
    }


def _measurements(ranker: OfflineRanker, data: Path) -> list[dict[str, Any]]:
    out = []
    for name, cap, trained_on in MEASUREMENTS:
        rows = draw(data / f"{name}.jsonl.gz", ROWS, cap=cap, seed=1)
        tau, gain = tau_of(ranker.alone([r.prompt for r in rows]), rows)
        dataset, model = name.split("__")
        row = {
            "dataset": dataset,
            "model": model,
            "rows": len(rows),
            "kendall_tau": round(tau, 4),
            "trained_on": trained_on,
        }
        out.append(row if gain is None else {**row, "realised_gain": round(gain, 4)})
        print(f"measured: {name} tau {tau:.3f}", file=sys.stderr)
    return out


if __name__ == "__main__":
    sys.exit(main())
