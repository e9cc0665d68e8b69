"""``rankd bake``: what a daemon learned of its traffic, as a ranker of its own."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from rankd_client import AdminClient, LearnedHead

from rankd.cli.connection import DONE, REFUSED, add_admin_flags, administer
from rankd.cli.streams import complain
from rankd.errors import ConfigError
from rankd.registry.bundled import ranker_path
from rankd.registry.manifest import NAME
from rankd.text import printable


def add_flags(verb: argparse.ArgumentParser) -> None:
    """Where to, and what of."""
    verb.description = (
        "Write what a daemon learned of its traffic into a ranker of its own, for `rankd promote`: the ranker that it "
        "adds to, with the learned weights folded into its graph."
    )
    verb.add_argument("out", type=Path, metavar="DIR", help="the new ranker's directory, which must not be there")
    verb.add_argument(
        "--model", default="", help="the served model whose traffic was learned; default: the unnamed one"
    )
    verb.add_argument(
        "--ranker",
        type=ranker_path,
        metavar="DIR",
        help="where the ranker that it adds to is on this machine; default: where the daemon says that it is",
    )
    verb.add_argument("--name", type=_name, help="of the new ranker; default: that of the old one")
    verb.add_argument(
        "--version",
        type=_name,
        help="of the new ranker; default: that of the old one, and learned-DATE-TIME, such as "
        "1.0.0+learned-20260131-1742 (UTC)",
    )
    verb.add_argument(
        "--anyway", action="store_true", help="write it although it is not in use: not shown to be better"
    )
    add_admin_flags(verb)


def run(arguments: argparse.Namespace) -> int:
    """Ask the daemon, write, load and warm up.

    Returns:
        0 written; 1 no daemon; 2 nothing was learned, or it cannot be written; 3 it is not in use.

    Raises:
        RankdError: a ranker that cannot be used, or a directory that cannot be written; the message names the remedy.
    """
    if arguments.out.exists():
        raise ConfigError(f"{arguments.out} is there already: name a directory that is not")
    try:
        import onnx  # noqa: F401
    except ImportError:
        raise ConfigError("rankd bake needs onnx: pip install 'rankd[train]'") from None
    return administer(arguments, _bake)


def _name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text[:100]!r} is no name: letters, digits and . _ + -, at most 100")
    return text


def _bake(client: AdminClient, arguments: argparse.Namespace) -> int:
    from rankd.training.export.bake import BakePlan, bake

    learned = client.learned(arguments.model)
    if learned.quality.state != "in_use" and not arguments.anyway:
        complain(
            f"what was learned is not in use ({learned.quality.state.replace('_', ' ')}): it is not shown to order "
            "better than the ranker alone. Wait, or give --anyway."
        )
        return REFUSED
    base = arguments.ranker or _local(learned)
    name, _, version = learned.ranker_version.partition("@")
    now = datetime.now(UTC)
    plan = BakePlan(
        arguments.name or name,
        arguments.version or f"{version.partition('+learned-')[0]}+learned-{now:%Y%m%d-%H%M}",
        arguments.model,
    )
    baked = bake(base, learned, arguments.out, plan)
    if arguments.json:
        quality = learned.quality
        print(
            json.dumps(
                {
                    "path": str(baked.path),
                    "ranker_version": baked.ranker_version,
                    "base": learned.ranker_version,
                    "completions": quality.completions,
                    "measured_tau": baked.measured_tau,
                    "base_tau": None if quality.base_tau is None else round(quality.base_tau.value, 4),
                }
            )
        )
        return DONE
    tau = "its tau is not known yet" if baked.measured_tau is None else f"tau {baked.measured_tau:.3f} as measured live"
    print(
        printable(
            f"{baked.path}: {baked.ranker_version}, {learned.ranker_version} with what was learned from "
            f"{learned.quality.completions:,} completions; {tau}. `rankd promote {baked.path}` puts it into service."
        )
    )
    return DONE


def _local(learned: LearnedHead) -> Path:
    """Where the daemon says that its ranker is, if that is a directory here.

    Raises:
        ConfigError: it is none.
    """
    path = Path(learned.path)
    if not path.is_dir():
        raise ConfigError(
            f"the daemon's ranker is in {learned.path}, which is no directory here: copy it, and name it with --ranker"
        )
    return path
