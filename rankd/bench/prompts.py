"""Prompts to measure with: generated from a few phrases, or from a file, and as many different ones as wanted."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from rankd.errors import ConfigError

_TASK_PHRASES = (
    "Explain",
    "Summarise",
    "Translate into French:",
    "Write an essay about",
    "List ten facts about",
    "What is",
    "Fix this code:",
    "Compare",
)
_SUBJECTS = (
    "the water cycle", "photosynthesis", "a binary search tree", "the French revolution", "supply and demand",
    "how a bicycle stays upright", "the plot of Hamlet", "an email that declines a meeting politely", "HTTP caching",
    "the rules of chess", "black holes", "sourdough bread",
)  # fmt: skip
_STYLE_PHRASES = (
    "Be brief.",
    "Use simple words.",
    "Give three examples.",
    "Answer with one word.",
    "Explain each step in detail.",
    "Cite sources.",
    "Write for a child.",
)


class PromptSupply:
    """An endless supply of different prompts; the same seed gives the same ones."""

    def __init__(self, file: Path | None, seed: int = 0) -> None:
        """Read a file, a prompt per line; without one generate prompts, whose lengths are log-normal.

        Raises:
            ConfigError: the file cannot be read or is empty.
        """
        self._random = random.Random(seed)  # noqa: S311 - nothing secret
        self._serial = 0
        self._lines: list[str] = []
        if file is not None:
            try:
                self._lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            except OSError as error:
                raise ConfigError(f"--prompts: {file} cannot be read: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ConfigError(f"--prompts: {file} is not UTF-8: save it as UTF-8, a prompt per line") from None
            if not self._lines:
                raise ConfigError(f"--prompts: {file} has no prompts")
        self.source = str(file) if file is not None else "made up"

    def take(self, count: int) -> list[str]:
        """The next ``count`` prompts, all different: each begins with a number of its own."""
        return [next(self) for _ in range(count)]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        self._serial += 1
        if self._lines:
            return f"{self._serial} {self._lines[self._serial % len(self._lines)]}"
        pick = self._random.choice
        sentences = min(12, int(self._random.lognormvariate(0.3, 0.9)))
        extra = " ".join(f"{pick(_TASK_PHRASES)} {pick(_SUBJECTS)}. {pick(_STYLE_PHRASES)}" for _ in range(sentences))
        return f"{self._serial} {pick(_TASK_PHRASES)} {pick(_SUBJECTS)}. {extra}".strip()
