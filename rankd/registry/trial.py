"""A ranker is read, loaded and warmed up in a process of its own first: only what passes there comes into the daemon.

A graph that never ends, a tokeniser that takes all memory, a disk that does not answer: each ends with that process,
which has limits in time and memory. What it read and hashed stays, in memory files, and is what the daemon loads.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from rankd.errors import ArtifactError, ProviderError, UnavailableError
from rankd.registry.artifact_files import ArtifactFiles, empty_files, shown
from rankd.registry.preparation import LoadPlan
from rankd.scoring import child_process
from rankd.settings import ScoringSection
from rankd.settings.memory_limit import memory_limit

_MODULE = "rankd.registry.trial_process"
_LONGEST_LINE = 2**20
_GONE = 5.0
"""Seconds that a killed process may take to go; one that waits for a disk does not go before the disk answers."""


def trial_memory(settings: ScoringSection) -> int:
    """Bytes that a trial may take: the setting's, and no more than half of what the daemon and it have together."""
    return min(settings.load_memory, memory_limit() // 2)


class RankerTrial:
    """One child process: ``read``, then ``run``. An asynchronous context manager, which ends it."""

    def __init__(self, path: Path, settings: ScoringSection) -> None:
        """Take a directory; nothing happens yet."""
        self._path = path
        self._settings = settings
        self._content = empty_files()
        self._process: subprocess.Popen[bytes] | None = None
        self._answers = asyncio.StreamReader(limit=_LONGEST_LINE)
        self._doing = "reading its files"
        self._stopped = False

    async def __aenter__(self) -> Self:
        """Start it.

        Not as the event loop starts processes: uvloop forks, grpc's threads hold locks then, and now and then the child
        dies in grpc's handlers of forks. ``subprocess`` lets no handler run between fork and exec.
        """
        self._process = process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own interpreter; no event loop's
            child_process.command(_MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_process.environment(),
            pass_fds=[file.fd for file in self._content.values()],
            bufsize=0,
        )
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._answers), process.stdout
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it, whatever it does."""
        self._kill()
        if self._process is not None:
            with contextlib.suppress(OSError):
                assert self._process.stdin is not None
                self._process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, _GONE)

    def stop(self) -> None:
        """End it because the daemon ends."""
        self._stopped = True
        self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()  # does nothing where it ended already

    async def read(self) -> ArtifactFiles:
        """Let it read the directory.

        Raises:
            ArtifactError: what ``read_files`` raises, TOO_SLOW, or CRASHED.
            UnavailableError: the daemon ends.
        """
        settings = self._settings
        self._send(
            path=str(self._path),
            descriptors={name: file.fd for name, file in self._content.items()},
            max_bytes=settings.max_artifact_bytes,
            memory=trial_memory(settings),
            seconds=settings.load_seconds,
            nice=settings.nice,
        )
        answer = await self._answer(lambda a: "sha256" in a)
        return ArtifactFiles.of(Path(answer["path"]), self._content, answer["sha256"])

    async def run(self, plan: LoadPlan) -> bool:
        """Let it load and warm up what it read.

        Returns:
            Whether the tokeniser belongs into a process of its own.

        Raises:
            ArtifactError: the ranker cannot be served, or TOO_SLOW, OUT_OF_MEMORY or CRASHED.
            ProviderError: the provider asked for is not there.
            UnavailableError: the daemon ends.
        """
        self._send(**asdict(plan))
        return bool((await self._answer(lambda a: "passed" in a))["tokeniser_apart"])

    def _send(self, **fields: Any) -> None:
        """Write a line; a pipe takes more than one of these has, so nobody waits."""
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it ended already, as its answer will show
            self._process.stdin.write(json.dumps(fields).encode() + b"\n")

    async def _answer(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for what is wanted; on the way notes what it is doing."""
        assert self._process is not None
        while line := await self._answers.readline():
            answer: dict[str, Any] = json.loads(line)
            if "began" in answer:
                self._doing = answer["began"]
            elif "provider" in answer:
                raise ProviderError(answer["provider"])
            elif "reason" in answer:
                raise self._refused(answer["reason"], answer["message"])
            elif wanted(answer):
                return answer
        if self._stopped:
            raise UnavailableError("the daemon is shutting down", retry_after=1.0)
        raise self._ended(await asyncio.to_thread(self._process.wait))

    def too_slow(self) -> ArtifactError:
        """What a ranker is refused with that is not ready in time."""
        return ArtifactError(
            "TOO_SLOW",
            f"ranker {shown(self._path)}: {self._doing} took longer than scoring.load_seconds = "
            f"{self._settings.load_seconds:g} allows; if it is only slow, raise RANKD_SCORING__LOAD_SECONDS",
        )

    def _refused(self, reason: str, message: str) -> ArtifactError:
        return self._out_of_memory() if reason == "OUT_OF_MEMORY" else ArtifactError(reason, message)

    def _out_of_memory(self) -> ArtifactError:
        return ArtifactError(
            "OUT_OF_MEMORY",
            f"ranker {shown(self._path)}: {self._doing} takes more than {trial_memory(self._settings)} bytes, which "
            "scoring.load_memory allows, or half of the memory here; if it is only large, raise "
            "RANKD_SCORING__LOAD_MEMORY and the container's limit, or lower RANKD_SCORING__MAX_BATCH_TOKENS",
        )

    def _ended(self, status: int) -> ArtifactError:
        """What a ranker is refused with that ended its process: by status, or by the signal that a negative one is."""
        if status == -signal.SIGXCPU:
            return self.too_slow()
        if status in {-signal.SIGKILL, -signal.SIGABRT}:  # the kernel's, or a library's own, where memory ends
            return self._out_of_memory()
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        return ArtifactError(
            "CRASHED", f"ranker {shown(self._path)}: {self._doing} ended its process with {name}: export it again"
        )
