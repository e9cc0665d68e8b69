"""``rankd replay``: what ranking would have made of a trace."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from rankd.cli.replay.flags import DEFAULT_HTML, DEFAULT_TAU
from rankd.cli.terminal import PlainConsole, output
from rankd.errors import ConfigError
from rankd.settings import AdaptSection, Settings, load_settings

if TYPE_CHECKING:
    from rankd.adaptation import FeatureHasher
    from rankd.replay.engine.cost import EngineCost
    from rankd.replay.plan import OnProgress, ReplayPlan, ScoreOrigin
    from rankd.replay.policies.by_name import RankerPrior
    from rankd.replay.trace.fields import TraceRequest
    from rankd.replay.trace.files import TraceRead
    from rankd.replay.trace.trace import Trace
    from rankd.training.evaluation.offline_ranker import OfflineRanker
    from rankd.types import Scored


def replay(arguments: argparse.Namespace) -> int:
    """Read, replay under every policy, and print the report; 0 where there is a verdict.

    Raises:
        RankdError: the trace, the ranker or the settings cannot be used; the message names the remedy.
    """
    from rankd.cli.replay.table import describe_policies, view
    from rankd.html.parts import write_html
    from rankd.replay.report.json_form import as_json
    from rankd.replay.report.page import page
    from rankd.replay.report.report import make_report

    if arguments.policies == "list":
        output(110).print(describe_policies())
        return 0
    html = arguments.html or (None if arguments.json or arguments.no_html else DEFAULT_HTML)
    console = PlainConsole(stderr=True)
    with _progress_bar(console) as on_progress:
        plan = _plan(arguments, console, on_progress, sweeps=html is not None and not arguments.no_sweeps)
        try:
            report = make_report(plan)
        except ValueError as error:
            raise ConfigError(f"--kv-tokens: {error}: give more") from None
    if arguments.json:
        print(json.dumps(as_json(report)))
    else:
        output(120).print(view(report))
    if html is not None:
        write_html(page(report), html)
        console.print(f"{html}: the same with pictures", highlight=False)
    return 0


def _plan(arguments: argparse.Namespace, console: PlainConsole, on_progress: OnProgress, *, sweeps: bool) -> ReplayPlan:
    """What the flags ask for; reads the trace."""
    from rankd.cli.replay.reading import notes_of
    from rankd.replay.plan import ReplayPlan, ScoreOrigin, compared
    from rankd.replay.policies.by_name import RankerPrior
    from rankd.replay.policies.synthetic_scores import scores_of_tau

    policies, settings, cost = _policies(arguments.policies), _settings(arguments), _cost(arguments)
    read, origin, ranker = _read(arguments, settings, console, on_progress)
    trace, arrivals = _arrivals(read.trace, arguments, cost)
    scores = trace.score
    if arguments.tau is not None or scores is None:
        tau = DEFAULT_TAU if arguments.tau is None else arguments.tau
        scores, origin = scores_of_tau(trace.output, tau, arguments.seed), ScoreOrigin("synthetic")
    return ReplayPlan(
        name=", ".join(path.name for path in arguments.trace[:3]),
        trace=trace,
        scores=scores,
        origin=origin,
        cost=cost,
        settings=settings,
        policies=compared(settings, burst=trace.span <= 0) if policies is None else policies,
        ranker=ranker or RankerPrior(),
        steps=arguments.steps,
        arrivals=arrivals,
        notes=notes_of(read, arguments),
        columns=read.columns.used,
        skipped=read.skipped,
        sweeps=arguments.sweeps or sweeps,
        seed=arguments.seed,
        on_progress=on_progress,
    )


def _policies(names: str | None) -> list[str] | None:
    from rankd.replay.policies.by_name import check_policy

    if names is None:
        return None
    return [check_policy(name.strip()) for name in names.split(",") if name.strip()]


def _settings(arguments: argparse.Namespace) -> Settings:
    if arguments.config:
        os.environ["RANKD_CONFIG"] = arguments.config
    order = {name: value for name in ("objective", "slo") if (value := getattr(arguments, name)) is not None}
    return load_settings(order=order or None)


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
    arguments: argparse.Namespace, settings: Settings, console: PlainConsole, on_progress: OnProgress
) -> tuple[TraceRead, ScoreOrigin, RankerPrior | None]:
    """The trace with its scores, where they come from, and what the ranker's manifest states."""
    from rankd.cli.replay.reading import print_read
    from rankd.replay.plan import ScoreOrigin
    from rankd.replay.trace.files import TraceSelection, read_trace

    loaded = _LazyRanker(arguments, settings.adapt)
    read = read_trace(
        TraceSelection(
            arguments.trace,
            arguments.requests,
            arguments.time_unit,
            arguments.model,
            arguments.input_tokens,
            timed=not arguments.burst,
            chosen=_chosen_columns(arguments),
        ),
        scorer=None if arguments.tau is not None else loaded.scored,
        keep_scores=arguments.ranker is None,
        on_progress=lambda done: on_progress("reading", "", done, arguments.requests),
    )
    print_read(read, console)
    if arguments.ranker is not None and not loaded.used:
        raise ConfigError("--ranker needs prompts, and the trace has none: leave it out, or give --tau")
    if loaded.used:
        return read, ScoreOrigin("ranker", loaded.name), loaded.prior
    return read, ScoreOrigin("trace"), None


