"""Flags of ``rankd evaluate``; apart, so that other verbs do not load the code that judges."""

from __future__ import annotations

import argparse
from pathlib import Path

from rankd.registry.bundled import ranker_path

DEFAULT_HTML = Path("out/evaluate.html")
MOST_THREADS = 256
DEFAULT_ROWS = 10_000
"""Tau of so many rows is known to .01 or so; more rows take longer to score than they tell."""


def add_flags(verb: argparse.ArgumentParser) -> None:
    """Declare them."""
    verb.add_argument(
        "--ranker",
        required=True,
        type=ranker_path,
        metavar="DIR",
        help="with model.onnx, tokenizer.json and manifest.json, or a bundled one's name",
    )
    verb.add_argument(
        "--data",
        nargs="+",
        required=True,
        type=Path,
        metavar="PATH",
        help="JSONL, JSONL.gz, CSV or Parquet files, directories or globs of them, or the daemon's completion log; "
        "rows have `prompt`, `output_token_count`, and optionally `model`, `finish_reason`, `samples`, `source`",
    )
    verb.add_argument("--model", help="take only rows that this model answered; default: all, compared within each")
    verb.add_argument(
        "--rows",
        type=_at_least_one,
        default=DEFAULT_ROWS,
        metavar="N",
        help=f"most rows, drawn at random; default: {DEFAULT_ROWS}",
    )
    verb.add_argument("--seed", type=int, default=0, metavar="N", help="of that draw; default: 0")
    verb.add_argument("--provider", choices=["auto", "cuda", "cpu"], default="cpu", help="default: cpu")
    verb.add_argument(
        "--threads", type=_threads, default=1, metavar="N", help="of model and tokeniser, up to 256; default: 1"
    )
    verb.add_argument("--json", action="store_true", help="print JSON and nothing else, and write no page unless asked")
    page = verb.add_mutually_exclusive_group()
    page.add_argument(
        "--html", type=Path, metavar="FILE", help=f"write the page here; default: {DEFAULT_HTML}, none with --json"
    )
    page.add_argument("--no-html", action="store_true", help="write no page")


def _at_least_one(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _threads(text: str) -> int:
    threads = _at_least_one(text)
    if threads > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {MOST_THREADS}")
    return threads
