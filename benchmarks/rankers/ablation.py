"""What base, loss, number of rows and precision are worth, as a table: ``python -m benchmarks.rankers.ablation``.

Every combination is trained on a part of one file's prompts, exported, and judged as it is served: on the rest of the
file, and on sources that it never saw (``transfer``, the median over them). A row is printed as soon as it is known.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.rankers.ngram import rate
from benchmarks.rankers.sources import BENCHMARK_ONLY, DATA_HELP, drawn, read_source
from rankd.cli.train.flags import has_bf16
from rankd.errors import ArtifactError
from rankd.registry.artifact import load_artifact
from rankd.training.bases.base import MINILM, NGRAM, Base
from rankd.training.bases.load import load_base
from rankd.training.bases.transformer import TransformerBase
from rankd.training.data.dataset import Row, read_dataset, split
from rankd.training.evaluation.by_source import evaluate_source, medians
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.training.export.export import ExportPlan, Precision, export
from rankd.training.fit.fit import fit
from rankd.training.fit.losses import Loss
from rankd.training.fit.options import FitOptions

HALF = "minilm, 3 of 6 layers"
LOSSES: tuple[Loss, ...] = ("listmle", "pairwise", "lognormal", "joint")
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
TRANSFER_PROMPTS = 200
"""Of each source that judges transfer."""
HEAD = "| base | loss | rows | precision | tau | realised gain | transfer | prompts/s | MB | training, CPU s |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rankers.ablation", description=__doc__.partition(":")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help=DATA_HELP)
    parser.add_argument("--source", default="alpaca20k-seqsched", help="what is trained on; default: %(default)s")
    parser.add_argument("--base", nargs="+", choices=[MINILM, HALF, NGRAM], default=[NGRAM, HALF, MINILM])
    parser.add_argument("--loss", nargs="+", choices=LOSSES, default=LOSSES)
    parser.add_argument("--rows", nargs="+", type=int, default=[2000, 8000], help="to train on; default: 2000 8000")
    parser.add_argument("--epochs", type=int, help="default: the base's own")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # prompts/s are of one core
    source = next(s for s in BENCHMARK_ONLY if s.name == arguments.source)
    learned, rest = split(read_dataset([arguments.data / f for f in source.files]).rows, 0.2, arguments.seed)
    others = [drawn(read_source(s, arguments.data), TRANSFER_PROMPTS) for s in BENCHMARK_ONLY if s is not source]
    rows = AblationRows(learned, rest, others)
    print(HEAD + "\n" + "|---" * HEAD.count(" |") + "|", flush=True)
    with tempfile.TemporaryDirectory() as place:
        for name in arguments.base:
            base = _base(name, Path(place))
            for count in arguments.rows:
                for loss in arguments.loss:
                    _line(base, name, loss, count, rows, Path(place), arguments)
    return 0


def _base(name: str, place: Path) -> Base:
    if name != HALF:
        return load_base(name)
    from transformers import AutoModel

    whole = load_base(MINILM)
    assert isinstance(whole, TransformerBase)
    half = place / "half"
    AutoModel.from_pretrained(whole.path, local_files_only=True, num_hidden_layers=3).save_pretrained(half)
    whole.tokenizer.save(str(half / "tokenizer.json"))
    return load_base(str(half))


@dataclass(frozen=True, slots=True)
class AblationRows:
    """What is trained on, and what it is judged on."""

    learned: Sequence[Row]
    rest: Sequence[Row]
    """Of the same source, not trained on."""
    others: Sequence[Sequence[Row]]
    """Of other sources."""


def _line(
    base: Base, name: str, loss: Loss, count: int, rows: AblationRows, place: Path, arguments: argparse.Namespace
) -> None:
    """Train on ``count`` rows and print a row of the table for every precision."""
    train, valid = split(rows.learned[:count], 0.05, arguments.seed)
    recipe = replace(base.recipe, loss=loss, epochs=arguments.epochs or base.recipe.epochs)
    bf16 = has_bf16() and name != NGRAM
    options = FitOptions(recipe=recipe, seed=arguments.seed, threads=arguments.threads, bf16=bf16)
    began = time.process_time()
    fitted = fit(base, train, valid, options)
    taken = time.process_time() - began
    for precision in PRECISIONS:
        out = place / precision
        plan = ExportPlan(
            name="ablation",
            version="0",
            precision=precision,
            calibration_rows=valid,
            data=arguments.source,
            licence="none",
            most_tau_lost=float("inf"),
        )
        try:
            export(fitted, out, plan)
        except ArtifactError as error:
            print(f"{name}, {loss}, {precision}: {error}", file=sys.stderr, flush=True)
            continue
        ranker = OfflineRanker(load_artifact(out))
        (here,) = evaluate_source(ranker.scores, rows.rest)
        transfer = float(
            np.median(
                [tau for other in rows.others for tau, *_ in medians(evaluate_source(ranker.scores, other)).values()]
            )
        )
        speed = rate(ranker, [r.prompt for r in rows.rest[:500]])
        size = sum(f.stat().st_size for f in out.iterdir()) / 1e6
        cells = (
            *(name, loss, f"{len(train):,}", precision, f"{here.tau:.3f}", f"{here.gain:.3f}", f"{transfer:.3f}"),
            *(f"{speed:,.0f}", f"{size:.1f}", f"{taken:.0f}"),
        )
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
