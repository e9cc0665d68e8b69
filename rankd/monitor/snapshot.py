"""Quality windows across restarts: written to a file while the daemon runs and when it drains, read when it starts."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from rankd.clock import CLOCK
from rankd.errors import ConfigError
from rankd.monitor.monitor import Monitor
from rankd.monitor.snapshot_file import SnapshotColumns, SnapshotError, read, write
from rankd.monitor.snapshot_window import restore_window, save_window, writable
from rankd.monitor.tracker_settings import feature_key_id
from rankd.quality.serialise import Saved, moment
from rankd.settings import Settings
from rankd.telemetry.telemetry import Telemetry
from rankd.version import VERSION

_LAST_SECONDS = 10.0
"""What a shutdown waits for the last snapshot, whatever its disk does."""


class Snapshots:
    """Keeps the file of one daemon. Windows come back, counters of metrics never do."""

    def __init__(self, settings: Settings, monitor: Monitor, telemetry: Telemetry) -> None:
        """Nothing is read or written yet."""
        self._path = settings.quality.snapshot
        self._settings = settings
        self._monitor = monitor
        self._telemetry = telemetry
        self._written: list[tuple[str, str, int, int, bool]] = []
        self._failing = self._left_out = False
        # One thread: two writers would take each other's file.
        self._thread = ThreadPoolExecutor(1, "rankd-snapshot")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Restore what the file holds of the rankers that are loaded, and keep the file from now on.

        A file that cannot be used is logged, and costs nothing but its contents.

        Raises:
            ConfigError: the setting cannot work.
        """
        if self._path is None:
            return
        if not self._path.parent.is_dir():
            raise ConfigError(
                f"quality.snapshot (RANKD_QUALITY__SNAPSHOT): {self._path.parent} is no directory: create it, or mount "
                "a volume there"
            )
        try:
            header, columns = await asyncio.get_running_loop().run_in_executor(self._thread, read, self._path)
            self._restore(header, columns, time.time())
        except FileNotFoundError:
            pass
        except SnapshotError as error:
            self._telemetry.snapshot_unusable(str(error))
        self._task = asyncio.create_task(self._keep(), name="rankd-snapshots")

    async def close(self) -> None:
        """Write a last time: once no more reports come."""
        if self._task is None or self._path is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        with suppress(TimeoutError):
            await asyncio.wait_for(self._write(self._path), _LAST_SECONDS)
        self._thread.shutdown(wait=False)

    async def _keep(self) -> None:
        assert self._path is not None
        while True:
            await asyncio.sleep(self._settings.quality.snapshot_every)
            await self._write(self._path)

    async def _write(self, path: Path) -> None:
        """Copy on the loop, a window at a time; pack and write beside it."""
        windows: list[dict[str, Any]] = []
        columns, state, left_out = SnapshotColumns(), [], False
        for window in self._monitor.reported_windows():
            saved = save_window(window, feature_key_id(self._settings, window.ranker_version))
            if not writable(saved):
                left_out = True  # nothing of one model costs all the others
                continue
            columns |= {f"{len(windows)}/{name}": column for name, column in saved.columns.items()}
            windows.append(saved.scalars)
            known = window.tracker.completions, window.transitions, window.learned_in_use
            state.append((window.model, window.ranker_version, *known))
            await asyncio.sleep(0)
        if left_out and not self._left_out:
            self._telemetry.snapshot_window_left_out()
        self._left_out = left_out
        if state == self._written and not self._failing:
            return
        header = {
            "rankd": VERSION,
            "saved_at": time.time(),
            "salt": self._monitor.snapshot_key.saved(),
            "views": windows,
        }
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, write, path, header, columns)
        except (OSError, ValueError) as error:
            # A value that cannot be written must not end the snapshots to come.
            if not self._failing:
                self._telemetry.snapshot_failing(error)
            self._failing = True
        else:
            self._failing, self._written = False, state

    # -- reading -------------------------------------------------------------------------------------------------------

    def _restore(self, header: dict[str, Any], columns: SnapshotColumns, now: float) -> None:
        """Put back the windows of rankers that are loaded; ``now`` by the machine's clock, as in the file.

        Raises:
            SnapshotError: what the file holds cannot be; then nothing was put back.
        """
        try:
            age, most = now - moment(header["saved_at"]), self._settings.quality.forget_after
            if age > most:
                raise SnapshotError("is older than quality.forget_after")
            if age < -most:
                raise SnapshotError("is of the future: the machine's clock was set back since, or is wrong now")
            key = self._monitor.snapshot_key.restored(header["salt"])
            if key is None:
                raise SnapshotError("was written with another quality.snapshot_key")
            known = [
                (index, fields)
                for index, fields in enumerate(header["views"])
                if self._monitor.knows(str(fields["ranker_version"]))
            ]
            # Of a clock that was set back since, what was learned last is as of now: nothing is of the future.
            ahead = CLOCK.offset() + max(0.0, -age)
            restored = [
                restore_window(self._monitor, self._settings, Saved(_part(columns, index), fields), ahead)
                for index, fields in known[: self._settings.quality.max_windows]
            ]
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, IndexError) as error:
            raise SnapshotError(f"is damaged: {type(error).__name__}") from None
        self._monitor.use_key(key)
        for window in restored:
            window.restored_at = now - CLOCK.offset() - max(0.0, age)
            self._monitor.add_restored(window, CLOCK.now())
        self._telemetry.snapshot_restored(len(restored), sum(w.tracker.completions for w in restored))


def _part(columns: SnapshotColumns, index: int) -> SnapshotColumns:
    prefix = f"{index}/"
    return {name.removeprefix(prefix): column for name, column in columns.items() if name.startswith(prefix)}
