"""Which rows a ranker was made of: a list of its prompts, as keyed hashes, in ``trained_rows.bin`` beside the manifest.

A ranker is flattered by rows that it has seen, for training or for choosing an epoch, so these are left out wherever it
is judged. What is compared is the form of a prompt: without case, its words with a digit in them all alike, white space
taken together, and of a long one head and tail. So a prompt that comes again with another number, date or id counts as
seen. One in other words does not, nor does a later turn of the same conversation.

The key keeps lists of two rankers from being laid side by side. It stands in the manifest: who has the directory and
guesses a whole prompt can find out whether it is listed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Digests = NDArray[np.uint64]

DIGEST_BYTES = 8
"""Of a prompt. That one of 4,096 others is in a list of 200,000 by chance has odds of 4 in 100 billion."""
KEY_BYTES = 16
MOST_LISTED = 2**21
"""Prompts in a list, 16 MiB; of more the list is not complete, and says so."""
MOST_SOURCES = 64
"""Entries of a manifest's list of sources."""
_ENDS = 2048
"""Characters of head and of tail that a form has. No less than logs cut prompts to, so that a cut one is the same."""
_WITH_DIGIT = re.compile(r"(?<![0-9A-Za-z_])[A-Za-z_]*+[0-9][0-9A-Za-z_]*+|\d++")
_SPACE = re.compile(r"\s++")


def form_of(prompt: str) -> str:
    """What two prompts have in common that count as the same."""
    if len(prompt) > 2 * _ENDS:
        prompt = prompt[:_ENDS] + prompt[-_ENDS:]
    return _SPACE.sub(" ", _WITH_DIGIT.sub("0", prompt.casefold())).strip()


def digests_of(prompts: Iterable[str], key: bytes) -> Digests:
    """Keyed hashes of the forms of prompts, in their order, uint64[n]."""
    whole = b"".join(
        hashlib.blake2b(form_of(p).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES, key=key).digest()
        for p in prompts
    )
    return np.frombuffer(whole, dtype="<u8").astype(np.uint64)


@dataclass(frozen=True, slots=True, eq=False)
class PromptList:
    """The prompts of a ranker's rows."""

    key: bytes
    digests: Digests
    """Sorted, each once."""

    @classmethod
    def unpacked(cls, key: bytes, content: bytes, count: int) -> PromptList:
        """What ``packed`` gave of a list of ``count``, at least 1.

        Raises:
            ValueError: it is no such list.
        """
        if len(content) != count * DIGEST_BYTES:
            raise ValueError(f"it has {len(content)} bytes, and {count} prompts take {count * DIGEST_BYTES}")
        digests = np.frombuffer(content, dtype="<u8").astype(np.uint64)
        if (digests[1:] <= digests[:-1]).any():
            raise ValueError("its hashes do not rise")
        return cls(key, digests)

    def packed(self) -> bytes:
        """As a file."""
        return self.digests.astype("<u8").tobytes()

    def has(self, prompts: Sequence[str]) -> Bools:
        """Which of some prompts are listed, [n]. Takes about 20 µs each."""
        wanted = digests_of(prompts, self.key)
        places = np.minimum(np.searchsorted(self.digests, wanted), len(self.digests) - 1)
        found: Bools = self.digests[places] == wanted
        return found
