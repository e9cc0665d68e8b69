"""What is told of a trace that was read: which columns were taken for what, and what was taken for granted."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from rankd.cli.terminal import PlainConsole
from rankd.datafiles import shown

if TYPE_CHECKING:
    from rankd.replay.trace.files import TraceRead


def print_read(read: TraceRead, console: PlainConsole) -> None:
    """How many requests, out of which columns, and what was left out: before anything is replayed."""
    if read.columns.used:
        console.print(read.columns.in_words())
    for note in _order_notes(read):
        console.print(f"note: {note}")
    skipped = sum(read.skipped.values())
    line = f"{len(read.trace):,} requests"
    if skipped:
        reasons = "; ".join(f"{n:,} {why} (first: {read.first[why]})" for why, n in read.skipped.most_common(5))
        line += f", {skipped:,} rows skipped: {reasons}"
    if read.more:
        line += "; more rows were not read (--requests)"
    console.print(line)


def notes_of(read: TraceRead, arguments: argparse.Namespace) -> list[str]:
    """What a reader of the report should know of the trace."""
    notes = _order_notes(read)
    if arguments.model is None and len(read.models) > 1:
        named = ", ".join(f"{name!r} {count:,}" for name, count in read.models.most_common(4))
        notes.append(
            f"requests of {len(read.models):,} models ({named}) go through one engine: --model takes one model's"
        )
    notes += [f"{n:,} arrivals are epochs in {unit} (--time-unit says another)" for unit, n in read.units.items()]
    if (unit := read.likely_unit) is not None:
        notes.append(f"arrivals were taken for days since a start, and are dates in {unit}: is it --time-unit {unit}?")
    if read.coarse_step is not None:
        many = f"lie {read.coarse_step:g} s apart" if math.isfinite(read.coarse_step) else "are all the same"
        notes.append(f"arrivals {many}: with too few digits (float32, 1.7E+12) requests only seem to come at once")
    if read.whole_seconds:
        notes.append("arrivals were taken for seconds since a start (--time-unit says another)")
    if read.estimated:
        notes.append(f"input tokens of {read.estimated:,} requests are a quarter of their prompt's characters")
    if arguments.input_tokens is not None:
        notes.append(f"requests that tell no input tokens count as of {arguments.input_tokens:,}")
    if skipped := sum(read.skipped.values()):
        notes.append(f"{skipped:,} rows could not be used")
    if read.more:
        notes.append(f"the first {len(read.trace):,} requests, there are more")
    return notes


def _order_notes(read: TraceRead) -> list[str]:
    """Columns that bear on the order, and those that would."""
    notes, used = [], read.columns.used
    if read.trace.tenant is not None and "tenant" in used:
        notes.append(
            f"{_named(used['tenant'])} tells {len(read.trace.tenants):,} tenants, which bear on the order "
            "(--tenant-column '' leaves them out)"
        )
    if read.trace.priority_class is not None and "class" in used:
        notes.append(
            f"{_named(used['class'])} is the priority class, which bears on the order (--class-column '' leaves it out)"
        )
    if read.trace.tenant is None and read.columns.like_tenants:
        names = read.columns.like_tenants
        notes.append(f"{_named(names)} was not taken for tenants (--tenant-column {names[0]!r} does)")
    return notes


def _named(columns: list[str]) -> str:
    return " or ".join(map(shown, columns))
