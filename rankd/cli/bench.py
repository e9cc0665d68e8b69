"""``rankd bench``: a daemon against its floors, or load on one that runs; what is measured is in ``rankd.bench``."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from rankd.bench import SCENARIOS
from rankd.cli.connection import DONE, UNREACHABLE, add_connection_flags, check_target, connect
from rankd.cli.streams import complain
from rankd.cli.values import number, seconds, whole
from rankd.errors import ConfigError
from rankd.registry.bundled import ranker_path

_OWN = {"ranker": None, "provider": "auto", "threads": 1, "workers": 0, "rounds": 5, "requests": 200_000}
"""Flags about a daemon that is started for the measurement, and their defaults."""
_OF_A_TARGET = ("rate", "timeout", "in_flight", "model")


def add_flags(verb: argparse.ArgumentParser) -> None:
    """What to measure, with what."""
    verb.description = (
        "Start a daemon of its own and measure it against two floors in the same run: tokenising and session.run in a "
        f"loop, and an empty gRPC method. Scenarios: {', '.join(SCENARIOS)}. With --target: send load to a daemon that "
        "runs. Exit status: 0 measured, 1 the target does not answer, 2 bad input."
    )
    verb.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all but memory, which takes long")
    verb.add_argument("--ranker", type=ranker_path, metavar="DIR", help="or a bundled one's name; default: minilm-l6")
    verb.add_argument("--provider", choices=["auto", "cuda", "cpu"], default="auto")
    verb.add_argument(
        "--threads", type=whole(1, 256), default=1, metavar="N", help="of the model, daemon and floor; default: 1"
    )
    verb.add_argument(
        "--workers",
        type=whole(0, 256),
        default=0,
        metavar="N",
        help="of the daemon; default: 0, which chooses as the daemon does",
    )
    verb.add_argument("--prompts", type=Path, metavar="FILE", help="a prompt per line; default: made-up ones")
    verb.add_argument(
        "--rounds", type=whole(1, 10_000), default=5, metavar="N", help="of alternating floor and daemon; default: 5"
    )
    verb.add_argument(
        "--seconds", type=seconds, default=60.0, metavar="S", help="of overload, or of load on a target; default: 60"
    )
    verb.add_argument("--requests", type=whole(100, 10**9), default=200_000, metavar="N", help="of the memory scenario")
    verb.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    _target_flags(verb)


def _target_flags(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group(
        "load on a daemon that runs",
        "Open loop: calls come at Poisson times, one new prompt each, and what a call took counts from when it was "
        "due. What is sent is said first.",
    )
    group.add_argument("--target", metavar="HOST:PORT", help="the daemon; never taken from RANKD_TARGET")
    group.add_argument(
        "--rate",
        type=number("a number of calls a second from 0.01 to 100,000", 0.01, 1e5),
        metavar="R",
        help="calls a second; needed with --target",
    )
    group.add_argument(
        "--timeout", type=seconds, metavar="SECONDS", help="deadline of a call; default: .05, an engine's own"
    )
    group.add_argument(
        "--in-flight",
        type=whole(1, 100_000),
        metavar="N",
        help="calls under way at most; what would be more is not sent, and counted; default: 1000",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help="the served model that calls are about; default: rankd-bench, to be apart from traffic",
    )
    add_connection_flags(verb)


def run(arguments: argparse.Namespace) -> int:
    """Measure, show, and write figures where that was asked for."""
    if arguments.target is not None:
        return _bench_target(arguments)
    for name in _OF_A_TARGET:
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name.replace('_', '-')} is of load on a daemon that runs: name it by --target")
    from rankd.bench.run import bench

    return bench(arguments)


def _bench_target(arguments: argparse.Namespace) -> int:
    if arguments.scenarios:
        raise ConfigError(f"{arguments.scenarios[0]!r} is measured on a daemon of its own: leave it out with --target")
    for name, default in _OWN.items():
        if getattr(arguments, name) != default:
            raise ConfigError(f"--{name} is of a daemon of its own: leave it out with --target")
    if arguments.rate is None:
        raise ConfigError("--target needs --rate, the calls a second to send there")

    from rankd_client import AsyncRankClient, RankdUnavailableError

    from rankd.bench.prompts import PromptSupply
    from rankd.bench.run_target import bench_target
    from rankd.bench.scenarios import DEADLINE
    from rankd.bench.target import MODEL, TargetLoad

    load = TargetLoad(
        arguments.rate,
        arguments.seconds,
        DEADLINE if arguments.timeout is None else arguments.timeout,
        1000 if arguments.in_flight is None else arguments.in_flight,
        MODEL if arguments.model is None else arguments.model,
    )
    client = partial(connect, AsyncRankClient, arguments.target, arguments, model=load.model, timeout=load.deadline)
    check_target(arguments.target, "--target")
    try:
        bench_target(arguments, load, client, PromptSupply(arguments.prompts))
    except RankdUnavailableError as error:
        complain(f"{arguments.target} does not answer ({error}): nothing was measured")
        return UNREACHABLE
    return DONE
