"""``rankd replay``: what ranking would have made of a trace."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from rankd.cli.replay.flags import DEFAULT_HTML, DEFAULT_TAU
from rankd.cli.terminal import PlainConsole, output
from rankd.errors import ConfigError
from rankd.settings import Settings, load_settings

if TYPE_CHECKING:
    from rankd.replay.engine.cost import EngineCost
    from rankd.replay.policies.by_name import RankerPrior
    from rankd.replay.report.report import ReplayReport
    from rankd.replay.trace.files import TraceRead
    from rankd.replay.trace.trace import Floats, Trace


def replay(arguments: argparse.Namespace) -> int:
    """Read, replay under every policy, and say so; 0 where there is a verdict.

    Raises:
        RankdError: the trace, the ranker or the settings cannot be used; the message names the remedy.
    """
    from rankd.cli.replay.table import describe_policies, view
    from rankd.html.parts import write_html
    from rankd.replay.report.page import page
    from rankd.replay.report.verdict import as_json

    if arguments.policies == "list":
        output(110).print(describe_policies())
        return 0
    policies, settings, cost = _policies(arguments.policies), _settings(arguments.config), _cost(arguments)
    console = PlainConsole(stderr=True)
    read, source, ranker = _read(arguments, console)
    trace, arrivals = _arrivals(read.trace, arguments, cost)
    scores, source = _scores(trace, arguments, source)
    html = arguments.html or (None if arguments.json or arguments.no_html else DEFAULT_HTML)
    report = _replayed(arguments, trace, scores, source, policies, cost, settings, ranker, arrivals, console)
    report.notes.extend(_notes(read, arguments))
    if arguments.sweeps or (html is not None and not arguments.no_sweeps):
        _sweep(report, trace, scores, ranker, arguments.seed, console)
    if arguments.json:
        print(json.dumps(as_json(report) | {"skipped": dict(sorted(read.skipped.items()))}))
    else:
        output(120).print(view(report))
    if html is not None:
        write_html(page(report), html)
        console.print(f"{html}: the same with pictures", highlight=False)
    return 0


def _policies(names: str | None) -> list[str]:
    from rankd.replay.policies.by_name import DEFAULT, check_policy

    if names is None:
        return list(DEFAULT)
    return [check_policy(name.strip()) for name in names.split(",") if name.strip()]


def _settings(config: str | None) -> Settings:
    if config:
        os.environ["RANKD_CONFIG"] = config
    return load_settings()


def _cost(arguments: argparse.Namespace) -> EngineCost:
    from rankd.replay.engine.cost import EngineCost, step_cost

    try:
        if arguments.steps:
            return step_cost(
                arguments.slots, kv_tokens=arguments.kv_tokens, block=arguments.block, chunk=arguments.chunk
            )
        return EngineCost(
            arguments.slots,
            arguments.base_ms / 1000,
            arguments.sequence_ms / 1000,
            arguments.prompt_ms / 1000,
            arguments.chunk,
            arguments.kv_tokens,
            arguments.block,
        )
    except ValueError as error:
        raise ConfigError(f"no such engine: {error}") from None


# -- reading -----------------------------------------------------------------------------------------------------------


def _read(
    arguments: argparse.Namespace, console: PlainConsole
) -> tuple[TraceRead, tuple[str, str], RankerPrior | None]:
    """The trace with its scores, where they come from, and what the ranker's manifest tells."""
    from rankd.replay.trace.files import read_trace

    loaded = _LazyRanker(arguments)
    with _bar(console, "reading") as tell:
        read = read_trace(
            arguments.trace,
            most=arguments.requests,
            unit=arguments.time_unit,
            model=arguments.model,
            input_tokens=arguments.input_tokens,
            scorer=None if arguments.tau is not None else loaded.scores,
            keep_scores=arguments.ranker is None,
            on_progress=lambda done: tell("reading", done, arguments.requests),
        )
    _say_read(read, console)
    if arguments.ranker is not None and not loaded.used:
        raise ConfigError("--ranker needs prompts, and the trace has none: leave it out, or give --tau")
    return read, ("ranker", loaded.name) if loaded.used else ("trace", ""), loaded.prior if loaded.used else None


