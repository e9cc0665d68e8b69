"""The daemon's completion log as rows to learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rankd.adaptation.features import shape_part
from rankd.completion_log.sample import JoinedSample
from rankd.completion_log.store import LocalStore, SegmentStore, as_url, is_segment, open_store
from rankd.datafiles import UnusableRowError
from rankd.errors import ConfigError
from rankd.training.data.row import Row, row_of

SOURCE = "completion_log"


@dataclass(frozen=True, slots=True)
class CompletionLogFiles:
    """A completion log."""

    store: SegmentStore
    size: int
    """Bytes of its segments."""

    @property
    def name(self) -> str:
        """Where it is."""
        return self.store.name

    def rows(
        self, most: int, seed: int, model: str | None, position: Callable[[int], None], *, in_order: bool = False
    ) -> Iterator[Row | str]:
        """Completions joined with their prompts, a draw of about ``most`` or more; reasons for what cannot be used.

        With ``in_order`` they come in the order in which they ended, else in that in which their prompts were seen.
        """
        counts: Counter[str] = Counter()
        draw = JoinedSample(self.store, most, seed, model, counts, lambda share: position(round(share * self.size)))
        found = draw.rows()
        for joined in sorted(found, key=lambda completion: completion.ended_at) if in_order else found:
            raw = {
                "prompt": joined.prompt,
                "output_tokens": joined.tokens,
                "model": joined.model,
                "ended_at": joined.ended_at,
            }
            try:
                row = row_of(raw | {"finish_reason": "stop" if joined.complete else "length"}, SOURCE, {})
            except UnusableRowError as error:
                yield str(error)
                continue
            # Only what this rankd can read: a file may hold anything.
            yield replace(row, packed_shape=shape_part(joined.shape)) if joined.shape else row
        for reason, count in counts.items():
            yield from [reason] * count


def find_log(path: Path) -> CompletionLogFiles | None:
    """The completion log that a path is; None where it is none.

    Raises:
        ConfigError: a URL that cannot be read or holds no segments, or no pyarrow to read the log with.
    """
    url = as_url(str(path))
    if url is None and not (path.is_dir() and any(is_segment(p.name) for p in path.iterdir())):
        return None
    store = open_store(url or str(path))
    try:
        size = sum(s.size for s in store.segments())
    except OSError as error:
        raise ConfigError(f"{store.name} cannot be read ({type(error).__name__}): check the URL and access") from None
    if not size and not isinstance(store, LocalStore):
        raise ConfigError(f"{store.name} holds no segments of a completion log")
    return CompletionLogFiles(store, size)