def _chosen_columns(arguments: argparse.Namespace) -> dict[str, str]:
    from rankd.replay.trace.names import CHOSEN

    named = {name: getattr(arguments, f"{name}_column") for name in CHOSEN}
    return {name: column for name, column in named.items() if column is not None}


class _LazyRanker:
    """A ranker that is loaded when the first prompt turns up."""

    def __init__(self, arguments: argparse.Namespace, adapt: AdaptSection) -> None:
        """Load nothing yet; ``adapt`` says whether anything is to be learned from."""
        self._arguments, self._adapt = arguments, adapt
        self._ranker: OfflineRanker | None = None
        self.used = False
        self.name = ""
        self.prior: RankerPrior | None = None

    def scored(self, requests: Sequence[TraceRequest]) -> list[Scored]:
        """Score prompts as the daemon does, and make what predictions carry to be learned from."""
        from rankd.types import Scored

        ranker = self._ranker or self._load()
        self.used = True
        prompts = [request.prompt or "" for request in requests]
        if not self._adapt.enabled:
            return [Scored(score) for score in ranker.scores(prompts).tolist()]
        if self._adapt.text:
            found = ranker.scored(prompts)
        else:
            found = [Scored(score) for score in ranker.scores(prompts).tolist()]
        return [
            Scored(one.score, self._packed(ranker.hasher, one.text, request))
            for one, request in zip(found, requests, strict=True)
        ]

    @staticmethod
    def _packed(hasher: FeatureHasher, text: bytes, request: TraceRequest) -> bytes:
        return hasher.pack(
            text,
            request.shape,
            prompt_tokens=request.prompt_tokens or 0,
            max_tokens=request.max_tokens,
            tenant=request.tenant,
        )

    def _load(self) -> OfflineRanker:
        # The tokeniser's own pool knows no other setting, and reads it once.
        os.environ["RAYON_NUM_THREADS"] = str(self._arguments.threads)
        from rankd.registry.artifact import load_artifact
        from rankd.registry.bundled import ranker_path
        from rankd.replay.policies.by_name import RankerPrior
        from rankd.training.evaluation.offline_ranker import OfflineRanker

        artifact = load_artifact(self._arguments.ranker or ranker_path("minilm-l6"))
        ranker = self._ranker = OfflineRanker(artifact, threads=self._arguments.threads)
        self.name = artifact.path.name
        measured = artifact.manifest.measured_tau is not None
        self.prior = RankerPrior(prior=artifact.calibration(), measured=measured, learns=self._adapt.enabled)
        return ranker


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


@contextmanager
def _progress_bar(console: PlainConsole) -> Iterator[OnProgress]:
    columns = (TextColumn("{task.fields[stage]}"), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None, stage="reading")

        def on_progress(stage: str, what: str, done: int, total: int) -> None:
            if stage != bar.tasks[0].fields["stage"]:
                bar.reset(task, stage=stage)  # the time that is left is that of the stage
            bar.update(task, description=what, completed=done, total=total)

        yield on_progress
