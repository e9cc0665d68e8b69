"""A tokeniser in a process of its own, for those that would stop the daemon's: see ``tokeniser_safety``.

It looks like ``Tokeniser`` to whoever encodes. A text that ends the process, or holds it for too long, fails its own
chunk; the next chunk starts a new one.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
import time
from pathlib import Path

import numpy as np

from rankd.errors import ArtifactError, InferenceError
from rankd.scoring import child_process
from rankd.scoring.frames import read_frame, write_frame
from rankd.scoring.memory_file import MemoryFile
from rankd.scoring.onnx_model import Ids
from rankd.scoring.tokeniser import PromptLimits, Truncation

_MODULE = "rankd.scoring.tokeniser_process"
_BETWEEN_STARTS = 1.0
"""Seconds at least between two starts, so that texts that end it do not keep a core busy with starting."""


class TokeniserApart(PromptLimits):
    """Encodes prompts in a child process, one chunk at a time; safe to call from several threads."""

    def __init__(
        self,
        path: Path,
        truncation: Truncation,
        content: MemoryFile,
        *,
        memory: int,
        start_seconds: float,
        seconds: float,
    ) -> None:
        """Start it and wait until it has read ``tokenizer.json``.

        Args:
            path: where that was, for messages.
            truncation: what the model reads of a prompt.
            content: what was read there and hashed; kept, for a new start.
            memory: bytes that it may take beyond those of an empty one.
            start_seconds: what reading may take.
            seconds: what a chunk may take.

        Raises:
            ArtifactError: BAD_TOKENIZER, TOO_SLOW or OUT_OF_MEMORY.
        """
        self._path, self._content, self._memory = path, content, memory
        self._truncation, self._start_seconds, self._seconds = truncation, start_seconds, seconds
        self._lock = threading.Lock()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        with self._lock:
            super().__init__(*self._start())

    def encode(self, prompts: list[str]) -> list[Ids]:
        """Encode cut prompts; each result has shape [tokens], 1 <= tokens <= max_tokens.

        Raises:
            InferenceError: the process ended, or took too long; the text carries no input.
        """
        with self._lock:
            try:
                if self._process is None:
                    self._start()
                answer = self._ask(json.dumps(prompts).encode(), self._seconds)
            except (ArtifactError, OSError):
                answer = b""
            if not answer:
                self._end()
                raise InferenceError("the tokeniser's process ended, or took too long")
        numbers = np.frombuffer(answer, dtype="<i8").astype(np.int64)
        count = int(numbers[0])
        ends = np.cumsum(numbers[1 : count + 1]) + count + 1
        return [numbers[end - length : end] for end, length in zip(ends, numbers[1 : count + 1], strict=True)]

    def _start(self) -> list[int]:
        if self._closed or time.monotonic() - self._started < _BETWEEN_STARTS:
            raise ArtifactError("TOO_SLOW", "the tokeniser's process was started a moment ago")
        self._started = time.monotonic()
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
            child_process.command(_MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_process.environment(),
            pass_fds=[self._content.fd],
        )
        plan = {"path": str(self._path), "descriptor": self._content.fd, "memory": self._memory}
        cut = self._truncation
        plan["truncation"] = [cut.max_tokens, cut.head_tokens, cut.tail_tokens]
        answer = self._ask(json.dumps(plan).encode(), self._start_seconds)
        if not answer:
            self._end()
            raise ArtifactError(
                "TOO_SLOW",
                f"{self._path} was not read in a process of its own within scoring.load_seconds = "
                f"{self._start_seconds:g} and scoring.load_memory = {self._memory} bytes",
            )
        fields = json.loads(answer)
        if "reason" in fields:
            self._end()
            raise ArtifactError(fields["reason"], fields["message"])
        limits: list[int] = fields["limits"]
        return limits

    def _ask(self, message: bytes, seconds: float) -> bytes:
        """Send and wait; empty where the process ended, or did not answer in time and was killed."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return b""
        late = threading.Timer(seconds, process.kill)
        late.daemon = True
        late.start()
        try:
            write_frame(process.stdin, message)  # type: ignore[arg-type]
            return read_frame(process.stdout)  # type: ignore[arg-type]
        except OSError:
            return b""
        finally:
            late.cancel()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):  # what was not sent yet
                        pipe.close()
            process.wait()

    def close(self) -> None:
        """End the process, whatever it does; what is encoded now fails."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()
            threading.Thread(target=self._bury, name="rankd-tokeniser-end", daemon=True).start()

    def _bury(self) -> None:
        with self._lock:
            self._end()
