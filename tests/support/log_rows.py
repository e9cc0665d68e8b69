"""Rows of the completion log, and segments of them in a store."""

from rankd.completion_log.records import CompletionRow, PromptRow, SegmentKind, request_hasher, table
from rankd.completion_log.store import segment_names


def write_segment(store, rows, at=1000.0):
    """Write rows as one segment of their kind."""
    kind = SegmentKind.PROMPTS if isinstance(rows[0], PromptRow) else SegmentKind.COMPLETIONS
    store.write(segment_names()(kind, at), table(kind, rows))


def prompt_row(number, seen_at, text):
    return PromptRow(request_hasher(b"").digest("m", "", str(number)), "m", text, seen_at, seen_at)


def completion_row(number, ended_at, tokens, *, complete=True, model="m"):
    request = request_hasher(b"").digest("m", "", str(number))
    return CompletionRow(request, model, "r@1", 0.5, tokens, complete, "stop", ended_at, ended_at, (("s@1", 0.25),))
