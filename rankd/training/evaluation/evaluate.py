"""Judge a ranker on rows of prompts and output lengths: how well it orders them, and how fast.

Needs what the daemon needs and nothing more: no torch, no transformers.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rankd.errors import ArtifactError, ConfigError
from rankd.quality.statistics.pair_sums import strata
from rankd.registry.artifact import Artifact, load_artifact
from rankd.settings import AdaptSection, Provider
from rankd.training.data.dataset import Row
from rankd.training.evaluation import curves, figures
from rankd.training.evaluation.curves import Band, CalibrationQuality, GainCurve
from rankd.training.evaluation.figures import EvaluationFigures
from rankd.training.evaluation.graphs import GraphFigures, compare_graphs
from rankd.training.evaluation.offline_ranker import OfflineRanker
from rankd.training.evaluation.prequential import AdaptEvaluation, evaluate_adaptation
from rankd.types import Scored

LATENCY_PROMPTS = 300
"""Prompts that are scored one at a time for the latency: p99 is then the third slowest."""
FEWEST = 8
"""Rows below which no interval is attempted."""
_LONGEST_MODEL_NAME = 200

Floats = NDArray[np.float64]
OnProgress = Callable[[int, int], None]
"""Called with how many prompts are scored, of how many."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast the ranker is on this machine, tokenising included."""

    prompts: int
    """Different prompts that were scored."""
    prompts_per_second: float
    """In the daemon's batches, out of queues of ``scoring.QUEUE``."""
    latency_p50_ms: float
    """One prompt at a time."""
    latency_p99_ms: float
    latency_prompts: int
    threads: int
    provider: str
    """Where it really ran."""
    machine: str
    device_share: float | None = None
    """Of the model's time on a GPU, what did not pass on the CPU; None where it ran there, or that is not known."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The verdict; None where the rows do not decide it."""

    ranker: str
    """``name@version``"""
    overall: EvaluationFigures
    unscored: int
    """Rows left out because the ranker gave them no finite score."""
    head_tau: float | None
    tail_tau: float | None
    pooled_tau: float | None
    decided_pair_share: float | None
    groups: list[EvaluationFigures]
    models: list[EvaluationFigures]
    sources: list[EvaluationFigures]
    scripts: list[EvaluationFigures]
    calibration: CalibrationQuality | None
    bands: list[Band]
    gain_curve: GainCurve | None
    speed: Speed
    graphs: tuple[GraphFigures, ...] = ()
    """Every graph that the ranker has, the judged one first."""
    adapt: AdaptEvaluation | None = None
    """What learning the traffic would have brought; None where that was not asked for."""


def evaluate(
    ranker: Path,
    rows: Sequence[Row],
    *,
    provider: Provider = "cpu",
    threads: int = 1,
    adapt: AdaptSection | None = None,
    on_progress: OnProgress | None = None,
    on_learning: OnProgress | None = None,
) -> Evaluation:
    """Score rows as the daemon would, and judge the order.

    Args:
        ranker: its directory.
        rows: any number; tau takes O(n log n), or O(n²) within a source and model that has censored rows.
        provider: where the model runs.
        threads: of the model.
        adapt: settings to learn the rows by, in their order; None: what learning would bring is not asked.
        on_progress: called after every queue of prompts.
        on_learning: called with rows learned from, of how many.

    Raises:
        ArtifactError: the ranker cannot be served, or scores nothing.
        ProviderError: CUDA was asked for and is not to be had.
        ConfigError: the rows have no order to judge.
    """
    check_rows(rows)
    artifact = load_artifact(ranker)
    offline = OfflineRanker(artifact, provider=provider, threads=threads)
    offline.warm_up()
    scores, texts, speed = _score(offline, rows, threads, on_progress, texts=adapt is not None and adapt.text)
    finite = np.flatnonzero(np.isfinite(scores))
    if len(finite) < FEWEST:
        raise ArtifactError("NAN_SCORES", f"ranker {ranker} gives {len(finite)} of {len(rows)} rows a finite score")
    calibration = artifact.calibration()
    expected = None if calibration is None else calibration.expected(scores[finite])
    sample = figures.scored([rows[i] for i in finite.tolist()], scores[finite], expected)
    graphs = compare_graphs(artifact, offline, list(dict.fromkeys(r.prompt for r in sample.rows)))
    evaluation = replace(_evaluation(artifact, sample, len(rows) - len(finite), speed), graphs=graphs)
    if adapt is None:
        return evaluation
    kept = [texts[i] for i in finite.tolist()]
    learned = evaluate_adaptation(sample.rows, sample.score, kept, offline.hasher, adapt, on_learning)
    return replace(evaluation, adapt=learned)


