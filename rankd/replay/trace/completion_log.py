"""The daemon's completion log as a trace: when requests came, what they scored, and how long they became."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rankd.completion_log.records import CompletionRow, SegmentKind
from rankd.completion_log.segments import COMPLETION_COLUMNS, completions_of, key_of, keys_of, tables
from rankd.completion_log.store import Segment, SegmentStore, as_url, is_segment, open_store
from rankd.errors import ConfigError
from rankd.replay.trace.fields import TraceRequest

_CHARACTERS_PER_TOKEN = 4
_LONGEST_REQUEST = 7 * 86_400
"""Seconds from arrival to end that are believed: one that waited for years would stretch the trace over them."""
_SKEW = 60
"""Seconds that clocks of two replicas may differ by."""


def find_log(path: Path) -> SegmentStore | None:
    """The completion log that a path is; None where it is none.

    Raises:
        ConfigError: a URL that cannot be opened, or no pyarrow to read the log with.
    """
    url = as_url(str(path))
    if url is None and not (path.is_dir() and any(is_segment(p.name) for p in path.iterdir())):
        return None
    return open_store(url or str(path))


def log_requests(store: SegmentStore, most: int, model: str | None) -> Iterator[TraceRequest | str]:
    """The newest completions, about ``most``, as requests; reasons for those that are none.

    Input tokens are a quarter of a prompt's characters where the prompt was logged. Scores of another ranker version
    than the one that most completions have do not compare and are left out.

    Raises:
        ConfigError: completions of several models, and none was named; or no completions at all.
    """
    counts: Counter[str] = Counter()
    rows = _completions(store, most, counts)
    models = Counter(row.model for row in rows.values())
    if model is None and len(models) > 1:
        names = ", ".join(repr(name) for name, _ in models.most_common(8))
        raise ConfigError(
            f"--trace {store.name} holds completions of {len(models)} models: name one by --model ({names})"
        )
    if not rows:
        raise ConfigError(f"--trace {store.name} holds no completions that can be read")
    taken = {key: row for key, row in rows.items() if model is None or row.model == model}
    prompts = _prompt_tokens(store, set(taken))
    versions = Counter(row.ranker_version for row in taken.values())
    version = versions.most_common(1)[0][0] if versions else ""
    for key, row in taken.items():
        if not row.tokens >= 1:
            counts["`tokens` is below 1"] += 1
            continue
        if not -_SKEW <= row.ended_at - row.arrival <= _LONGEST_REQUEST:
            counts["`arrival` is not within the week before `ended_at`"] += 1
            continue
        score = row.score if row.ranker_version == version else None
        yield TraceRequest(row.arrival, row.tokens, prompts.get(key), 0, score, None, "", 0, row.model)
    counts["answered by another model"] += len(rows) - len(taken)
    for reason, count in counts.items():
        yield from [reason] * count


def _completions(store: SegmentStore, most: int, counts: Counter[str]) -> dict[int, CompletionRow]:
    """By request, of several reports the complete or longer one."""
    found: dict[int, CompletionRow] = {}
    for segment in reversed(_segments(store, SegmentKind.COMPLETIONS)):
        for table in tables(store, segment, COMPLETION_COLUMNS, counts):
            for row in completions_of(table):
                known = found.setdefault(key_of(row.request), row)
                if known is not row:
                    counts["completion reported twice"] += 1
                    found[key_of(row.request)] = max(known, row, key=lambda r: (r.complete, r.tokens))
        if len(found) >= most:
            break
    return dict(sorted(found.items(), key=lambda item: item[1].ended_at)[-most:])


def _prompt_tokens(store: SegmentStore, keys: set[int]) -> dict[int, int]:
    """About how many tokens the prompts have that were logged."""
    found: dict[int, int] = {}
    for segment in reversed(_segments(store, SegmentKind.PROMPTS)):
        if len(found) == len(keys):
            break
        for table in tables(store, segment, ["request", "prompt"]):
            for key, characters in zip(keys_of(table).tolist(), _characters(table), strict=True):
                if key in keys:
                    found.setdefault(key, -(-characters // _CHARACTERS_PER_TOKEN))
    return found


def _characters(table: Any) -> list[int]:
    import pyarrow.compute as pc  # noqa: PLC0415 - only where there is a log

    return [n or 0 for n in pc.utf8_length(table["prompt"]).to_pylist()]


def _segments(store: SegmentStore, kind: SegmentKind) -> Sequence[Segment]:
    try:
        return [s for s in store.segments() if s.kind is kind]
    except OSError as error:
        raise ConfigError(
            f"--trace {store.name} cannot be read ({type(error).__name__}): check path and access"
        ) from None
