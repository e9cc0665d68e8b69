"""Train a ranker: from rows to weights, with checkpoints on the way."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from rankd.errors import ConfigError
from rankd.training.bases.base import Base
from rankd.training.data.dataset import Row, check_learnable
from rankd.training.data.lists import encode
from rankd.training.fit import checkpoint
from rankd.training.fit.distributed import ALONE, ProcessGroup
from rankd.training.fit.loop import TrainingLoop
from rankd.training.fit.options import EpochResult, FitOptions, FittedRanker, TrainingProgress

__all__ = ["EpochResult", "FitOptions", "FittedRanker", "TrainingProgress", "fit"]

FEWEST_ROWS = 32
"""Rows to train on below which a ranker is noise."""


def fit(
    base: Base,
    train_rows: Sequence[Row],
    valid_rows: Sequence[Row],
    options: FitOptions,
    *,
    checkpoint_dir: Path | None = None,
    processes: ProcessGroup = ALONE,
    on_progress: Callable[[TrainingProgress], None] | None = None,
) -> FittedRanker:
    """Train a ranker, going on from the checkpoint where there is one.

    Raises:
        ConfigError: too few rows, or no two of a group whose order is known; a checkpoint of another run.
    """
    if len(train_rows) < FEWEST_ROWS:
        raise ConfigError(f"{len(train_rows)} rows to train on, {FEWEST_ROWS} are needed: give more")
    check_learnable(train_rows)
    torch.set_num_threads(options.threads)
    fingerprint = _fingerprint(base, train_rows, valid_rows, options)
    processes.agree(fingerprint)
    base = base.for_prompts(row.prompt for row in train_rows)
    tokeniser = base.tokeniser()
    train = encode(train_rows, tokeniser, options.samples, options.seed)
    loop = TrainingLoop(base, train, encode(valid_rows, tokeniser, "first"), options, processes)
    if checkpoint_dir is not None:
        content = processes.from_first(checkpoint.read(checkpoint_dir) if processes.first else None)
        if content is not None:
            loop.restore(checkpoint.parse(content, fingerprint))
    saved = time.monotonic()
    while loop.step < loop.steps:
        loop.take_step()
        if loop.at_epoch_end:
            loop.validate()
        if on_progress is not None:
            on_progress(loop.progress())
        due = time.monotonic() - saved >= options.checkpoint_seconds or loop.step == loop.steps
        if due and checkpoint_dir is not None and processes.first:
            checkpoint.save(checkpoint_dir, loop.state(), fingerprint)
            saved = time.monotonic()
    return FittedRanker(base, loop.module, options, loop.history, loop.take_best(), fingerprint)


def _fingerprint(base: Base, train: Sequence[Row], valid: Sequence[Row], options: FitOptions) -> str:
    """What makes a run the same run: base, rows and options, but for how often it is saved."""
    digest = hashlib.sha256()
    cut = base.truncation
    # The loss stood beside the recipe once; with it there, runs of that time go on and ranker versions stay the same.
    settings = {**asdict(replace(options, checkpoint_seconds=0.0)), "loss": options.loss}
    if options.ranks == "median":
        del settings["ranks"]  # the same for what was chosen before there was a choice
    digest.update(json.dumps([base.name, base.fingerprint, asdict(cut), settings, len(train)], sort_keys=True).encode())
    for row in (*train, *valid):
        digest.update(json.dumps([row.prompt, row.tokens, row.complete, row.group, row.samples]).encode())
    return digest.hexdigest()
