"""Scores kept under a keyed hash of (ranker version, prompt): a prompt is scored once, and no text is kept.

Callers hash what the ranker reads of a prompt (``Scorer.cut``), so that all of a long prompt and a part of it that was
kept for later find the same score, and a megabyte is not hashed where the ranker reads a few thousand characters.
Equal prompts of two requests are one entry: what is hashed here is no request, so ``RequestHasher`` has no part in it.
"""

from __future__ import annotations

import hashlib
import secrets

from rankd.types import Scored


class ScoreCache:
    """A bounded least-recently-used map from a prompt's digest to its score.

    The key of the hash is random and lives as long as the process, so that digests mean nothing outside it.
    """

    def __init__(self, entries: int, ranker_version: str) -> None:
        """Keep at most ``entries`` scores; 0 keeps none."""
        self._entries = entries
        self._key = secrets.token_bytes(32)
        self._salt = hashlib.blake2b(ranker_version.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        # A dict remembers insertion order: the first entry is the least recently used.
        self._scores: dict[bytes, Scored] = {}

    def __len__(self) -> int:
        return len(self._scores)

    def digest(self, prompt: str) -> bytes:
        """The key of a prompt, 16 bytes."""
        text = prompt.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16, key=self._key, salt=self._salt).digest()

    def get(self, digest: bytes) -> Scored | None:
        """The score, now the most recently used one, or None."""
        score = self._scores.pop(digest, None)
        if score is not None:
            self._scores[digest] = score
        return score

    def put(self, digest: bytes, score: Scored) -> None:
        """Keep a score, dropping the least recently used one where there are too many."""
        if self._entries == 0:
            return
        self._scores.pop(digest, None)
        self._scores[digest] = score
        if len(self._scores) > self._entries:
            del self._scores[next(iter(self._scores))]
