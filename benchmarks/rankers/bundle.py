"""Make the rankers that are shipped, and judge them: ``python -m benchmarks.rankers.bundle``, or ``make rankers``.

Weights come from sources that may be shipped (``sources.SHIPPABLE``); what they are worth is measured on sources
that only judge. The same data, seed and thread count give the same files.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rankers.distil import StudentRecipe, distil
from benchmarks.rankers.sources import BENCHMARK_ONLY, DATA_HELP, SHIPPABLE, drawn, read_source, training_rows
from rankd.cli.train.flags import has_bf16
from rankd.registry.artifact import load_artifact, write_manifest
from rankd.registry.artifact_files import MANIFEST
from rankd.registry.bundled import ranker_path
from rankd.training.bases.base import Base, Recipe
from rankd.training.bases.load import load_base
from rankd.training.data.dataset import Row, split
from rankd.training.evaluation.by_source import evaluate_source, measurements
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.training.export.export import ExportPlan, ExportReport, Precision, export
from rankd.training.export.model_card import write_card
from rankd.training.fit.fit import fit
from rankd.training.fit.losses import Loss
from rankd.training.fit.options import FitOptions, FittedRanker, TrainingProgress

VALID_SHARE = 0.06
JUDGED_PROMPTS = 3000
"""Most prompts of a source that a ranker is judged on."""
NOT_ENGLISH = {"cello_zh": "Chinese", "complexbench_zh": "Chinese", "halluqa_zh": "Chinese", "logickor_ko": "Korean"}
MEASURED_TAU_IS = (
    "measured_tau is the median over the English data sets that the ranker was not trained on, each counting once "
    "with the median over the models that answered it."
)
CHAT = ("arena_hard_1k", "arena_bench_v1", "arena_hard_v01", "oasst_eval")
"""Sources whose answers are as long as those of most traffic: expected lengths are brought to their level."""
CALIBRATION = "held-out prompts of all sources, at the level of " + ", ".join(CHAT)


@dataclass(frozen=True, slots=True)
class Bundled:
    """A ranker that is shipped."""

    name: str
    base: str
    precision: Precision
    largest: int
    """Bytes of the directory, at most."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """What differs from the base's own recipe."""
    glosses: bool = True
    """See ``TransformerBase.glosses``."""
    teacher: str | None = None
    """The bundled ranker that it is a student of; None: it learns from rows."""
    student: StudentRecipe = field(default_factory=StudentRecipe)
    """How, where it has a teacher."""

    def start(self) -> Base:
        """Where training starts."""
        return load_base(self.base, glosses=self.glosses)

    def options(self, own: Recipe, *, seed: int, threads: int) -> FitOptions:
        """How it is trained."""
        recipe = replace(own, **self.recipe)
        return FitOptions(recipe=recipe, seed=seed, threads=threads, bf16=has_bf16())


BUNDLED = (
    Bundled(
        "minilm-l6",
        "minilm",
        "int8",
        60_000_000,
        {"epochs": 2, "lr": 2e-4, "list_size": 64, "dropout": 0.1},
        glosses=False,
    ),
    Bundled("ngram", "ngram", "int8", 8_000_000, {"loss": "joint", "epochs": 3}),
)
STUDENT = Bundled("minilm-l3", "minilm", "int8", 46_000_000, {"loss": "joint"}, glosses=False, teacher="minilm-l6")
"""Made only where it is asked for by name: it is twice as fast, and orders worse (docs/adr/0028-student.md)."""


