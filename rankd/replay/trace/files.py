"""Traces read from files, CSV, JSON lines and Parquet, or from the daemon's completion log, in bounded memory."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rankd.datafiles import cut_prompt
from rankd.errors import ConfigError
from rankd.replay.trace.arrival import ArrivalClock
from rankd.replay.trace.fields import TraceRequest
from rankd.replay.trace.names import FIELDS, NamedColumns
from rankd.replay.trace.rows import DEFAULT_REQUESTS, TraceSelection, requests_of
from rankd.replay.trace.trace import Floats, Trace
from rankd.types import Scored

__all__ = ["DEFAULT_REQUESTS", "Scorer", "TraceRead", "TraceSelection", "read_trace"]

_PROMPTS_AT_ONCE = 512
_CHARACTERS_PER_TOKEN = 4
"""Of a prompt whose tokens are not stated: a usual figure for English."""
_MOST_TENANTS = 1000
_MOST_MODELS = 1000

Scorer = Callable[[Sequence[TraceRequest]], Sequence[Scored]]
"""From requests with prompts to scores, and to all that predictions of them carry to be learned from, [requests]."""


@dataclass
class TraceRead:
    """A trace, and what was met while it was read."""

    trace: Trace
    read: int = 0
    """Rows seen."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Rows that are not in it, by reason."""
    first: dict[str, str] = field(default_factory=dict)
    """By reason, the file and line where it was met first."""
    estimated: int = 0
    """Requests whose input tokens were taken from the characters of their prompt."""
    units: Counter[str] = field(default_factory=Counter)
    """Arrivals that were recognised as epochs in another unit than seconds, by unit."""
    whole_seconds: bool = False
    """Whether arrivals are whole numbers that were taken for seconds since a start, as nobody gave a unit."""
    likely_unit: str | None = None
    """The unit that arrivals seem to be of, where another one was given; see ``ArrivalClock``."""
    coarse_step: float | None = None
    """Seconds that arrivals lie apart, where that is so much that they must have lost digits; see ``ArrivalClock``."""
    columns: NamedColumns = field(default_factory=NamedColumns)
    """Which columns were taken for what."""
    models: Counter[str] = field(default_factory=Counter)
    """Requests by served model, where rows name one."""
    more: bool = False
    """Whether there are further rows that were not read."""


@dataclass
class _TraceColumns:
    """What was read so far, compactly."""

    arrival: array[float] = field(default_factory=lambda: array("d"))
    prompt: array[int] = field(default_factory=lambda: array("q"))
    output: array[int] = field(default_factory=lambda: array("q"))
    cached: array[int] = field(default_factory=lambda: array("q"))
    score: array[float] = field(default_factory=lambda: array("d"))
    tenant: array[int] = field(default_factory=lambda: array("q"))
    priority_class: array[int] = field(default_factory=lambda: array("q"))
    tenants: dict[str, int] = field(default_factory=dict)
    by_prompt: bool | None = None
    """Whether scores come from prompts; decided by the first request, as scores of two sources do not compare."""
    features: list[bytes] = field(default_factory=list)
    """What is learned from of each; empty where there is nothing."""
    prompts: list[tuple[int, TraceRequest]] = field(default_factory=list)
    """Requests whose prompts are still to be scored, by place."""


def read_trace(
    selection: TraceSelection,
    *,
    scorer: Scorer | None = None,
    keep_scores: bool = True,
    on_progress: Callable[[int], None] | None = None,
) -> TraceRead:
    """Read the first requests.

    Args:
        selection: which ones.
        scorer: gives scores to requests with prompts.
        keep_scores: where the first request has a score, take those in the rows, and leave prompts alone.
        on_progress: called with how many requests were read.

    Raises:
        ConfigError: a file that cannot be read or lacks a field, or no usable row, with file, line, field and remedy.
    """
    out, columns = TraceRead(Trace(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))), _TraceColumns()
    clock = ArrivalClock(selection.unit)
    for path in selection.paths:
        for where, found in requests_of(path, selection, clock, out.columns):
            out.read += 1
            if len(columns.arrival) >= selection.most:
                out.more = True
                break
            reason = found if isinstance(found, str) else _add(columns, found, out, selection.input_tokens)
            if reason:
                out.skipped[reason] += 1
                out.first.setdefault(reason, where)
            elif isinstance(found, TraceRequest):
                _keep_prompt(columns, found, scorer, keep_scores=keep_scores)
            if on_progress is not None and out.read % 256 == 0:
                on_progress(len(columns.arrival))
    _score(columns, scorer)
    if not columns.arrival:
        raise ConfigError(_nothing(out, selection.paths))
    if selection.timed:
        _look_at_arrivals(out, clock, np.frombuffer(columns.arrival))
    out.trace = _trace(columns)
    return out


