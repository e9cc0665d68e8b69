"""Flags of ``rankd replay``."""

from __future__ import annotations

import argparse
from pathlib import Path

from rankd_client.ordering import Objective

from rankd.cli.values import between, whole
from rankd.registry.bundled import ranker_path

DEFAULT_HTML = Path("out/replay.html")
DEFAULT_REQUESTS = 20_000
DEFAULT_TAU = 0.55
"""What a ranker that was trained on the model's own log reaches, about."""


def add_flags(verb: argparse.ArgumentParser) -> None:
    """What to replay, on which engine, under which policies."""
    verb.description = (
        "Replay a trace of arrivals and lengths through a simulated engine under every objective: which one to order "
        "for, what it gains, and who pays for it."
    )
    verb.add_argument(
        "--trace",
        nargs="+",
        required=True,
        type=Path,
        metavar="PATH",
        help="CSV, JSONL, JSON (also .gz) or Parquet files whose rows have `arrival` or `t_s` (seconds, or ISO time), "
        "`input_tokens`, `output_tokens`, and optionally `score` or `prompt`, `tenant`, `class`; exports of LiteLLM, "
        "Langfuse, OpenAI's API and vLLM's benchmark; or the daemon's completion log",
    )
    verb.add_argument(
        "--requests",
        type=whole(2, 10**7),
        default=DEFAULT_REQUESTS,
        metavar="N",
        help=f"take the first so many; default: {DEFAULT_REQUESTS}",
    )
    verb.add_argument("--model", help="take only requests of this served model")
    _column_flags(verb)
    verb.add_argument(
        "--time-unit",
        choices=["s", "ms", "us", "ns"],
        help="of arrivals that are numbers; default: s, and epochs in another one are recognised, which is told",
    )
    verb.add_argument(
        "--input-tokens", type=whole(0, 10**7), metavar="N", help="of requests whose rows do not tell theirs"
    )
    _score_flags(verb)
    _arrival_flags(verb)
    _engine_flags(verb)
    _order_flags(verb)
    _output_flags(verb)


def _column_flags(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group(
        "columns", "Which columns tell what is printed. Take others for these, or none by an empty name ('')."
    )
    group.add_argument(
        "--tenant-column",
        metavar="NAME",
        help="whose request a row is, which bears on the order; default: `tenant`. `user` and its like are not taken "
        "unless you name them here",
    )
    group.add_argument(
        "--class-column", metavar="NAME", help="its priority class; default: `class` or `priority_class`"
    )
    group.add_argument("--model-column", metavar="NAME", help="the served model, for --model; default: `model`")


def _order_flags(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--objective",
        choices=[objective.value for objective in Objective],
        help="what the daemon is configured for, order.objective; the others are compared with it all the same",
    )
    verb.add_argument(
        "--slo",
        metavar="TEXT",
        help="a target, order.slo, such as '99 %% within 30 s' or '95 %% first token within 800 ms': which objectives "
        "keep it",
    )
    verb.add_argument(
        "--policies",
        metavar="NAMES",
        help="by comma, in the place of the objectives, the paper's rule and UniBoost; `--policies list` describes "
        "them. FCFS, the daemon's own and the oracle are always replayed",
    )
    verb.add_argument("--config", metavar="FILE", help="TOML file with the daemon's settings, whose order is judged")


def _output_flags(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--json", action="store_true", help="print JSON and nothing else, and write no page unless asked")
    page = verb.add_mutually_exclusive_group()
    page.add_argument(
        "--html", type=Path, metavar="FILE", help=f"write the page here; default: {DEFAULT_HTML}, none with --json"
    )
    page.add_argument("--no-html", action="store_true", help="write no page")
    sweeps = verb.add_mutually_exclusive_group()
    sweeps.add_argument(
        "--sweeps",
        action="store_true",
        help="also replay 3,000 requests at many loads and with rankers of many qualities; default: for the page only",
    )
    sweeps.add_argument("--no-sweeps", action="store_true", help="leave that out")


def _score_flags(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group(
        "scores",
        "Default: those in the trace; else its prompts, scored by --ranker; else made up with --tau "
        f"{DEFAULT_TAU}. The lengths are known to the simulated engine only.",
    )
    which = group.add_mutually_exclusive_group()
    which.add_argument(
        "--ranker",
        type=ranker_path,
        metavar="DIR",
        help="score the trace's prompts with this one: a directory, or a bundled one's name; default: minilm-l6",
    )
    which.add_argument(
        "--tau", type=between(-1, 1), metavar="TAU", help="make up scores with this Kendall's tau-b to the true lengths"
    )
    group.add_argument("--seed", type=whole(0, 2**31), default=0, metavar="N", help="of made-up scores; default: 0")
    group.add_argument(
        "--threads", type=whole(1, 256), default=1, metavar="N", help="of the ranker and its tokeniser; default: 1"
    )


def _arrival_flags(verb: argparse.ArgumentParser) -> None:
    how = verb.add_argument_group("arrivals", "Default: as in the trace.").add_mutually_exclusive_group()
    how.add_argument(
        "--load",
        type=between(0.001, 100),
        metavar="X",
        help="speed arrivals up or down until the offered load is this share of what the engine can do",
    )
    how.add_argument("--speed", type=between(1e-6, 1e6), metavar="X", help="arrivals come so many times as fast")
    how.add_argument("--burst", action="store_true", help="all arrive at once; rows need no arrival")


def _engine_flags(verb: argparse.ArgumentParser) -> None:
    group = verb.add_argument_group(
        "engine",
        "An iteration takes BASE + SEQUENCE x sequences that get a token + PROMPT x prompt tokens that are read. The "
        "defaults are of the order of an 8B model on one data-centre GPU; fit them to yours.",
    )
    group.add_argument("--slots", type=whole(1, 10**5), default=64, metavar="N", help="sequences at once; default: 64")
    group.add_argument("--base-ms", type=between(1e-6, 1e6), default=15.0, metavar="MS", help="default: 15")
    group.add_argument("--sequence-ms", type=between(0, 1e6), default=0.15, metavar="MS", help="default: 0.15")
    group.add_argument("--prompt-ms", type=between(0, 1e6), default=0.1, metavar="MS", help="per token; default: 0.1")
    group.add_argument(
        "--chunk",
        type=whole(0, 10**9),
        default=2048,
        metavar="TOKENS",
        help="tokens of one iteration at most, prompts are cut to it; 0 is no limit; default: 2048",
    )
    group.add_argument(
        "--kv-tokens",
        type=whole(0, 10**12),
        default=0,
        metavar="TOKENS",
        help="that the KV memory holds: where it is full, the last in the order is taken off; default: 0, no limit",
    )
    group.add_argument("--block", type=whole(1, 10**6), default=16, metavar="TOKENS", help="of KV; default: 16")
    group.add_argument(
        "--steps",
        action="store_true",
        help="count engine steps in the place of time: every iteration takes 1, prompts are free",
    )
