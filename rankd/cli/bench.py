"""``rankd bench``: a daemon against its floors; what is measured is in ``rankd.bench``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rankd.bench import SCENARIOS
from rankd.registry.bundled import ranker_path


def add_flags(verb: argparse.ArgumentParser) -> None:
    """What to measure, with what."""
    verb.description = (
        "Start a daemon of its own and measure it against two floors in the same run: tokenising and session.run in a "
        f"loop, and an empty gRPC method. Scenarios: {', '.join(SCENARIOS)}."
    )
    verb.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all but memory, which takes long")
    verb.add_argument("--ranker", type=ranker_path, metavar="DIR", help="or a bundled one's name; default: minilm-l6")
    verb.add_argument("--provider", choices=["auto", "cuda", "cpu"], default="auto")
    verb.add_argument("--threads", type=int, default=1, metavar="N", help="of the model, daemon and floor; default: 1")
    verb.add_argument(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="of the daemon; default: 0, which chooses as the daemon does",
    )
    verb.add_argument("--prompts", type=Path, metavar="FILE", help="a prompt per line; default: made-up ones")
    verb.add_argument("--rounds", type=int, default=5, metavar="N", help="of alternating floor and daemon; default: 5")
    verb.add_argument("--seconds", type=float, default=60.0, metavar="S", help="of overload; default: 60")
    verb.add_argument("--requests", type=int, default=200_000, metavar="N", help="of the memory scenario")
    verb.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")


def run(arguments: argparse.Namespace) -> int:
    """Measure, show, and write figures where that was asked for."""
    from rankd.bench.run import bench

    return bench(arguments)