def _look_at_arrivals(out: TraceRead, clock: ArrivalClock, arrivals: Floats) -> None:
    """Whether all arrivals together make sense, which none does by itself."""
    clock.check(arrivals)
    out.units, out.whole_seconds = clock.recognised, clock.taken_for_seconds(arrivals)
    out.likely_unit = clock.likely_unit(arrivals)
    out.coarse_step = clock.coarse_step(arrivals)


def _count_model(models: Counter[str], model: str) -> None:
    if model and (model in models or len(models) < _MOST_MODELS):
        models[model] += 1


def _add(columns: _TraceColumns, request: TraceRequest, out: TraceRead, input_tokens: int | None) -> str | None:
    """Take a request in, or say why not."""
    tokens = request.prompt_tokens
    if tokens is None:
        tokens = input_tokens
    if tokens is None and request.prompt is not None:
        tokens = -(-len(request.prompt) // _CHARACTERS_PER_TOKEN)
        out.estimated += 1
    if tokens is None:
        return "no input tokens (--input-tokens N takes N for each)"
    columns.arrival.append(request.arrival)
    columns.prompt.append(tokens)
    columns.output.append(request.output)
    # Of stated input tokens no more are cached, or the row was refused: of those made up there may be too few.
    columns.cached.append(min(request.cached_tokens, tokens))
    columns.score.append(np.nan if request.score is None else request.score)
    known = request.tenant in columns.tenants or len(columns.tenants) < _MOST_TENANTS
    columns.tenant.append(columns.tenants.setdefault(request.tenant if known else "others", len(columns.tenants)))
    columns.priority_class.append(request.priority_class)
    columns.features.append(b"")
    _count_model(out.models, request.model)
    return None


def _keep_prompt(columns: _TraceColumns, request: TraceRequest, scorer: Scorer | None, *, keep_scores: bool) -> None:
    """Let the prompt of the request that was just taken in be scored, soon; without a scorer it is not."""
    if scorer is None:
        return
    if columns.by_prompt is None:
        columns.by_prompt = request.prompt is not None and (request.score is None or not keep_scores)
    if not columns.by_prompt:
        return
    columns.score[-1] = np.nan
    if request.prompt is not None:
        columns.prompts.append((len(columns.score) - 1, replace(request, prompt=cut_prompt(request.prompt))))
    if len(columns.prompts) >= _PROMPTS_AT_ONCE:
        _score(columns, scorer)


def _score(columns: _TraceColumns, scorer: Scorer | None) -> None:
    """Score what was gathered, and let go of the prompts."""
    if scorer is None or not columns.prompts:
        return
    for (place, _), found in zip(columns.prompts, scorer([r for _, r in columns.prompts]), strict=True):
        columns.score[place] = found.score if np.isfinite(found.score) else np.nan
        columns.features[place] = found.text
    columns.prompts.clear()


def _trace(columns: _TraceColumns) -> Trace:
    arrival = np.frombuffer(columns.arrival, dtype=np.float64)
    order = np.argsort(arrival, kind="stable")

    def sorted_column(values: array[int]) -> NDArray[np.int64]:
        return np.frombuffer(values, dtype=np.int64)[order]

    score = np.frombuffer(columns.score, dtype=np.float64)[order]
    cached = sorted_column(columns.cached)
    classes, tenants = sorted_column(columns.priority_class), tuple(name or "unnamed" for name in columns.tenants)
    return Trace(
        arrival[order] - arrival.min(),
        sorted_column(columns.prompt),
        sorted_column(columns.output),
        cached=cached if cached.any() else None,
        score=score if np.isfinite(score).any() else None,
        tenant=sorted_column(columns.tenant) if len(tenants) > 1 else None,
        tenants=tenants if len(tenants) > 1 else (),
        priority_class=classes if classes.any() else None,
        features=[columns.features[i] for i in order.tolist()] if any(columns.features) else None,
    )


def _nothing(out: TraceRead, paths: Sequence[Path]) -> str:
    where = ", ".join(str(p) for p in paths[:3]) + (", ..." if len(paths) > 3 else "")
    needs = (
        f"a row needs arrival (`{FIELDS['arrival'][0]}`, `{FIELDS['arrival'][1]}`, ...), "
        f"`{FIELDS['input tokens'][0]}` and `{FIELDS['output tokens'][0]}`"
    )
    if not out.read:
        return f"no rows in {where}: {needs}"
    reasons = "; ".join(f"{n:,} {reason} (first: {out.first[reason]})" for reason, n in out.skipped.most_common(5) if n)
    read_as = f" ({out.columns.in_words()})" if out.columns.used else ""
    return f"no usable row among {out.read:,} in {where}: {reasons}. {needs[0].upper()}{needs[1:]}{read_as}"
