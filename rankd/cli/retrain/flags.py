"""Flags of ``rankd retrain``, and what they come to."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from rankd.cli.connection import DEFAULT_ADMIN, add_connection_flags
from rankd.cli.train.flags import data_flags, export_flags, learning_flags
from rankd.cli.values import between, number, seconds, whole
from rankd.errors import ConfigError
from rankd.registry.bundled import ranker_path
from rankd.settings import load_settings

if TYPE_CHECKING:
    from rankd.retraining.options import RetrainOptions, ShadowOptions

_WORKSPACE = ".retraining"
_MOST = 2**31 - 1


def add_flags(verb: argparse.ArgumentParser) -> None:
    """Declare them."""
    verb.description = (
        "Train a ranker on the completion log, judge it on the latest completions, and put it into service if it is "
        "better: one command for cron, systemd or a CronJob. Started again after a failure it goes on where it was. "
        "Exit status: 0 promoted, left in the registry as asked, or nothing new; 1 a daemon does not answer; 2 bad "
        "input; 3 no better; 4 too little data; 5 another run is under way; 6 failed, as on a full disk."
    )
    data_flags(verb.add_argument_group("what is learned from"), required=False)
    _time_flags(verb.add_argument_group("what is new, and what is kept back"))
    _place_flags(verb.add_argument_group("where things are kept"))
    learning_flags(verb.add_argument_group("how it learns"), margin=False)
    export_flags(verb.add_argument_group("what is written"), several=False)
    _decision_flags(verb.add_argument_group("when it is better"))
    _replica_flags(verb.add_argument_group("the daemons"))
    _output_flags(verb.add_argument_group("what is said"))


def _time_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--hold-back",
        type=number("a share above 0 and of .5 or less", 0, 0.5, above=True),
        default=0.2,
        metavar="S",
        help="share of the completions since the last run, the latest, that is kept back to judge by; default: .2",
    )
    group.add_argument(
        "--max-held-back", type=whole(50, 16384), default=4096, metavar="N", help="of these at most; default: 4096"
    )
    group.add_argument(
        "--min-new",
        type=whole(2, _MOST),
        default=400,
        metavar="N",
        help="train only where so many completions ended since the last run; default: 400",
    )
    group.add_argument(
        "--only-new", action="store_true", help="train on completions since the last run only; default: on all the log"
    )


def _place_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--registry", type=Path, metavar="DIR", help="the daemons' registry on this machine; default: RANKD_REGISTRY"
    )
    group.add_argument(
        "--workspace",
        type=Path,
        metavar="DIR",
        help=f"for lock, state and the records of runs; default: {_WORKSPACE} in the registry",
    )
    group.add_argument(
        "--scratch", type=Path, metavar="DIR", help="for training under way; default: scratch in the workspace"
    )
    group.add_argument("--keep-runs", type=whole(1, 10**6), default=50, metavar="N", help="records kept; default: 50")
    group.add_argument("--keep-refused", action="store_true", help="leave a ranker that is no better in the registry")
    group.add_argument(
        "--resume-hours",
        type=number("a number of hours above 0", 0, 1e5, above=True),
        default=48.0,
        metavar="H",
        help="give an unfinished run up after so long, and begin a new one; default: 48",
    )


def _decision_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--margin",
        dest="promotion_margin",
        type=number("a difference in tau, -1 to 1", -1, 1),
        metavar="TAU",
        help="the lower bound of the difference in tau must be above this; default: promotion.margin (0)",
    )
    group.add_argument(
        "--min-completions",
        type=whole(50, 16384),
        metavar="N",
        help="judge on no fewer; default: promotion.min_completions (200)",
    )
    group.add_argument(
        "--min-tau", type=between(-1, 1), default=-1.0, metavar="TAU", help="go no further below it; default: -1"
    )
    group.add_argument(
        "--evaluate-data",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="rows that --min-tau is asked of; default: the completions kept back",
    )
    group.add_argument(
        "--against",
        type=ranker_path,
        metavar="DIR",
        help="the ranker to beat on the completions kept back; default: the one in service",
    )
    group.add_argument(
        "--shadow", type=seconds, metavar="SECONDS", help="let it score in the shadow first, for so long at most"
    )
    group.add_argument(
        "--shadow-completions",
        type=whole(1, _MOST),
        metavar="N",
        help="let it score in the shadow first, until N completions are reported. Without these two it goes to the "
        "shadow only where no other completions can tell, until 1,000 and for six hours at most",
    )
    group.add_argument("--no-shadow", action="store_true", help="never; what cannot be judged otherwise is refused")
    group.add_argument("--force", action="store_true", help="promote it whatever its figures are")


def _replica_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--admin",
        nargs="+",
        metavar="HOST:PORT",
        help="admin listeners of all replicas; the first that answers judges, the others follow; default: "
        f"RANKD_ADMIN_TARGET or {DEFAULT_ADMIN}",
    )
    group.add_argument("--admin-name", metavar="NAME:PORT", help="a DNS name, each of whose addresses is a replica")
    group.add_argument(
        "--no-promote", action="store_true", help="leave it in the registry if it is better; no daemon is asked"
    )
    add_connection_flags(group)


def _output_flags(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--dry-run", action="store_true", help="say what would be done; nothing is written")
    group.add_argument("--json", action="store_true", help="print the record as JSON and nothing else on stdout")
    group.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="KIND:DIR",
        help="tell the run to an experiment tracker too: mlflow:DIR or tensorboard:DIR (repeatable)",
    )
    group.add_argument(
        "--exit-zero",
        action="store_true",
        help="exit with 0 where all worked as it should, whatever became of the ranker: 3, 4 and 5 are 0",
    )


def options_of(arguments: argparse.Namespace) -> RetrainOptions:
    """The options of a run; what the flags leave open comes from the daemon's settings.

    Raises:
        ConfigError: two flags that contradict each other, or one that is missing.
    """
    from rankd.retraining.options import RetrainOptions

    settings = load_settings()
    registry, log = arguments.registry or settings.registry, settings.completion_log.directory
    if registry is None:
        raise ConfigError("--registry is missing: name the daemons' registry, or set RANKD_REGISTRY")
    if not arguments.data and not log:
        raise ConfigError("--data is missing: name the completion log, or set RANKD_COMPLETION_LOG__DIRECTORY")
    data = arguments.data or [Path(log)]
    workspace = arguments.workspace or registry / _WORKSPACE
    scratch = arguments.scratch or workspace / "scratch"
    _check_apart(scratch, registry)
    promotion = settings.promotion
    given = arguments.promotion_margin
    return RetrainOptions(
        data=tuple(data),
        registry=registry,
        workspace=workspace,
        scratch=scratch,
        rows=arguments.rows,
        seed=arguments.seed,
        model=arguments.model,
        caps=tuple(arguments.cap),
        only_new=arguments.only_new,
        hold_back=arguments.hold_back,
        min_new=arguments.min_new,
        min_completions=arguments.min_completions or promotion.min_completions,
        max_held_back=arguments.max_held_back,
        min_decided_share=promotion.min_decided_share,
        margin=promotion.margin if given is None else given,
        min_tau=arguments.min_tau,
        evaluate_data=tuple(arguments.evaluate_data),
        against=arguments.against,
        threads=arguments.threads or 1,
        promote=not arguments.no_promote,
        force=arguments.force,
        **_replicas(arguments),  # type: ignore[arg-type]
        shadow=_shadow(arguments),
        keep_runs=arguments.keep_runs,
        keep_refused=arguments.keep_refused,
        resume_hours=arguments.resume_hours,
        training=hashlib.sha256(json.dumps(parameters_of(arguments), sort_keys=True).encode()).hexdigest()[:16],
    )


def _check_apart(scratch: Path, registry: Path) -> None:
    """What is under way must not look like a ranker of the registry."""
    inside, root = scratch.absolute(), registry.absolute()
    if inside.is_relative_to(root) and not any(p.startswith(".") for p in inside.relative_to(root).parts):
        raise ConfigError(f"--scratch {scratch} is in the registry: name a directory elsewhere, or leave it out")


def _replicas(arguments: argparse.Namespace) -> dict[str, object]:
    if arguments.admin or arguments.admin_name:
        return {"admin": tuple(arguments.admin or ()), "admin_name": arguments.admin_name or ""}
    return {"admin": (os.environ.get("RANKD_ADMIN_TARGET", DEFAULT_ADMIN),)}


def _shadow(arguments: argparse.Namespace) -> ShadowOptions:
    from rankd.retraining.options import ShadowOptions

    first = arguments.shadow is not None or arguments.shadow_completions is not None
    if first and arguments.no_shadow:
        raise ConfigError("--no-shadow contradicts --shadow and --shadow-completions: leave one out")
    usual = ShadowOptions()
    return ShadowOptions(
        "never" if arguments.no_shadow else "always" if first else "auto",
        arguments.shadow or usual.seconds,
        # A time alone is waited for whole, as `rankd promote` does.
        arguments.shadow_completions or (_MOST if arguments.shadow else usual.completions),
    )


def parameters_of(arguments: argparse.Namespace) -> dict[str, str]:
    """What decides which ranker comes out, by flag: what is tracked, and what makes a run the same run."""
    parser = argparse.ArgumentParser()
    data_flags(parser, required=False)
    learning_flags(parser, margin=False)
    export_flags(parser, several=False)
    names = {action.dest for action in parser._actions} - {"help", "threads", "checkpoint_seconds"}  # noqa: SLF001
    found = {name: getattr(arguments, name) for name in sorted(names)}
    found |= {name: getattr(arguments, name) for name in ("hold_back", "only_new")}
    return {name: _shown(value) for name, value in found.items() if value not in (None, [])}


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
