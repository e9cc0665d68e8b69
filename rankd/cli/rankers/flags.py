"""The verbs of ``rankd rankers`` and their flags."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path

from rankd.cli.connection import add_admin_flags
from rankd.cli.values import whole

_MOST_THREADS = 256
_VERBS = {
    "list": "the rankers in the registry and in the daemon: role, when and on what trained, tau, aliases",
    "show": "one ranker: its manifest, and when it was in service",
    "diff": "compare two rankers on one log, with the interval of the difference; needs no daemon",
    "alias": "give a ranker in the registry a further name",
}


def add_flags(verb: argparse.ArgumentParser) -> None:
    """A verb each."""
    verb.description = "What rankers there are, which one serves, how two compare, and their names."
    verbs = verb.add_subparsers(required=True, metavar="VERB", dest="rankers_verb")
    for name, summary in _VERBS.items():
        own = verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        {"list": _list_flags, "show": _show_flags, "diff": _diff_flags, "alias": _alias_flags}[name](own)


def run(arguments: argparse.Namespace) -> int:
    """Run one of the verbs; returns its exit status."""
    module = importlib.import_module(f"rankd.cli.rankers.{arguments.rankers_verb}_verb")
    return int(module.run(arguments))


def _list_flags(verb: argparse.ArgumentParser) -> None:
    _registry_flag(verb)
    add_admin_flags(verb)


def _show_flags(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("ranker", metavar="RANKER", help=_NAMED)
    _registry_flag(verb)
    verb.add_argument("--json", action="store_true", help="print JSON and nothing else")


_NAMED = "name@version or alias in the registry, a directory, or a bundled one's name"


def _diff_flags(verb: argparse.ArgumentParser) -> None:
    verb.epilog = "Exit status: 0 compared, whatever came of it; 2 bad input."
    verb.add_argument("first", metavar="A", help=_NAMED)
    verb.add_argument("second", metavar="B", help="the same; differences are A less B")
    verb.add_argument(
        "--data",
        nargs="+",
        required=True,
        type=Path,
        metavar="PATH",
        help="prompts and output lengths that neither was trained on, as for `rankd evaluate`",
    )
    _registry_flag(verb)
    verb.add_argument("--model", help="take only rows that this model answered; default: all, compared within each")
    verb.add_argument(
        "--rows", type=whole(1, 10**9), default=4096, metavar="N", help="most rows, drawn at random; default: 4096"
    )
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="of that draw; default: 0")
    verb.add_argument("--provider", choices=["auto", "cuda", "cpu"], default="cpu", help="default: cpu")
    verb.add_argument(
        "--threads", type=whole(1, _MOST_THREADS), default=1, metavar="N", help="of models and tokenisers; default: 1"
    )
    verb.add_argument(
        "--with-trained",
        action="store_true",
        help="count rows too whose prompts one of the two was made of, which flatter it; default: they are left out",
    )
    verb.add_argument("--json", action="store_true", help="print JSON and nothing else")


def _alias_flags(verb: argparse.ArgumentParser) -> None:
    verb.epilog = (
        "An alias is a symbolic link in the registry: `rankd promote REGISTRY/NAME` and `--ranker REGISTRY/NAME` "
        "follow it when they read it. What has an alias is never removed from the registry."
    )
    verb.add_argument("name", metavar="NAME", help="letters, digits and . _ + -; not `serving`, which is rankd's own")
    verb.add_argument("ranker", metavar="VERSION", nargs="?", help="name@version or another alias in the registry")
    verb.add_argument("--remove", action="store_true", help="take the name away; the ranker stays")
    _registry_flag(verb)
    verb.add_argument("--json", action="store_true", help="print JSON and nothing else")


def _registry_flag(verb: argparse.ArgumentParser) -> None:
    default = os.environ.get("RANKD_REGISTRY", "").strip()
    verb.add_argument(
        "--registry",
        type=Path,
        metavar="DIR",
        default=Path(default) if default else None,
        help="the registry on this machine; default: RANKD_REGISTRY",
    )
