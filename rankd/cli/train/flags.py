"""Flags of ``rankd train``, and what they come to."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rankd.cli.values import number, whole
from rankd.errors import ConfigError
from rankd.scoring.tokeniser import Truncation

if TYPE_CHECKING:
    from rankd.training.bases.base import Recipe
    from rankd.training.fit.options import FitOptions, Ranks

Flags = argparse.ArgumentParser | argparse._ArgumentGroup  # noqa: SLF001 - the one public name is too narrow


def add_flags(verb: argparse.ArgumentParser) -> None:
    """Declare them."""
    verb.description = (
        "Train a ranker on prompts and output lengths. A killed run goes on where it was when it is started again with "
        "the same flags; the same seed, data and threads give the same ranker. On several processes: torchrun "
        "--nproc-per-node 2 -m rankd train ..."
    )
    data_flags(verb, required=True)
    learning_flags(verb)
    _out_flags(verb)


def data_flags(verb: Flags, *, required: bool) -> None:
    """What is trained on; `rankd retrain` has the same."""
    verb.add_argument(
        "--data",
        nargs="+",
        required=required,
        type=Path,
        metavar="PATH",
        help="JSONL, JSONL.gz, CSV or Parquet files, directories or globs of them, or the daemon's completion log; "
        "rows have `prompt`, `output_token_count`, and optionally `model`, `finish_reason`, `samples`, `source`",
    )
    verb.add_argument("--model", help="take only rows that this model answered; default: all, compared within each")
    verb.add_argument(
        "--cap",
        action="append",
        default=[],
        type=_cap,
        metavar="SOURCE=TOKENS",
        help="answers of this source were cut at so many tokens (repeatable); better: finish_reason in the rows",
    )
    verb.add_argument(
        "--rows", type=whole(1), default=200_000, metavar="N", help="most rows, drawn at random; default: 200000"
    )
    verb.add_argument(
        "--valid-share",
        type=_share,
        default=0.1,
        metavar="S",
        help="of the prompts, held back to judge by; default: .1",
    )


def learning_flags(verb: Flags, *, margin: bool = True) -> None:
    """How it learns; `rankd retrain` has the same but for ``margin``, which means another thing there."""
    verb.add_argument(
        "--base", default="minilm", help="minilm, ngram, or a Hugging Face model directory; default: minilm"
    )
    verb.add_argument(
        "--loss",
        choices=["listmle", "pairwise", "lognormal", "joint"],
        help="default: the base's own, joint for encoders, which also learns how uncertain a length is, as lognormal "
        "does, and pairwise for ngram",
    )
    verb.add_argument("--epochs", type=whole(1), metavar="N", help="default: the base's own")
    verb.add_argument("--seed", type=whole(0), default=0, metavar="N", help="default: 0")
    verb.add_argument(
        "--lr", type=_positive, metavar="X", help="peak learning rate of the base; default: the base's own"
    )
    verb.add_argument("--head-lr", type=_positive, metavar="X", help="the same of the new head")
    verb.add_argument("--dropout", type=_fraction, metavar="P", help="of the base's dropout layers")
    verb.add_argument(
        "--average",
        type=_fraction,
        metavar="D",
        help="keep a running mean of weights that forgets at this rate; 0 keeps the last; default: the base's own",
    )
    verb.add_argument("--list-size", type=whole(2), metavar="N", help="rows per step; default: the base's own")
    verb.add_argument(
        "--samples",
        choices=["mean", "first", "draw"],
        default="mean",
        help="of several lengths of a prompt: their geometric mean (default), the row's own, or one at random",
    )
    verb.add_argument(
        "--bucket", type=_positive, default=1.0, metavar="TOKENS", help="lengths in one bucket are tied; default: 1"
    )
    verb.add_argument(
        "--ranks",
        choices=["expected", "median"],
        help="what to order by where the loss learns a spread: median lengths (default), or expected ones, which may "
        "be better for a queue of the traffic that it was trained on",
    )
    _form_flags(verb, margin=margin)


def _form_flags(verb: Flags, *, margin: bool) -> None:
    """What a ranker reads and is asked for, and what computes it."""
    if margin:
        verb.add_argument("--margin", type=float, default=0.0, metavar="X", help="of the pairwise loss; default: 0")
    verb.add_argument("--max-tokens", type=whole(4), default=128, metavar="N", help="read of a prompt; default: 128")
    verb.add_argument("--tail-tokens", type=whole(0), metavar="N", help="of these, from its end; default: half")
    verb.add_argument(
        "--threads",
        type=whole(1),
        metavar="N",
        help="per process; default: as many as cores are idle when it begins, within the container's quota",
    )
    verb.add_argument(
        "--bf16",
        action=argparse.BooleanOptionalAction,
        help="compute in bfloat16; default: where the CPU has it, which is about twice as fast",
    )


def _out_flags(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the ranker goes")
    export_flags(verb, several=True)
    verb.add_argument("--version", help="of the ranker; default: a hash of base, rows and options")
    verb.add_argument("--restart", action="store_true", help="replace what --out holds, finished or not")


def export_flags(verb: Flags, *, several: bool) -> None:
    """What is written; `rankd retrain` has the same but for ``several`` precisions at once."""
    verb.add_argument(
        "--precision",
        choices=["int8", "fp32", "fp16", *(["all"] if several else [])],
        default="int8",
        help="int8 for CPUs (default), fp16 for CUDA" + ("; all writes one directory each" if several else ""),
    )
    verb.add_argument(
        "--cuda",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="write an encoder's fp16 graph for CUDA beside the int8 one, in the same ranker; default: yes",
    )
    verb.add_argument(
        "--most-tau-lost",
        type=_fraction,
        metavar="X",
        help="tau on the rows held back that a precision may cost before it is refused; default: .003 for int8, .001 "
        "for fp16, .0005 for fp32",
    )
    verb.add_argument("--name", help="of the ranker; default: base, loss and precision")
    verb.add_argument("--data-name", metavar="TEXT", help="what it was trained on, for its card; default: the sources")
    verb.add_argument("--licence", metavar="TEXT", help="of the weights, for its card")
    verb.add_argument(
        "--list-rows",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="put hashes of its rows' prompts beside the ranker, which are then left out when it is judged; a daemon "
        "older than this flag refuses such a ranker; default: yes",
    )
    verb.add_argument(
        "--checkpoint-seconds", type=_positive, default=60.0, metavar="S", help="between two checkpoints; default: 60"
    )


def options_of(arguments: argparse.Namespace, recipe: Recipe, threads: int) -> FitOptions:
    """The options of a run; what the flags leave open comes from the base's recipe, or is as the machine has it.

    Raises:
        ConfigError: two flags that contradict each other.
    """
    from rankd.training.fit.options import WITH_SPREAD, FitOptions

    given = {f.name: getattr(arguments, f.name, None) for f in fields(recipe)}
    recipe = replace(recipe, **{k: v for k, v in given.items() if v is not None})
    if arguments.margin and recipe.loss != "pairwise":
        raise ConfigError(
            f"--margin is of the pairwise loss, not of {recipe.loss}: add --loss pairwise, or leave it out"
        )
    if arguments.ranks and recipe.loss not in WITH_SPREAD:
        raise ConfigError(
            f"--ranks needs a loss that learns a spread, not {recipe.loss}: add --loss joint, or leave it out"
        )
    ranks: Ranks = arguments.ranks or "median"
    return FitOptions(
        recipe=recipe,
        seed=arguments.seed,
        threads=threads,
        samples=arguments.samples,
        bucket=arguments.bucket,
        margin=arguments.margin,
        ranks=ranks,
        bf16=has_bf16() if arguments.bf16 is None else arguments.bf16,
        checkpoint_seconds=arguments.checkpoint_seconds,
    )


def command_of(arguments: argparse.Namespace, options: FitOptions) -> str:
    """The command that makes the same ranker again, with everything that was left to defaults written out."""
    from rankd.training.fit.options import WITH_SPREAD

    values: dict[str, object] = {
        "base": arguments.base,
        **{f.name: getattr(options.recipe, f.name) for f in fields(options.recipe) if hasattr(arguments, f.name)},
        **{name: getattr(options, name) for name in ("seed", "threads", "samples", "bucket", "margin")},
        **{
            name: getattr(arguments, name)
            for name in ("rows", "valid_share", "model", "max_tokens", "tail_tokens", "most_tau_lost")
        },
        "precision": arguments.precision,
        "ranks": options.ranks if options.loss in WITH_SPREAD else None,
    }
    words = ["rankd", "train", "--data", *map(str, arguments.data)]
    for name, value in values.items():
        words += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
    for source, tokens in arguments.cap:
        words += ["--cap", f"{source}={tokens}"]
    words += [] if arguments.cuda else ["--no-cuda"]
    words += [] if arguments.list_rows else ["--no-list-rows"]
    return shlex.join([*words, "--bf16" if options.bf16 else "--no-bf16", "--out"]) + " DIR"


def has_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 itself; elsewhere it would be slower than float32."""
    import torch

    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def truncation_of(arguments: argparse.Namespace) -> Truncation:
    """What the ranker is to read of a prompt.

    Raises:
        ConfigError: the tail would be all of it.
    """
    most: int = arguments.max_tokens
    tail = most // 2 if arguments.tail_tokens is None else arguments.tail_tokens
    if tail >= most:
        raise ConfigError(f"--tail-tokens {tail} must be below --max-tokens {most}")
    return Truncation(most, most - tail, tail)


def _cap(text: str) -> tuple[str, int]:
    source, _, tokens = text.rpartition("=")
    if not source or not tokens.isdigit() or int(tokens) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not SOURCE=TOKENS")
    return source, int(tokens)


_positive = number("a number above 0", 0, 1e9, above=True, below=True)
_fraction = number("a number from 0 to below 1", 0, 1, below=True)
_share = number("a share above 0 and of .5 or less", 0, 0.5, above=True)
