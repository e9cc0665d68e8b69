"""A process that is measured: started, paused while others are measured, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rankd.errors import RankdError

HERE = Path(__file__).parents[2]
"""The checkout."""
START = 300.0
"""Seconds that a process may take until it can be asked: some warm themselves up, on a machine that may be busy."""
_LINE = 64 * 2**20
"""Bytes that a line of its output may have: a few hundred vectors."""


class Child:
    """One process; what it writes to its error stream is read, and the last lines kept for a message."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take over a process that was started with pipes; see ``start``."""
        self._process = process
        self._tail: deque[str] = deque(maxlen=12)
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], folder: Path = HERE) -> Child:
        """Start a command in ``folder``, with ``environment`` over that of this process, less rankd's settings.

        Raises:
            RankdError: there is no such command.
        """
        kept = {k: v for k, v in os.environ.items() if not k.startswith("RANKD_")}
        pipe = asyncio.subprocess.PIPE
        try:
            return cls(
                await asyncio.create_subprocess_exec(  # noqa: TID251 - no grpc, no uvloop here
                    *command,
                    stdin=pipe,
                    stdout=pipe,
                    stderr=pipe,
                    cwd=folder,
                    env={**kept, **environment},
                    limit=_LINE,
                )
            )
        except OSError as error:
            raise RankdError(f"{command[0]} does not start: {error}") from None

    async def _read(self) -> None:
        assert self._process.stderr
        async for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self._tail.append(line)
            with contextlib.suppress(ValueError):
                if isinstance(found := json.loads(line), dict):
                    self._said.put_nowait(found)

    async def said(self, key: str) -> dict[str, Any]:
        """The next line of JSON on its error stream that has ``key``.

        Raises:
            RankdError: it ended, or took too long.
        """
        deadline = time.monotonic() + START
        while not (self._reader.done() and self._said.empty()) and time.monotonic() < deadline:
            try:
                found = await asyncio.wait_for(self._said.get(), 1)
            except TimeoutError:
                continue
            if key in found:
                return found
        raise RankdError(self.last_words)

    async def line(self) -> dict[str, Any]:
        """The next line of its output, of JSON.

        Raises:
            RankdError: it ended.
        """
        assert self._process.stdout
        raw = await self._process.stdout.readline()
        if not raw:
            await self._reader
            raise RankdError(self.last_words)
        found: dict[str, Any] = json.loads(raw)
        return found

    async def send(self, message: Mapping[str, Any]) -> None:
        """A line of JSON into its input."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        await self._process.stdin.drain()

    async def wait(self) -> None:
        """Until it ends by itself, and all that it wrote was read."""
        assert self._process.stdout
        await self._process.stdout.read()
        await self._process.wait()
        await self._reader

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.returncode is None

    @property
    def last_words(self) -> str:
        """What it wrote last to its error stream."""
        return " | ".join(line for line in self._tail if line.strip())[-600:] or "it ended without a word"

    @property
    def processor_seconds(self) -> float:
        """Processor time that all of its threads used so far, kernel included (Linux; elsewhere 0)."""
        try:
            return time.clock_gettime(~self._process.pid << 3 | 2)  # CPUCLOCK_SCHED
        except (OSError, AttributeError):
            return 0.0

    def pause(self) -> None:
        """Take it off the cores."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            self._process.send_signal(number)

    async def stop(self) -> None:
        """End it."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader
