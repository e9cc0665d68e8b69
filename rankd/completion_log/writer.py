"""The thread that writes segments. Callers never wait for it, and nothing that happens to it fails a call.

What cannot be written stays in memory up to a limit and is tried again; what comes beyond is dropped and counted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from rankd_client.integration import Backoff

from rankd.clock import CLOCK
from rankd.completion_log.records import CompletionRow, PromptRow, SegmentKind, size_of, table
from rankd.completion_log.store import SegmentStore, segment_names
from rankd.settings import CompletionLogSection
from rankd.telemetry.telemetry import Telemetry

Rows = dict[SegmentKind, list[PromptRow | CompletionRow]]
_FIRST_RETRY = 1.0
_SLOW = 30.0
"""Seconds after which a write that still runs is a failure."""
_DELETE_EVERY = 60.0
"""Seconds between two looks for segments to delete."""


class SegmentWriter:
    """One per daemon. ``put`` from any thread; the rest belongs to the writer's own."""

    def __init__(self, store: SegmentStore, settings: CompletionLogSection, telemetry: Telemetry) -> None:
        """Start the thread."""
        self._store = store
        self._settings = settings
        self._telemetry = telemetry
        self._name = segment_names()
        self._lock = threading.Lock()
        self._waiting: Rows = _none()
        self._writing: Rows = _none()
        self._bytes = 0
        """Bytes of both."""
        self._rows = 0
        """Of ``_waiting``."""
        self._unwritten_bytes = 0
        """Of ``_waiting``."""
        self._dropped = False
        """Since the last flush."""
        self._alarms: set[str] = set()
        """What is wrong, by reason."""
        self._writes_since: float | None = None
        self._backoff = Backoff(_FIRST_RETRY, settings.retry_seconds)
        self._wake = threading.Event()
        self._closing = False
        # Not waited for at exit: a store that hangs must not keep a daemon from ending.
        self._thread = threading.Thread(target=self._run, name="rankd-completion-log", daemon=True)
        self._thread.start()

    # -- for callers --------------------------------------------------------------------------------------------------

    def put(self, kind: SegmentKind, rows: Sequence[PromptRow | CompletionRow]) -> None:
        """Hand rows over; those that do not fit are dropped and counted."""
        size = sum(map(size_of, rows))
        with self._lock:
            fits = self._bytes + size <= self._settings.queue_bytes and not self._closing
            if fits:
                self._waiting[kind] += rows
                self._bytes += size
                self._rows += len(rows)
                self._unwritten_bytes += size
            else:
                self._dropped = True
            full = self._rows >= self._settings.flush_rows or self._unwritten_bytes >= self._settings.flush_bytes
        if (since := self._writes_since) is not None and time.monotonic() - since > _SLOW:
            self._fail("store_hangs")
        if not fits:
            self._telemetry.logged(kind.value, "dropped", len(rows))
            self._fail("queue_full")
        elif full:
            self._wake.set()

    def unwritten(self) -> Rows:
        """A copy of what is not written yet."""
        with self._lock:
            return {kind: [*self._writing[kind], *self._waiting[kind]] for kind in SegmentKind}

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be written."""
        return self._bytes

    @property
    def failing(self) -> bool:
        """Whether rows cannot be written, or were dropped."""
        return bool(self._alarms)

    def close(self, timeout: float) -> None:
        """Write what is left, within ``timeout`` seconds; what is not written then is lost and counted."""
        with self._lock:
            self._closing = True
        self._wake.set()
        self._thread.join(timeout)
        for kind, rows in self.unwritten().items():
            if rows:
                self._telemetry.logged(kind.value, "dropped", len(rows))
                self._fail("not_written_at_stop")

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        deleted_at = 0.0
        wait = self._settings.flush_seconds
        while True:
            self._wake.wait(wait)
            self._wake.clear()
            closing = self._closing
            written = self._flush()
            if closing:
                return
            if time.monotonic() - deleted_at >= _DELETE_EVERY or deleted_at == 0.0:
                deleted_at = time.monotonic()
                self._delete_old()
            wait = self._settings.flush_seconds if written else self._back_off()

    def _back_off(self) -> float:
        """Wait after a failure, whatever comes in meanwhile; gives what is left to wait, which is nothing."""
        end = time.monotonic() + self._backoff.pause()
        while not self._closing and (left := end - time.monotonic()) > 0:
            self._wake.wait(left)
            self._wake.clear()
        return 0.0

    def _flush(self) -> bool:
        """Write all that waits; False where something could not be."""
        with self._lock:
            for kind, rows in self._waiting.items():
                self._writing[kind] += rows
            self._waiting, self._rows, self._unwritten_bytes = _none(), 0, 0
            dropped, self._dropped = self._dropped, False
        self._writes_since = time.monotonic()
        written = sum(not self._write(kind) for kind in SegmentKind if self._writing[kind]) == 0
        self._writes_since = None
        if written:
            self._backoff.reset()
            self._recover("not_written", "store_hangs", *([] if dropped else ["queue_full"]))
        return written

    def _write(self, kind: SegmentKind) -> bool:
        rows = self._writing[kind]
        try:
            size = self._store.write(self._name(kind, time.time()), table(kind, rows))
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the daemon serves on
            self._fail("not_written", error)
            return False
        with self._lock:
            self._writing[kind] = []
            self._bytes -= sum(map(size_of, rows))
        self._telemetry.logged(kind.value, "written", len(rows))
        self._telemetry.segments("written", size)
        return True

    def _delete_old(self) -> None:
        """Keep the log within its age and size, whichever replica wrote the segments."""
        try:
            self._store.clean()
            segments = self._store.segments()
            excess = sum(s.size for s in segments) - self._settings.max_bytes
            # A clock that was set forward makes nothing old: what is deleted is gone.
            oldest = min(time.time(), CLOCK.now()) - self._settings.keep_days * 86400
            for segment in segments:
                if segment.written_at >= oldest and excess <= 0:
                    break
                self._store.delete(segment.name)
                excess -= segment.size
                self._telemetry.segments("deleted", segment.size)
            self._recover("not_deleted")
        except Exception as error:  # noqa: BLE001 - whatever a store raises, the daemon serves on
            self._fail("not_deleted", error)

    def _fail(self, reason: str, error: BaseException | None = None) -> None:
        """Raise the alarm; logged once until it is over."""
        with self._lock:
            failing = bool(self._alarms)
            self._alarms.add(reason)
        if not failing:
            self._telemetry.completion_log_failing(reason, error)

    def _recover(self, *reasons: str) -> None:
        """End the alarm, as far as it was for these reasons."""
        with self._lock:
            failing = bool(self._alarms)
            self._alarms.difference_update(reasons)
            over = failing and not self._alarms
        if over:
            self._telemetry.completion_log_recovered()


def _none() -> Rows:
    return {kind: [] for kind in SegmentKind}
