"""Scores kept under a keyed hash of (ranker version, prompt): a prompt is scored once, and no text is kept.

Callers hash what the ranker reads of a prompt (``Scorer.cut``), so that all of a long prompt and a part of it that was
kept for later find the same score, and a megabyte is not hashed where the ranker reads a few thousand characters.
Equal prompts of two requests are one entry: what is hashed here is no request, so ``RequestHasher`` has no part in it.
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections import OrderedDict

from rankd.types import Scored

ENTRY_BYTES = 256
"""What an entry takes beside the features of its text: key, score, and its places in the map."""


class ScoreCache:
    """A least-recently-used map from a prompt's digest to its score, bounded in entries and in bytes.

    The key of the hash is random and lives as long as the process, so that digests mean nothing outside it.
    """

    def __init__(self, entries: int, ranker_version: str, most_bytes: float = math.inf) -> None:
        """Keep at most ``entries`` scores that take at most ``most_bytes``; 0 keeps none."""
        self._entries = entries
        self._most_bytes = most_bytes
        self._bytes = 0
        self._key = secrets.token_bytes(32)
        self._salt = hashlib.blake2b(ranker_version.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        # The first entry is the least recently used; a plain dict would look for it past all that were deleted.
        self._scores: OrderedDict[bytes, Scored] = OrderedDict()

    def __len__(self) -> int:
        return len(self._scores)

    def digest(self, prompt: str) -> bytes:
        """The key of a prompt, 16 bytes."""
        text = prompt.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16, key=self._key, salt=self._salt).digest()

    def get(self, digest: bytes) -> Scored | None:
        """The score, now the most recently used one, or None."""
        score = self._scores.get(digest)
        if score is not None:
            self._scores.move_to_end(digest)
        return score

    def put(self, digest: bytes, score: Scored) -> None:
        """Keep a score, dropping the least recently used ones where there are too many."""
        if self._entries == 0:
            return
        if (before := self._scores.pop(digest, None)) is not None:
            self._bytes -= _size(before)
        self._scores[digest] = score
        self._bytes += _size(score)
        while len(self._scores) > self._entries or self._bytes > self._most_bytes:
            self._bytes -= _size(self._scores.popitem(last=False)[1])


def _size(score: Scored) -> int:
    return ENTRY_BYTES + len(score.text)
