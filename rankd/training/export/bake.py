"""What a daemon learned of its traffic, written into a ranker of its own.

Needs ``onnx``, and neither torch nor transformers.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from onnx import ModelProto, load_from_string
from rankd_client import LearnedHead
from rankd_client.calibration import Calibration

from rankd.adaptation.folding import FoldedHead
from rankd.errors import ArtifactError, ConfigError
from rankd.registry.artifact import Artifact, Graph, load_artifact, write_manifest
from rankd.registry.artifact_files import ALL_FILES, TOKENIZER, TRAINED_ROWS
from rankd.registry.manifest import Manifest
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.training.export.canonical_graph import to_bytes
from rankd.training.export.head_graph import fold
from rankd.training.export.model_card import write_card
from rankd.training.export.trained_rows import with_traffic

CARD = "README.md"
_PROVIDERS: tuple[Literal["cpu", "cuda"], ...] = ("cpu", "cuda")
"""In the order of ``Artifact.graphs``; on a CPU the graph for CUDA runs too, slowly."""
_NOTICES = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*")
_TEXT_ALONE = (
    "It knows a request by its text: tenants, steps and other marks of its shape count as they did on average. What a "
    "daemon goes on to learn beside it knows them."
)
_TESTABLE = (
    "The graph holds the numbers that words were hashed with in predictions of {base}. With them somebody who saw such "
    "predictions can try which words their prompts had: keep this directory as you keep quality.snapshot_key. "
    "Predictions of this ranker are hashed otherwise."
)


@dataclass(frozen=True, slots=True)
class BakePlan:
    """What is to be written."""

    name: str
    version: str
    """Of the new ranker."""
    model: str
    """The served model whose traffic was learned."""


@dataclass(frozen=True, slots=True)
class BakedRanker:
    """What was written."""

    path: Path
    ranker_version: str
    measured_tau: float | None
    """As the daemon measured it, each completion predicted before it was learned from."""


def bake(base: Path, learned: LearnedHead, out: Path, plan: BakePlan) -> BakedRanker:
    """Write a ranker's directory, and load and warm it up as the daemon does; nothing is left where that fails.

    Args:
        base: the directory of the ranker that it adds to.
        learned: what the daemon says.
        out: the new directory, which must not be there.
        plan: what to call it.

    Raises:
        ConfigError: ``out`` is there, or cannot be written.
        ArtifactError: the base cannot be read or is another ranker, or the new one could not be served.
    """
    if out.exists() or out.is_symlink():
        raise ConfigError(f"{out} is there already: name a directory that is not")
    artifact = load_artifact(base)
    if artifact.ranker_version != learned.ranker_version:
        raise ArtifactError(
            "OTHER_RANKER",
            f"{base} holds {artifact.ranker_version}, and what was learned adds to {learned.ranker_version}: "
            "name its directory with --ranker",
        )
    try:
        head = FoldedHead.unpack(learned.head)
    except ValueError as error:
        raise ArtifactError("FOLD", f"the daemon's answer holds {error}: use a matching rankd") from None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as directory:
            written = Path(directory) / "ranker"
            written.mkdir()
            _write(artifact, head, learned, written, plan)
            for graph in _PROVIDERS[: len(artifact.graphs())]:
                OfflineRanker(load_artifact(written), graph=graph).warm_up()
            written.rename(out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}; free space or name another") from None
    tau = learned.quality.learned_tau
    return BakedRanker(out, f"{plan.name}@{plan.version}", None if tau is None else round(tau.value, 4))


def _write(artifact: Artifact, head: FoldedHead, learned: LearnedHead, out: Path, plan: BakePlan) -> None:
    manifest = artifact.manifest
    output = manifest.output
    for graph in artifact.graphs():
        model, output = fold(_read(graph), head, score=manifest.output, features=manifest.features_output)
        (out / graph.path.name).write_bytes(to_bytes(model))
    (out / TOKENIZER).write_bytes(artifact.tokenizer.read())
    for pattern in _NOTICES:
        for notice in artifact.path.glob(pattern):
            if notice.is_file() and notice.name not in ALL_FILES:
                shutil.copyfile(notice, out / notice.name)
    if artifact.prompts is not None:
        (out / TRAINED_ROWS).write_bytes(artifact.prompts.packed())
    fields = _fields(manifest, learned, output, plan)
    write_manifest(out, fields)
    limits = [_TEXT_ALONE, _TESTABLE.format(base=learned.ranker_version)]
    write_card({**fields, "base": learned.ranker_version, "limits": limits}, fields["measurements"], out / CARD)


def _read(graph: Graph) -> ModelProto:
    try:
        return load_from_string(graph.content.read())
    except Exception as error:  # noqa: BLE001 - protobuf's, by whichever of its builds
        raise ArtifactError("BAD_MODEL", f"{graph.path}: onnx cannot read it ({type(error).__name__})") from None


def _fields(manifest: Manifest, learned: LearnedHead, output: str, plan: BakePlan) -> dict[str, Any]:
    """The new manifest; what does not hold of the new ranker is left out, such as the old one's measurements."""
    quality, served = learned.quality, plan.model or "the served model"
    kept: dict[str, Any] = manifest.model_dump(
        mode="json", include={"features_output", "precision", "cuda", "direction", "truncation", "data", "licence"}
    )
    tau = quality.learned_tau
    traffic = f"completions of {served}, as features: no prompt was kept"
    measured = {} if tau is None else {"measured_tau": round(tau.value, 4)}
    inputs = dict.fromkeys([*manifest.inputs, "attention_mask"])
    fields = {
        **kept,
        "name": plan.name,
        "version": plan.version,
        "inputs": list(inputs),
        "output": output,
        "calibration": None if learned.calibration is None else _calibration(learned.calibration, traffic),
        "data": [
            *kept["data"],
            {"name": traffic, "licence": "the operator's own", "rows": quality.completions or None},
        ],
        "trained_rows": _trained_rows(manifest, quality.completions, plan.model),
        **measured,
        "measurements": _measurements(learned, served),
        "description": _description(learned, served),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _trained_rows(manifest: Manifest, completions: int, model: str) -> dict[str, Any]:
    """The base's rows, and all traffic of the model until now: which of its completions count is not known."""
    spec = manifest.trained_rows
    # A base that does not say what it was made of leaves a gap, which is said.
    known = {"complete": False, "sources": []} if spec is None else spec.model_dump(exclude_none=True)
    return with_traffic(known, model, completions, time.time())


def _measurements(learned: LearnedHead, served: str) -> list[Mapping[str, Any]]:
    tau, compared = learned.quality.learned_tau, learned.quality.compared
    if tau is None or not compared:
        return []
    name = "own traffic, each completion predicted before it was learned from"
    return [{"dataset": name, "model": served, "rows": compared, "kendall_tau": round(tau.value, 4)}]


def _description(learned: LearnedHead, served: str) -> str:
    quality = learned.quality
    text = f"{learned.ranker_version} with what a daemon learned from {quality.completions:,} completions of {served}."
    if quality.learned_tau is None or quality.base_tau is None or quality.difference is None:
        return f"{text} Too few were compared to say what that is worth."
    d = quality.difference
    return (
        f"{text} measured_tau is as the daemon measured it on the latest {quality.compared:,}, each predicted before "
        f"it was learned from: {quality.learned_tau.value:.3f}, where {learned.ranker_version} alone has "
        f"{quality.base_tau.value:.3f} (difference {d.value:.3f}, {d.low:.3f} to {d.high:.3f}). The daemon also knew "
        "tenants and shapes of requests, which this ranker does not."
    )


def _calibration(calibration: Calibration, source: str) -> dict[str, Any]:
    knots = []
    for knot in calibration.to_knots():
        lengths = {"expected": knot.expected, "p50": knot.p50, "p90": knot.p90}
        rounded = {name: round(value, 1) for name, value in lengths.items() if value is not None}
        knots.append({"score": float(f"{knot.score:.8g}"), **rounded})
    return {"knots": knots, "mean_expected": round(calibration.mean_expected, 1), "source": source}