class _LazyRanker:
    """A ranker that is loaded when the first prompt turns up."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Load nothing yet."""
        self._arguments = arguments
        self._ranker: Any = None
        self.used = False
        self.name = ""
        self.prior: RankerPrior | None = None

    def scores(self, prompts: Sequence[str]) -> Floats:
        """Score prompts as the daemon does."""
        if self._ranker is None:
            self._load()
        self.used = True
        return self._ranker.scores(prompts)  # type: ignore[no-any-return]

    def _load(self) -> None:
        # The tokeniser's own pool knows no other setting, and reads it once.
        os.environ["RAYON_NUM_THREADS"] = str(self._arguments.threads)
        from rankd.registry.artifact import load_artifact
        from rankd.registry.bundled import ranker_path
        from rankd.replay.policies.by_name import RankerPrior
        from rankd.training.evaluation.offline_ranker import OfflineRanker

        artifact = load_artifact(self._arguments.ranker or ranker_path("minilm-l6"))
        self._ranker = OfflineRanker(artifact, threads=self._arguments.threads)
        self.name = artifact.path.name
        measured = artifact.manifest.measured_tau is not None
        self.prior = RankerPrior(prior=artifact.calibration(), measured=measured)


def _say_read(read: TraceRead, console: PlainConsole) -> None:
    skipped = sum(read.skipped.values())
    line = f"{len(read.trace):,} requests"
    if skipped:
        reasons = "; ".join(f"{n:,} {why} (first: {read.first[why]})" for why, n in read.skipped.most_common(5))
        line += f", {skipped:,} rows skipped: {reasons}"
    if read.more:
        line += "; more rows were not read (--requests)"
    console.print(line, highlight=False)


def _notes(read: TraceRead, arguments: argparse.Namespace) -> list[str]:
    notes = []
    if read.estimated:
        notes.append(f"input tokens of {read.estimated:,} requests are a quarter of their prompt's characters")
    if arguments.input_tokens is not None:
        notes.append(f"requests that tell no input tokens count as of {arguments.input_tokens:,}")
    if skipped := sum(read.skipped.values()):
        notes.append(f"{skipped:,} rows could not be used")
    if read.more:
        notes.append(f"the first {len(read.trace):,} requests, there are more")
    return notes


# -- replaying ---------------------------------------------------------------------------------------------------------


def _arrivals(trace: Trace, arguments: argparse.Namespace, cost: EngineCost) -> tuple[Trace, str]:
    from rankd.replay.engine.cost import at_load

    if len(trace) < 2:
        raise ConfigError("one request is no queue: give a trace of more")
    if arguments.burst:
        return trace.burst(), "all at once"
    if arguments.speed is not None:
        return trace.faster(arguments.speed), f"{arguments.speed:g} times as fast"
    if arguments.load is not None:
        try:
            return at_load(trace, cost, arguments.load), f"at a load of {arguments.load:g}"
        except ValueError as error:
            raise ConfigError(f"--load: {error}; use --burst") from None
    return trace, "as in the trace"


def _scores(trace: Trace, arguments: argparse.Namespace, source: tuple[str, str]) -> tuple[Floats, tuple[str, str]]:
    from rankd.replay.policies.synthetic_scores import scores_of_tau

    if arguments.tau is None and trace.score is not None:
        return trace.score, source
    tau = DEFAULT_TAU if arguments.tau is None else arguments.tau
    return scores_of_tau(trace.output, tau, arguments.seed), ("synthetic", "")


def _replayed(
    arguments: argparse.Namespace,
    trace: Trace,
    scores: Floats,
    source: tuple[str, str],
    policies: list[str],
    cost: EngineCost,
    settings: Settings,
    ranker: RankerPrior | None,
    arrivals: str,
    console: PlainConsole,
) -> ReplayReport:
    from rankd.replay.report.report import make_report

    name = ", ".join(path.name for path in arguments.trace[:3])
    with _bar(console, "replaying") as tell:
        try:
            return make_report(
                name,
                trace,
                scores,
                source,
                policies,
                cost,
                settings,
                ranker=ranker,
                steps=arguments.steps,
                arrivals=arrivals,
                tell=tell,
            )
        except ValueError as error:
            raise ConfigError(f"--kv-tokens: {error}: give more") from None


def _sweep(
    report: ReplayReport, trace: Trace, scores: Floats, ranker: RankerPrior | None, seed: int, console: PlainConsole
) -> None:
    from rankd.replay.report.sweep import REQUESTS, load_sweep, tau_sweep

    settings, cost, policy = report.settings, report.cost, report.policy
    with _bar(console, "sweeps") as tell:
        report.tau_sweep = tau_sweep(
            trace, policy, cost, settings, seed=seed, tell=lambda done, total: tell("rankers", done, total)
        )
    if trace.span <= 0 or trace.first(REQUESTS).span <= 0:
        return
    with _bar(console, "sweeps") as tell:
        report.load_sweep = load_sweep(
            trace, scores, policy, cost, settings, ranker=ranker, tell=lambda done, total: tell("loads", done, total)
        )


@contextmanager
def _bar(console: PlainConsole, what: str) -> Iterator[Callable[[str, int, int], None]]:
    columns = (TextColumn(what), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda name, done, total: bar.update(task, description=name, completed=done, total=total)