def _evaluation(artifact: Artifact, sample: figures.ScoredRows, unscored: int, speed: Speed) -> Evaluation:
    """The figures of rows that have scores."""
    sums, calibration = figures.sums_of(sample), artifact.calibration()
    head, tail = figures.head_and_tail(sample)
    return Evaluation(
        ranker=artifact.ranker_version,
        overall=figures.figures_of("all", sample, sums),
        unscored=unscored,
        head_tau=head,
        tail_tau=tail,
        pooled_tau=figures.pooled_tau(sample),
        decided_pair_share=figures.decided_share(sample, sums),
        groups=figures.by_label(sample, sums, group_name),
        models=figures.by_label(sample, sums, lambda r: r.model),
        sources=figures.by_label(sample, sums, lambda r: r.source),
        scripts=figures.by_script(sample),
        calibration=None if calibration is None else curves.calibration_quality(sample, calibration),
        bands=curves.length_bands(sample),
        gain_curve=curves.gain_curve(sample),
        speed=speed,
    )


def group_name(row: Row) -> str:
    """Source and model in one word."""
    return "__".join(part for part in row.group if part)


def check_rows(rows: Sequence[Row]) -> None:
    """Make sure that the order of enough pairs is known.

    Raises:
        ConfigError: saying what is wrong with the rows and what to do.
    """
    if len(rows) < FEWEST:
        raise ConfigError(f"--data: {len(rows)} usable rows are too few to judge by; give {FEWEST} or more")
    sample = figures.scored(rows, np.zeros(len(rows)), None)
    for here in strata(sample.stratum):
        length, known = sample.length[here], sample.known[here]
        if known.any() and length[known].min() < length.max():
            return
    if not any(r.complete for r in rows):
        raise ConfigError(
            f"--data: all {len(rows):,} answers were cut off, so that none is known to be shorter than another; "
            "log answers that ended by themselves (finish_reason stop)"
        )
    raise ConfigError(
        f"--data: in {len(rows):,} rows no two answers of one source and model differ in length, so that there is no "
        "order to judge; check that the length field holds output tokens, or leave `source` and `model` out"
    )


def _score(
    offline: OfflineRanker,
    rows: Sequence[Row],
    threads: int,
    on_progress: OnProgress | None,
    *,
    texts: bool,
) -> tuple[Floats, list[bytes], Speed]:
    """Scores and the text's part of features, [rows]; equal prompts are scored once, as the daemon's cache has it."""
    places = figures.numbered([r.prompt for r in rows])
    prompts = list(dict.fromkeys(r.prompt for r in rows))
    few = [prompts[i] for i in np.linspace(0, len(prompts) - 1, min(LATENCY_PROMPTS, len(prompts))).astype(int)]
    alone = offline.latencies(few) * 1e3
    began = time.perf_counter()
    report = None if on_progress is None else lambda done: on_progress(done, len(prompts))
    found = offline.scored(prompts, report) if texts else [Scored(s) for s in offline.scores(prompts, report).tolist()]
    seconds = time.perf_counter() - began
    speed = Speed(
        prompts=len(prompts),
        prompts_per_second=len(prompts) / seconds,
        latency_p50_ms=float(np.quantile(alone, 0.5)),
        latency_p99_ms=float(np.quantile(alone, 0.99)),
        latency_prompts=len(few),
        threads=threads,
        provider=offline.provider,
        machine=machine(),
        device_share=offline.device_share,
    )
    return np.array([one.score for one in found])[places], [found[i].text for i in places.tolist()], speed


def machine() -> str:
    """The processor and how many of its cores this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = names[0][:_LONGEST_MODEL_NAME] if names else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"
