"""One command with verbs. Each verb has a module; this one knows their flags."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from rankd.cli.connection_flags import add_connection_flags
from rankd.cli.proxy_flags import add_proxy
from rankd.cli.terminal import abandon_output, complain, mend_streams
from rankd.errors import RankdError
from rankd.settings import Settings, settings_reference
from rankd.version import VERSION

DEFAULT_TARGET = "127.0.0.1:50051"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit status: 0 well, 1 failed, 2 wrong usage or settings, 130 interrupted."""
    mend_streams()
    try:
        try:
            return _run(argv)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has had enough, as `| head` has.
        abandon_output()
        return 0


def _run(argv: Sequence[str] | None) -> int:
    arguments = build_parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except RankdError as error:
        complain(str(error))
        return 2
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """All verbs and flags."""
    parser = argparse.ArgumentParser(
        prog="rankd", description="A rank daemon for LLM serving: prompts in, a serving order out."
    )
    parser.add_argument("--version", action="version", version=f"rankd {VERSION}")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _serve(verbs)
    _rank(verbs)
    _status(verbs)
    _bench(verbs)
    _promote(verbs)
    _rollback(verbs)
    _pilot(verbs)
    _train(verbs)
    _evaluate(verbs)
    _replay(verbs)
    add_proxy(verbs)
    _token(verbs)
    return parser


