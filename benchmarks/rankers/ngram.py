"""What the n-gram tier is worth beside the bundled encoder, as a table: ``python -m benchmarks.rankers.ngram``.

Trains on four fifths of a file's prompts (a tenth of them to choose the epoch by), judges on the rest, a row per seed;
then measures tokenising and scoring together, in seconds of one core, so that other work on the machine matters less.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import default_ranker_path, ranker_path
from rankd.training.bases.base import NGRAM
from rankd.training.bases.load import load_base
from rankd.training.data.dataset import Row, read_dataset, split
from rankd.training.evaluation.by_source import evaluate_source
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.training.export.export import ExportPlan, Precision, export
from rankd.training.fit.fit import fit
from rankd.training.fit.losses import Loss
from rankd.training.fit.options import FitOptions

_REPEATS = 3
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")


def train(rows: Sequence[Row], out: Path, *, seed: int, loss: Loss, threads: int) -> tuple[float, float]:
    """Train and export to ``out``; returns seconds and seconds of CPU, from rows to weights."""
    train_rows, valid = split(rows, 0.1, seed)
    base = load_base(NGRAM)
    options = FitOptions(recipe=replace(base.recipe, loss=loss), seed=seed, threads=threads)
    began, worked = time.perf_counter(), time.process_time()
    fitted = fit(base, train_rows, valid, options)
    taken = time.perf_counter() - began, time.process_time() - worked
    plan = ExportPlan(
        name=NGRAM, version="0", precision="fp32", calibration_rows=valid, data="benchmark", licence="none"
    )
    for precision in PRECISIONS:
        export(fitted, out / precision, replace(plan, precision=precision))
    return taken


def rate(ranker: OfflineRanker, prompts: Sequence[str]) -> float:
    """Prompts per second of one core, text to score; the best of some runs."""
    return max(len(prompts) / _seconds(lambda: ranker.scores(prompts)) for _ in range(_REPEATS))


def _seconds(work: Callable[[], NDArray[np.float64]]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> int:
    """Print a table of the seeds and a line of speeds."""
    description = __doc__.partition(":")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rankers.ngram", description=description)
    parser.add_argument("--data", type=Path, required=True, help="a file of rows, or a directory of files")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--loss", choices=["listmle", "pairwise", "lognormal", "joint"], default="pairwise")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--encoder", type=ranker_path, default=default_ranker_path(), help="default: the bundled one")
    parser.add_argument("--prompts", type=int, default=2000, help="to measure speed on; the encoder gets a quarter")
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one core, as the comparison says
    rows = read_dataset([arguments.data]).rows
    print("| seed | rows | precision | tau-b | realised gain | seconds | CPU seconds |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        for seed in range(arguments.seeds):
            learned, rest = split(rows, 0.2, seed)
            out = Path(place) / str(seed)
            seconds, worked = train(learned, out, seed=seed, loss=arguments.loss, threads=arguments.threads)
            rankers = {p: OfflineRanker(load_artifact(out / p)) for p in PRECISIONS}
            for precision, ranker in rankers.items():
                for one in evaluate_source(ranker.scores, rest):
                    figures = f"{precision} | {one.tau:.4f} | {one.gain:.4f} | {seconds:.1f} | {worked:.1f}"
                    print(f"| {seed} | {len(learned)} | {figures} |", flush=True)
        prompts = [r.prompt for r in rows[: arguments.prompts]]
        theirs = rate(OfflineRanker(load_artifact(arguments.encoder)), prompts[: len(prompts) // 4])
        print(f"\nprompts/s of one core, tokenising included: encoder {theirs:,.0f}", end="")
        for precision, ranker in rankers.items():
            ours = rate(ranker, prompts)
            size = sum(f.stat().st_size for f in (out / precision).iterdir())
            print(f"; ngram {precision} {ours:,.0f} ({ours / theirs:.1f} times, {size:,} bytes)", end="", flush=True)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