def main() -> int:
    """Run it."""
    description = __doc__.partition(":")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rankers.bundle", description=description)
    parser.add_argument("--data", type=Path, required=True, help=DATA_HELP)
    parser.add_argument("--out", type=Path, default=Path("rankd/rankers"), help="default: rankd/rankers")
    parser.add_argument(
        "--only", choices=[b.name for b in (*BUNDLED, STUDENT)], help=f"default: all but {STUDENT.name}"
    )
    parser.add_argument("--version", default="1.0.0", help="default: 1.0.0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="default: 1; others give other weights")
    parser.add_argument("--float32", type=Path, help="where to write each in float32 too, to compare with")
    parser.add_argument("--work", type=Path, help="where checkpoints are kept, to go on after a kill")
    arguments = parser.parse_args()
    rows = training_rows(arguments.data, seed=arguments.seed)
    print(f"{len(rows):,} prompts of {len({r.source for r in rows})} sources", file=sys.stderr)
    for bundled in BUNDLED if arguments.only is None else (*BUNDLED, STUDENT):
        if arguments.only in (None, bundled.name):
            make(bundled, rows, arguments)
    return 0


def make(bundled: Bundled, rows: list[Row], arguments: argparse.Namespace) -> None:
    """Train, export, judge and describe one."""
    base = bundled.start()
    train, valid = split(rows, VALID_SHARE, arguments.seed)
    began = time.monotonic()
    fitted = _trained(bundled, base, train, valid, arguments)
    print(f"{bundled.name}: trained in {time.monotonic() - began:.0f} s", file=sys.stderr)
    out = arguments.out / bundled.name
    with tempfile.TemporaryDirectory(dir=arguments.out) as place:
        plan = ExportPlan(
            name=bundled.name,
            version=arguments.version,
            precision=bundled.precision,
            calibration_rows=_calibration_rows(arguments.data, valid, arguments.seed),
            data="shippable sources",
            licence=base.licence,
        )
        report = export(fitted, Path(place), plan)
        print(f"{bundled.name}: {report}", file=sys.stderr)
        if arguments.float32 is not None:
            export(fitted, arguments.float32 / bundled.name, replace(plan, precision="fp32"))
        _describe(Path(place), arguments, base.name, fitted.options.loss, report, bundled.teacher)
        size = sum(f.stat().st_size for f in Path(place).iterdir())
        if size > bundled.largest:
            raise SystemExit(f"{bundled.name}: {size:,} bytes, at most {bundled.largest:,}")
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(place, out)


def _trained(
    bundled: Bundled, base: Base, train: list[Row], valid: list[Row], arguments: argparse.Namespace
) -> FittedRanker:
    """Its weights: learned from rows, or from its teacher, the one just made if there is one."""
    options = bundled.options(base.recipe, seed=arguments.seed, threads=arguments.threads)
    work = arguments.work / bundled.name if arguments.work else None
    if bundled.teacher is None:
        return fit(base, train, valid, options, checkpoint_dir=work, on_progress=_say)
    made = arguments.out / bundled.teacher
    teacher = load_artifact(made if made.is_dir() else ranker_path(bundled.teacher))
    return distil(base, teacher, train, valid, bundled.student, options, work)


def _say(progress: TrainingProgress) -> None:
    if progress.at_epoch_end or progress.step % 50 == 0:
        tau = "" if progress.validation_tau is None else f" validation tau {progress.validation_tau:.3f}"
        print(f"step {progress.step}/{progress.steps} loss {progress.loss:.3f}{tau}", file=sys.stderr, flush=True)


def _calibration_rows(data: Path, valid: list[Row], seed: int) -> list[Row]:
    """Answers of single models to prompts that were not trained on.

    Chat prompts have few short answers, and other sources another level. So chat counts as it is, and in the others
    each model's answers are scaled to have chat's median: a score is relative to its source and model as well.
    """
    held_out = {r.prompt for r in valid}
    sources = {s.name: read_source(s, data, seed=seed) for s in SHIPPABLE}
    level = float(np.median([r.tokens for name in CHAT for r in sources[name]]))
    out: list[Row] = []
    for name, rows in sources.items():
        own = {m: level if name in CHAT else _median(rows, m) for m in {r.model for r in rows}}
        unseen = [r for r in rows if r.prompt in held_out]
        for i in sorted(np.random.default_rng(seed).permutation(len(unseen))[:500].tolist()):
            tokens = max(1, round(unseen[i].tokens * level / own[unseen[i].model]))
            out.append(replace(unseen[i], tokens=tokens, samples=(), source="held out", model=""))
    return out


def _median(rows: list[Row], model: str) -> float:
    return float(np.median([r.tokens for r in rows if r.model == model]))


def _describe(
    out: Path, arguments: argparse.Namespace, base: str, loss: Loss, report: ExportReport, teacher: str | None
) -> None:
    """Judge the exported files, and write what they are worth into manifest and card."""
    ranker = OfflineRanker(load_artifact(out))
    evaluations = []
    for source in (*BENCHMARK_ONLY, *SHIPPABLE):
        evaluations += evaluate_source(ranker.scores, drawn(read_source(source, arguments.data), JUDGED_PROMPTS))
        print(f"judged on {source.name}", file=sys.stderr, flush=True)
    fields: dict[str, Any] = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    fields["measurements"] = measured = measurements(evaluations, {s.name: True for s in SHIPPABLE})
    unseen = [m["kendall_tau"] for m in measured if not m["trained_on"] and m["dataset"] not in NOT_ENGLISH]
    fields["measured_tau"] = round(float(np.median(unseen)), 4)
    fields["data"] = [{"name": s.name, "licence": s.licence} for s in SHIPPABLE]
    fields["trained_rows"] = {"sources": [{"name": s.name, "by": "elsewhere"} for s in SHIPPABLE]}
    fields["description"] = f"{fields.get('description') or ''} {MEASURED_TAU_IS}".strip()
    fields["calibration"]["source"] = CALIBRATION
    write_manifest(out, {k: v for k, v in fields.items() if k not in ("manifest_version", "sha256")})
    extras = {
        **({"base": base, "loss": loss} if teacher is None else {"base": f"{base} by what {teacher} says of texts"}),
        "languages": {m["dataset"]: NOT_ENGLISH.get(m["dataset"], "English") for m in measured},
        "reproduce": "python -m benchmarks.rankers.bundle --data DATA"
        + "".join(f" --{name} {getattr(arguments, name)}" for name in ("version", "seed", "threads")),
    }
    write_card({**fields, **report.for_card(), **extras}, measured, out / "README.md")


if __name__ == "__main__":
    sys.exit(main())