def _serve(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    fields = Settings.model_fields
    verb = verbs.add_parser(
        "serve",
        help="run the daemon",
        description="Run the daemon. Every setting can be given as an environment variable (RANKD_LISTEN, "
        "RANKD_SCORING__THREADS, ...) or in a TOML file; flags win over variables over the file.",
    )
    verb.add_argument("--listen", metavar="HOST:PORT", help=_help(fields, "listen"))
    verb.add_argument("--metrics", metavar="HOST:PORT", help=_help(fields, "metrics"))
    verb.add_argument("--admin", metavar="HOST:PORT", help=_help(fields, "admin"))
    verb.add_argument("--ranker", metavar="DIR", help=fields["ranker"].description)
    verb.add_argument("--provider", choices=["auto", "cuda", "cpu"], help=_help(fields, "provider"))
    verb.add_argument("--config", metavar="FILE", help="TOML file with settings (RANKD_CONFIG)")
    verb.add_argument("--help-settings", action="store_true", help="list all settings with their defaults, and exit")
    verb.set_defaults(run=_run_serve)


def _help(fields: dict, name: str) -> str:  # type: ignore[type-arg]
    return f"{fields[name].description} Default: {fields[name].default or 'off'}"


def _run_serve(arguments: argparse.Namespace) -> int:
    if arguments.help_settings:
        for name, default, description in settings_reference():
            variable = "RANKD_" + name.upper().replace(".", "__")
            print(f"{name} = {default or '(none)'}\n    {description} [{variable}]")
        return 0
    from rankd.cli.serve import serve

    return serve(arguments)


def _rank(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = verbs.add_parser(
        "rank",
        help="order a file of prompts",
        description="Order a file of prompts. It holds a prompt per line, or a JSON object per line, and is one or the "
        "other throughout: JSON lines where its name ends in .jsonl, or where its first line looks like one.",
    )
    verb.add_argument(
        "file",
        metavar="FILE",
        help="a prompt per line, or JSONL with `prompt` and optional `request_id`; - reads stdin",
    )
    _target(verb)
    verb.add_argument("--model", default="", help="the served language model whose calibration and guard apply")
    verb.add_argument("--policy", choices=["boost", "due", "aged", "score", "fcfs"], help="default: the daemon's")
    verb.add_argument(
        "--timeout", type=_positive, default=60.0, metavar="SECONDS", help="deadline of the call; default: 60"
    )
    verb.add_argument("--json", action="store_true", help="print JSON lines and nothing else")
    verb.set_defaults(run=_run_rank)


def _run_rank(arguments: argparse.Namespace) -> int:
    from rankd.cli.rank import rank

    return rank(arguments)


def _status(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    verb = verbs.add_parser(
        "status", help="show ranker, guard, quality and traffic", description="Show how a daemon does."
    )
    _target(verb)
    verb.add_argument("--watch", action="store_true", help="follow it live, until interrupted")
    verb.add_argument(
        "--interval", type=_positive, default=1.0, metavar="SECONDS", help="between two updates of --watch; default: 1"
    )
    verb.add_argument(
        "--json", action="store_true", help="print JSON and nothing else (a line per update with --watch)"
    )
    verb.set_defaults(run=_run_status)


def _run_status(arguments: argparse.Namespace) -> int:
    from rankd.cli.status import status

    return status(arguments)


def _bench(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from rankd.bench.flags import add_flags

    verb = verbs.add_parser("bench", help="measure a daemon against its floors")
    add_flags(verb)
    verb.set_defaults(run=_run_bench)


def _run_bench(arguments: argparse.Namespace) -> int:
    from rankd.bench.run import bench

    return bench(arguments)


def _train(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from rankd.cli.train.flags import add_flags

    verb = verbs.add_parser("train", help="train a ranker on prompts and output lengths")
    add_flags(verb)
    verb.set_defaults(run=_run_train)


def _run_train(arguments: argparse.Namespace) -> int:
    from rankd.cli.train.train import train

    return train(arguments)


def _evaluate(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from rankd.cli.evaluate_flags import add_flags

    verb = verbs.add_parser(
        "evaluate",
        help="judge a ranker on prompts and output lengths",
        description="Judge a ranker on prompts and output lengths that it was not trained on: how well it orders them, "
        "how near that is to what can be had, and how fast it is here.",
    )
    add_flags(verb)
    verb.set_defaults(run=_run_evaluate)


def _run_evaluate(arguments: argparse.Namespace) -> int:
    from rankd.cli.evaluate import evaluate

    return evaluate(arguments)


def _replay(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from rankd.cli.replay.flags import add_flags

    verb = verbs.add_parser(
        "replay",
        help="what ranking would have made of your traffic",
        description="Replay a trace of arrivals and lengths through a simulated engine under every policy: what "
        "ranking would have gained, for whom, at which load, and with which ranker.",
    )
    add_flags(verb)
    verb.set_defaults(run=_run_replay)


def _run_replay(arguments: argparse.Namespace) -> int:
    from rankd.cli.replay.replay import replay

    return replay(arguments)


def _promote(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from rankd.cli.promote_flags import add_promote_flags

    verb = verbs.add_parser(
        "promote",
        help="put a ranker into service if it is better",
        description="Put a ranker into a running daemon's service, only if it beats the one in service on recent "
        "completions. Exit status: 0 promoted, 3 refused, 2 bad input, 1 the daemon does not answer.",
    )
    add_promote_flags(verb)
    verb.set_defaults(run=_run_promote)


def _run_promote(arguments: argparse.Namespace) -> int:
    from rankd.cli.promote import promote

    return promote(arguments)


def _rollback(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from rankd.cli.promote_flags import add_admin_flags

    verb = verbs.add_parser("rollback", help="put the ranker that was in service before back")
    add_admin_flags(verb)
    verb.set_defaults(run=_run_rollback)


def _run_rollback(arguments: argparse.Namespace) -> int:
    from rankd.cli.rollback import roll_back

    return roll_back(arguments)


def _pilot(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from rankd.cli.pilot_flags import add_pilot_flags

    verb = verbs.add_parser(
        "pilot",
        help="compare two policies on live traffic",
        description="Compare two policies on live traffic: a model's queue alternates between them by time slots. "
        "Exit status: 0 well, 3 stopped because of harm, 2 bad input, 1 the daemon does not answer.",
    )
    add_pilot_flags(verb)
    verb.set_defaults(run=_run_pilot)


def _run_pilot(arguments: argparse.Namespace) -> int:
    from rankd.cli.pilot import pilot

    return pilot(arguments)


def _token(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from rankd.cli.token_flags import add_token_flags

    verb = verbs.add_parser(
        "token", help="make tokens and signing keys", description="Make secrets for auth.file and signing.file."
    )
    add_token_flags(verb)
    verb.set_defaults(run=_run_token)


def _run_token(arguments: argparse.Namespace) -> int:
    from rankd.cli.token import new_key, new_token

    return new_key(arguments) if arguments.kind == "key" else new_token(arguments)


def _target(verb: argparse.ArgumentParser) -> None:
    default = os.environ.get("RANKD_TARGET", DEFAULT_TARGET)
    verb.add_argument(
        "--target", metavar="HOST:PORT", default=default, help=f"the daemon; default: RANKD_TARGET or {DEFAULT_TARGET}"
    )
    add_connection_flags(verb)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value
