"""Which series of counters are there from the start, at 0."""

from __future__ import annotations

FROM_ZERO: dict[str, tuple[tuple[tuple[str, str], ...], ...]] = {
    "rankd.items": tuple(
        (("outcome", outcome),)
        for outcome in ("scored", "echoed", "deadline", "overloaded", "ranker_unavailable", "needs_prompt")
    ),
    "rankd.completions": tuple((("kind", kind), ("outcome", "accepted")) for kind in ("final", "progress")),
    "rankd.engine.placed": tuple((("outcome", outcome),) for outcome in ("ranked", "too_late", "unreachable", "other")),
    "rankd.adaptation.switches": ((("to", "learned"),), (("to", "base"),)),
}
"""Labels of counters that are exported from the start, as those without labels are: of a series that begins at 1,
Prometheus never sees the first step, and one that is not there cannot be compared with 0."""
