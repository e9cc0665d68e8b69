"""What the daemon knows of its completion log: what to keep of a request, and what was kept lately."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rankd.adaptation.features import shape_part
from rankd.clock import CLOCK
from rankd.completion_log.newest import newest
from rankd.completion_log.records import (
    CompletionRow,
    LoggedCompletion,
    PromptRow,
    SegmentKind,
    cut,
    request_hasher,
    sampled_below,
)
from rankd.completion_log.store import LocalStore, open_store
from rankd.completion_log.writer import SegmentWriter
from rankd.errors import ConfigError
from rankd.settings import CompletionLogSection
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Completion, FinishReason, RankQueue

_WRONG = frozenset({errno.ENOTDIR, errno.EEXIST, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG})
"""What makes a directory a wrong setting; a full disk is none, and does not keep a daemon from starting."""
_MOST_REMEMBERED = 65536
"""Prompts logged lately, so that an engine that sends its queue again and again is logged once."""


class CompletionLog:
    """One per daemon. Called on the event loop's thread, but for ``recent`` and ``close``."""

    def __init__(self, settings: CompletionLogSection, telemetry: Telemetry) -> None:
        """Open the log.

        Raises:
            ConfigError: no pyarrow, or a directory that cannot be one.
        """
        self._settings = settings
        self._store = open_store(settings.directory)
        if isinstance(self._store, LocalStore):
            _make(self._store.path)
        self._hasher = request_hasher(settings.join_key.get_secret_value().encode())
        self._below = sampled_below(settings.prompt_share)
        self._writer = SegmentWriter(self._store, settings, telemetry)
        self._seen: set[int] = set()
        self._seen_before: set[int] = set()
        telemetry.observe("rankd.completion_log.failing", lambda: [(float(self._writer.failing), {})])
        telemetry.observe("rankd.completion_log.queue", lambda: [(float(self._writer.queued_bytes), {})])

    def scored(self, queue: RankQueue, fresh: NDArray[np.bool_], part: range) -> None:
        """Log the prompts of a queue that were scored just now, as far as they are sampled and not logged yet.

        Args:
            queue: as it was ranked.
            fresh: which items were scored by this call, [items].
            part: the items to log.
        """
        if not self._settings.prompt_share:
            return
        now = time.time()
        # Clocks differ: an age by the caller's clock becomes a time by ours.
        lag, most = now - queue.now, self._settings.prompt_characters
        rows = []
        for index, is_fresh in zip(part, fresh[part.start : part.stop].tolist(), strict=True):
            if not is_fresh or (prompt := queue.prompts[index]) is None:
                continue
            request = self._hasher.digest(queue.model, queue.tenant_of(index), queue.request_ids[index])
            if request < self._below and self._is_new(hash((request, prompt))):
                arrival = float(queue.arrival[index]) + lag
                rows.append(PromptRow(request, queue.model, cut(prompt, most), arrival, now))
        if rows:
            self._writer.put(SegmentKind.PROMPTS, rows)

    def _is_new(self, key: int) -> bool:
        if key in self._seen or key in self._seen_before:
            return False
        self._seen.add(key)
        if len(self._seen) >= _MOST_REMEMBERED:
            self._seen_before, self._seen = self._seen, set()
        return True

    def completed(self, completion: Completion, finish: FinishReason, now: float) -> None:
        """Log how a request ended; progress is not logged. ``now`` by the daemon's clock; rows have the machine's."""
        if not completion.final:
            return
        row = CompletionRow(
            self._hasher.digest(completion.model, completion.tenant, completion.request_id),
            completion.model,
            completion.ranker_version,
            completion.score,
            completion.tokens,
            completion.complete,
            finish.value,
            CLOCK.to_wall(completion.arrival),
            CLOCK.to_wall(now),
            completion.shadow_scores,
            shape_part(completion.features),
        )
        self._writer.put(SegmentKind.COMPLETIONS, [row])

    def recent(self, most: int, model: str | None) -> list[LoggedCompletion]:
        """The last completions whose prompts were logged, in the order in which they ended, all replicas'.

        Blocks on the store: not for the event loop's thread. A store that cannot be read gives what is in memory.

        Args:
            most: how many.
            model: of one served model; None is all.
        """
        return newest(self._store, self._writer.unwritten(), most, model, self._below)

    @property
    def characters(self) -> int:
        """Characters of a prompt that are kept, head and tail; 0 where prompts are not logged."""
        return self._settings.prompt_characters if self._settings.prompt_share else 0

    @property
    def failing(self) -> bool:
        """Whether rows cannot be written, or were dropped."""
        return self._writer.failing

    def close(self, timeout: float) -> None:
        """Write what is left, within ``timeout`` seconds."""
        self._writer.close(timeout)


def open_log(settings: CompletionLogSection, telemetry: Telemetry) -> CompletionLog | None:
    """The log, where one is wanted.

    Raises:
        ConfigError: it is wanted and cannot be had.
    """
    return CompletionLog(settings, telemetry) if settings.directory else None


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in _WRONG:
            raise ConfigError(
                f"completion_log.directory: {path} cannot be made a directory ({error.strerror}); "
                "name one that the daemon may write to"
            ) from None
