"""Flags of ``rankd pilot``."""

from __future__ import annotations

import argparse
import math

from rankd_client.ordering import Policy

from rankd.cli.promote_flags import add_admin_flags

_POLICIES = [p.value for p in Policy]
_UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def add_pilot_flags(verb: argparse.ArgumentParser) -> None:
    """Start, status and stop."""
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
    action.add_argument("--model", default="", help="the served language model; default: the unnamed one")


def _add_plan(start: argparse.ArgumentParser) -> None:
    start.add_argument(
        "--slot",
        type=duration,
        required=True,
        metavar="TIME",
        help="length of a slot, as 90s, 10m or 1h: many times as long as a request takes",
    )
    start.add_argument(
        "--blocks", type=_count, required=True, metavar="N", help="pairs of slots, 6 to 1000; 24 are a start"
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
        type=_tolerance,
        metavar="SHARE",
        help="stop once the metric is shown to be worse by more than this; default: 0.1",
    )
    start.add_argument(
        "--seed",
        type=_count,
        default=0,
        metavar="N",
        help="what the order of slots is drawn from; with --begin, the same on every replica; default: drawn",
    )
    start.add_argument(
        "--begin", type=_epoch, metavar="SECONDS", help="when the first slot begins, seconds since 1970; default: now"
    )


def duration(text: str) -> float:
    """Seconds of 90, 90s, 10m, 1h or 500ms."""
    number, unit = text, "s"
    for name in _UNITS:
        if text.endswith(name) and text.removesuffix(name)[-1:].isdigit():
            number, unit = text.removesuffix(name), name
            break
    try:
        value = float(number) * _UNITS[unit]
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e7:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 10m or 1h")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _tolerance(text: str) -> float:
    return _at_least_0(text, "a share of at least 0, such as 0.1")


def _epoch(text: str) -> float:
    return _at_least_0(text, "a time in seconds since 1970")


def _at_least_0(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1e11:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value
