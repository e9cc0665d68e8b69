"""The rows of a run: read once, parted by time, and what both rankers make of those kept back."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rankd.errors import ArtifactError, RankdError
from rankd.registry.artifact import Artifact, load_artifact
from rankd.registry.bundled import default_ranker_path
from rankd.registry.history import SERVING, Place, ServiceHistory
from rankd.registry.shelf import directory_of
from rankd.retraining.held_back import Bounds, Parts, TimedRows, choose_bounds, in_time, part
from rankd.retraining.judgement import HeldBackJudgement, find_ranker, judge, least_tau, unseen
from rankd.retraining.options import RetrainOptions, Tools
from rankd.retraining.outcome import RunEndedError, RunOutcome
from rankd.retraining.replicas import addresses_of, in_service
from rankd.retraining.workspace import Plan
from rankd.training.data.dataset import Dataset, Row, read_dataset, skipped_text


class RunEvidence:
    """What the log has for one run."""

    def __init__(self, options: RetrainOptions, tools: Tools) -> None:
        """Read nothing yet."""
        self._options, self._tools = options, tools
        self._timed: TimedRows | None = None
        self._skipped: Counter[str] = Counter()
        self._parts: Parts | None = None

    @property
    def train(self) -> Sequence[Row]:
        """Rows to train on, and to stop training by: none that is kept back."""
        return self._parts.train if self._parts is not None else []

    def choose(self, since: float | None) -> Bounds:
        """Read the log, and choose what is kept back.

        Raises:
            ConfigError: rows that cannot be read, or tell no time.
            RunEndedError: NOTHING_NEW or TOO_LITTLE_DATA.
        """
        options = self._options
        ended = [row.at for row in self._read().rows if row.at is not None]
        return choose_bounds(
            ended,
            since,
            share=options.hold_back,
            min_new=options.min_new,
            least=options.min_completions,
            most=options.max_held_back,
        )

    def part(self, plan: Plan) -> dict[str, Any]:
        """Part the rows as a plan has it; gives what is to be said of them, plain JSON."""
        bounds = Bounds(plan.since, plan.cutoff, plan.until)
        if self._parts is not None:
            return self.described(bounds)
        timed = self._read()
        self._parts = parts = part(timed.rows, bounds, only_new=self._options.only_new)
        if not parts.train:
            raise RunEndedError(RunOutcome.TOO_LITTLE_DATA, "no completion is left to train on: all are kept back")
        data = self.described(bounds)
        self._tools.say(
            f"{data['new']:,} new completions; training on {data['train']:,} until {data['cutoff']}, "
            f"judging by {data['held_back']:,} after it"
        )
        return data

    def described(self, bounds: Bounds) -> dict[str, Any]:
        """The parting, plain JSON."""
        timed = self._read()
        parts = self._parts or part(timed.rows, bounds, only_new=self._options.only_new)
        return {
            "rows": len(timed.rows),
            "new": parts.new,
            "train": len(parts.train),
            "held_back": len(parts.held_back),
            "first": _iso(timed.rows[0].at),
            "since": _iso(bounds.since),
            "cutoff": _iso(bounds.cutoff),
            "until": _iso(bounds.until),
            "without_time": timed.untimed,
            "in_the_future": timed.future,
            "skipped": dict(self._skipped),
        }

    def judge(self, candidate: Artifact) -> HeldBackJudgement:
        """Judge a ranker by the rows kept back, against the one in service.

        Raises:
            ArtifactError: the candidate cannot be served.
            ConfigError: --against or --evaluate-data cannot be used.
        """
        options, parts = self._options, self._parts or Parts([], [], 0)
        incumbent = self.incumbent()
        kept = unseen(parts.held_back, parts.train, [r for r in (candidate, incumbent) if r is not None])
        judgement = judge(
            candidate,
            incumbent,
            kept,
            len(parts.held_back) - len(kept),
            margin=options.margin,
            min_completions=options.min_completions,
            min_decided_share=options.min_decided_share,
            threads=options.threads,
            on_progress=self._tools.progress("judging"),
        )
        if options.evaluate_data:
            rows = read_dataset(options.evaluate_data, most=options.max_held_back, seed=options.seed).rows
            judgement = least_tau(judgement, candidate, rows, options.threads)
        return judgement

    def incumbent(self) -> Artifact | None:
        """The ranker to beat; None where its files are not on this machine."""
        options, bundled = self._options, _bundled()
        if options.against is not None:
            return load_artifact(options.against)
        if options.promote:
            with suppress(RunEndedError):
                now = in_service(self._tools.connect, addresses_of(options))
                if now is None:
                    return self._last_promoted()
                found = find_ranker(now.ranker_version, now.path, options.registry, bundled)
                if found is None:
                    self._tools.say(f"{now.ranker_version} is in service, and its files are not on this machine")
                return found
        return self._last_promoted()

    def _last_promoted(self) -> Artifact | None:
        """What a daemon with this registry would serve when it starts."""
        registry = self._options.registry
        for place in (*reversed(ServiceHistory(registry).stack()), Place("", SERVING)):
            with suppress(ArtifactError):
                return load_artifact(directory_of(place, registry))
        return load_artifact(default_ranker_path())

    def _read(self) -> TimedRows:
        if self._timed is None:
            options = self._options
            dataset: Dataset = read_dataset(
                options.data,
                most=options.rows,
                seed=options.seed,
                model=options.model,
                caps=dict(options.caps),
                on_progress=self._tools.progress("reading"),
            )
            self._skipped = dataset.skipped
            if dataset.skipped:
                self._tools.say(f"skipped: {skipped_text(dataset, 5)}")
            self._timed = in_time(dataset.rows, time.time())
            if not self._timed.rows:
                raise RunEndedError(RunOutcome.BAD_INPUT, "--data: all rows end more than a day from now")
        return self._timed


def _bundled() -> list[Path]:
    root = default_ranker_path().parent
    with suppress(OSError, RankdError):
        return sorted(path for path in root.iterdir() if path.is_dir())
    return []


def _iso(at: float | None) -> str | None:
    """A time for people, and for whoever reads the record; the number itself where no calendar has it."""
    if at is None:
        return None
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return f"{at:g}"
