"""``rankd pilot``: two policies on live traffic, by time slots."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time

from rankd_client import AdminClient, PilotEffect, PilotPlan, PilotStatus
from rankd_client.ordering import Policy
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from rankd.cli.connection import DONE, REFUSED, add_admin_flags, administer
from rankd.cli.terminal import PlainConsole, output
from rankd.cli.values import duration, number, whole

_POLICIES = [p.value for p in Policy]
_POLL = 0.5
MEASURED_NOTHING = 4
"""Exit status of a pilot that ended itself, as there was nothing to compare."""
_MUCH = 0.05
"""A share of requests or answers above which a caveat is printed."""


def add_flags(verb: argparse.ArgumentParser) -> None:
    """Start, status and stop."""
    verb.description = (
        "Compare two policies on live traffic: a model's queue alternates between them by time slots. Exit status: 0 "
        "well, 3 stopped because of harm, 4 it could measure nothing (no request came, or none with a duration), 2 bad "
        "input, 1 the daemon does not answer."
    )
    actions = verb.add_subparsers(required=True, metavar="ACTION", dest="action")
    start = actions.add_parser("start", help="begin a pilot, and follow it to its end")
    _common(start)
    _add_plan(start)
    start.add_argument("--detach", action="store_true", help="begin it and return")
    status = actions.add_parser("status", help="show how a pilot stands, also after its end")
    _common(status)
    status.add_argument("--watch", action="store_true", help="follow it to its end")
    _common(actions.add_parser("stop", help="end a pilot"))


def _common(action: argparse.ArgumentParser) -> None:
    add_admin_flags(action)
    action.add_argument(
        "--model",
        help="the served language model, '' for the unnamed one; default: the only one that reports, or has a pilot",
    )


def _add_plan(start: argparse.ArgumentParser) -> None:
    start.add_argument(
        "--slot",
        type=duration,
        required=True,
        metavar="TIME",
        help="length of a slot, as 90s, 10m or 1h: many times as long as a request takes",
    )
    start.add_argument(
        "--blocks",
        type=whole(1, 2**32 - 1),
        required=True,
        metavar="N",
        help="pairs of slots, 6 to 1000; 24 are a start",
    )
    start.add_argument(
        "--washout",
        type=duration,
        metavar="TIME",
        help="at the start of each slot: who arrives in it is not counted; default: a fifth of the slot",
    )
    start.add_argument("--control", choices=_POLICIES, default="fcfs", help="compare with this policy; default: fcfs")
    start.add_argument("--treatment", choices=_POLICIES, help="the policy on trial; default: the daemon's")
    start.add_argument("--shadow", action="store_true", help="order nothing: shows what a pilot could tell apart")
    start.add_argument(
        "--metric", choices=["mean", "p50", "p90", "p99"], default="p99", help="what harm is judged by; default: p99"
    )
    start.add_argument(
        "--harm-tolerance",
        type=number("a share of at least 0, such as 0.1", 0, 1e11),
        metavar="SHARE",
        help="stop once the metric is shown to be worse by more than this; default: 0.1",
    )
    start.add_argument(
        "--seed",
        type=whole(1, 2**32 - 1),
        default=0,
        metavar="N",
        help="what the order of slots is drawn from; with --begin, the same on every replica; default: drawn",
    )
    start.add_argument(
        "--begin",
        type=number("a time in seconds since 1970", 0, 1e11),
        metavar="SECONDS",
        help="when the first slot begins, seconds since 1970; default: now",
    )


def run(arguments: argparse.Namespace) -> int:
    """Start, show or stop a pilot.

    Returns:
        0 well, 3 stopped because of harm, 4 nothing was measured, 2 bad input, 1 no daemon.
    """
    return administer(arguments, {"start": _start, "status": _status, "stop": _stop}[arguments.action])


def _start(client: AdminClient, arguments: argparse.Namespace) -> int:
    status = client.start_pilot(
        PilotPlan(
            slot=arguments.slot,
            blocks=arguments.blocks,
            model=arguments.model,
            control=Policy(arguments.control),
            treatment=Policy(arguments.treatment) if arguments.treatment else None,
            washout=arguments.washout,
            shadow=arguments.shadow,
            harm_tolerance=arguments.harm_tolerance,
            metric=arguments.metric,
            seed=arguments.seed,
            start=arguments.begin,
        )
    )
    if arguments.model is None and not arguments.json:
        PlainConsole(stderr=True).print(f"{_model(status)}: no other one reports; --model names one")
    if not arguments.detach:
        status = _follow(client, status)
    return _print_status(status, arguments)


def _status(client: AdminClient, arguments: argparse.Namespace) -> int:
    status = client.pilot(arguments.model)
    if arguments.watch:
        status = _follow(client, status)
    return _print_status(status, arguments)


def _stop(client: AdminClient, arguments: argparse.Namespace) -> int:
    return _print_status(client.stop_pilot(arguments.model), arguments)


def _model(status: PilotStatus) -> str:
    return f"model {status.model!r}" if status.model else "the unnamed model"


def _follow(client: AdminClient, status: PilotStatus) -> PilotStatus:
    """Show progress until it ends; an interrupt leaves it to go on."""
    console = PlainConsole(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("slots", total=2 * status.blocks, state="")
            while status.active:
                progress.update(task, completed=status.slots_done, state=_line(status))
                time.sleep(_POLL)
                status = client.pilot(status.model)
            progress.update(task, completed=status.slots_done, state=_line(status))
    except KeyboardInterrupt:
        console.print("The pilot goes on; `rankd pilot status` shows it, `rankd pilot stop` ends it.")
        raise
    return status


def _line(status: PilotStatus) -> str:
    now = status.policy.value if status.policy else status.state
    text = f"{now}, {status.blocks_measured} of {status.blocks} blocks known"
    effect = _chosen(status)
    if effect is not None:
        text += f", {effect.metric} ratio {_between(effect.sequence_low, effect.sequence_high)}"
    return text


def _print_status(status: PilotStatus, arguments: argparse.Namespace) -> int:
    exit_status = {"stopped": REFUSED, "no_traffic": MEASURED_NOTHING, "unmeasured": MEASURED_NOTHING}
    if arguments.json:
        print(json.dumps(as_json(status)))
        return exit_status.get(status.state, DONE)
    console = output(120)
    console.print(headline(status), style="red" if status.state in exit_status else None)
    if status.effects:
        console.print(figures(status))
        console.print(verdict(status))
    for caveat in caveats(status):
        console.print(caveat, style="yellow")
    return exit_status.get(status.state, DONE)


def as_json(status: PilotStatus) -> dict[str, object]:
    """A pilot as plain JSON values; what is infinite is null."""
    out = dataclasses.asdict(status)
    for name in ("control", "treatment", "policy"):
        out[name] = out[name].value if out[name] else None
    for effect in out["effects"]:
        for name, value in effect.items():
            if isinstance(value, float) and not math.isfinite(value):
                effect[name] = None
    return out


def headline(status: PilotStatus) -> str:
    """What is compared, and how far it has come."""
    names = [p.value if p else "a policy this client does not know" for p in (status.treatment, status.control)]
    text = (
        f"{_model(status)}, {names[0]} against {names[1]}: {status.state}, {status.blocks_measured} of {status.blocks} "
        f"blocks known, slots of {status.slot:g} s, {status.requests:,} requests counted"
    )
    if status.shadow:
        text += "; in the shadow: nothing was treated, every ratio should be 1"
    return f"{text}. {status.reason}".rstrip()


def figures(status: PilotStatus) -> Table:
    """Both arms and their ratio; the interval that holds for this state comes first."""
    table = Table(title="latency by slot of arrival, geometric means over slots")
    names = ["", "control", "treatment", "ratio", "95 % interval", "95 %, at any time"]
    for name in names:
        table.add_column(name, no_wrap=True)
    for e in status.effects:
        fixed = "-" if e.low is None or e.high is None or status.state != "finished" else _between(e.low, e.high)
        anytime = _between(e.sequence_low, e.sequence_high)
        table.add_row(e.metric, f"{e.control:.3g} s", f"{e.treatment:.3g} s", f"{e.ratio:.3f}", fixed, anytime)
    return table


def verdict(status: PilotStatus) -> str:
    """One sentence on the metric that harm is judged by."""
    effect = _chosen(status)
    if effect is None:
        return ""
    low, high = effect.sequence_low, effect.sequence_high
    if status.state == "finished" and effect.low is not None and effect.high is not None:
        low, high = effect.low, effect.high
    what = "no difference is shown"
    if high < 1:
        what = f"faster by {1 - high:.0%} to {1 - low:.0%}"
    elif low > 1:
        what = (
            f"slower by {low - 1:.0%} to {high - 1:.0%}" if math.isfinite(high) else f"slower by {low - 1:.0%} or more"
        )
    return f"{effect.metric}: {what} (ratio {_between(low, high)})."


def caveats(status: PilotStatus) -> list[str]:
    """What speaks against the figures."""
    requests, out = max(1, status.requests), []
    if status.overridden > _MUCH * max(1, status.answers):
        out.append(
            f"{status.overridden / status.answers:.0%} of {status.answers:,} answers were not by the slot's policy "
            "(the guard fell back, nothing was scored, or the call named a policy): the ratio is drawn to 1."
        )
    if status.crossed > _MUCH * requests:
        out.append(
            f"{status.crossed / requests:.0%} of requests were still there when their slot ended and met the other "
            "policy too: the ratio is drawn to 1. Take longer slots."
        )
    if status.unfinished > 0.01 * requests:
        out.append(f"{status.unfinished:,} requests did not end within a slot's length, or were not reported.")
    if status.unmeasured:
        out.append(f"{status.unmeasured:,} reports had no total duration and could not count.")
    if status.late:
        out.append(f"{status.late:,} reports came too late to count.")
    if status.blocks_skipped:
        out.append(f"{status.blocks_skipped:,} blocks had fewer than 20 requests in a slot and are left out.")
    reached = max((e.horizon_blocks for e in status.effects), default=0)
    if reached:
        out.append(f"In {reached:,} blocks a latency was only known to be at least a slot's length.")
    return out


def _chosen(status: PilotStatus) -> PilotEffect | None:
    return next((e for e in status.effects if e.metric == status.metric), None)


def _between(low: float, high: float) -> str:
    if low <= 0 and math.isinf(high):
        return "unknown yet"
    return f"{low:.2f} to {high:.2f}"
