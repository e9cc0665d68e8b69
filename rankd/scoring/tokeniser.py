"""From prompt text to token ids: cut, encode, keep head and tail. Runs off the event loop.

A long prompt keeps its head *and* its tail: the paper keeps the head only, which drops the question when a long
context comes first. Training uses this same code, so that a ranker sees in service what it saw in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from rankd.errors import ArtifactError

CHARS_PER_TOKEN = 16
"""Characters kept per token of the limit, before encoding. Prose has about 4, so the cut bites only on text of which
the model would see little anyway; it bounds the memory and the time that one prompt can take."""


@dataclass(frozen=True, slots=True)
class Truncation:
    """How many tokens the model reads, special tokens included, and where they come from."""

    max_tokens: int
    head_tokens: int
    tail_tokens: int


class PromptLimits:
    """How much of a prompt is kept before it is encoded, in characters, and how many tokens it may become."""

    def __init__(self, max_tokens: int, special_tokens: int, head_tokens: int, tail_tokens: int) -> None:
        """Take what a tokeniser reads: head and tail without special tokens."""
        self.max_tokens = max_tokens
        self._special = special_tokens
        self._head = head_tokens
        self._tail = tail_tokens
        self._head_chars = CHARS_PER_TOKEN * head_tokens
        self._tail_chars = CHARS_PER_TOKEN * tail_tokens

    @property
    def limits(self) -> list[int]:
        """What ``__init__`` took."""
        return [self.max_tokens, self._special, self._head, self._tail]

    def cut(self, prompt: str) -> str:
        """Shorten ``prompt`` to the characters that can matter. Cheap; done before a prompt is queued."""
        if len(prompt) <= self._head_chars + self._tail_chars:
            return prompt
        return prompt[: self._head_chars] + " " + prompt[len(prompt) - self._tail_chars :]

    def estimate(self, cut: str) -> int:
        """Guess the tokens of a cut prompt without encoding it; for admission."""
        return min(self.max_tokens, len(cut) // 3 + self._special + 1)

    def encode(self, prompts: list[str]) -> list[NDArray[np.int64]]:
        """Encode cut prompts; each result has shape [tokens], 1 <= tokens <= max_tokens."""
        raise NotImplementedError

    def close(self) -> None:
        """Free what is not memory of this process."""


class Tokeniser(PromptLimits):
    """Encodes prompts; safe to call from several threads (``tokenizers`` releases the GIL)."""

    def __init__(self, path: Path, truncation: Truncation, content: bytes | None = None) -> None:
        """Read ``tokenizer.json``; it takes the interpreter for itself, longer the larger its vocabulary is.

        Args:
            path: where it is, or was.
            truncation: what the model reads of a prompt.
            content: what was read there and hashed. None: it is read now.

        Raises:
            ArtifactError: BAD_TOKENIZER where it cannot be read or adds more special tokens than the limit holds.
        """
        try:
            self._tokenizer = Tokenizer.from_buffer(path.read_bytes() if content is None else content)
        except Exception as error:  # noqa: BLE001 - tokenizers raises no narrower one
            raise ArtifactError("BAD_TOKENIZER", f"{path} cannot be read as a tokenizer: {error}") from None
        # Its own settings are not to be relied on.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        special = self._tokenizer.num_special_tokens_to_add(False)
        text_tokens = truncation.max_tokens - special
        if text_tokens < 1:
            raise ArtifactError("BAD_TOKENIZER", f"{path} adds {special} special tokens, max_tokens leaves no room")
        # Special tokens come out of the tail's share: the model was trained with max_tokens in all.
        tail = min(truncation.tail_tokens, text_tokens - 1)
        super().__init__(truncation.max_tokens, special, text_tokens - tail, tail)
        self._leading, self._trailing = self._special_ids()

    def _special_ids(self) -> tuple[list[int], list[int]]:
        bare = self._tokenizer.encode("a", add_special_tokens=False).ids
        full = self._tokenizer.encode("a", add_special_tokens=True).ids
        start = next((i for i in range(len(full)) if full[i : i + len(bare)] == bare), len(full)) if bare else len(full)
        return full[:start], full[start + len(bare) :]

    def encode(self, prompts: list[str]) -> list[NDArray[np.int64]]:
        """Encode cut prompts; each result has shape [tokens], 1 <= tokens <= max_tokens."""
        encodings = self._tokenizer.encode_batch(prompts, add_special_tokens=False)
        return [self._assemble(e.ids) for e in encodings]

    def _assemble(self, ids: list[int]) -> NDArray[np.int64]:
        if len(ids) > self._head + self._tail:
            ids = ids[: self._head] + ids[len(ids) - self._tail :]
        whole = self._leading + ids + self._trailing
        # A tokenizer without special tokens encodes "" to nothing; a model needs one position.
        return np.array(whole or [0], dtype=np.int64)
