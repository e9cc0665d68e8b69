"""Whose completions are learned from, as hashes that are the same on all replicas with the same key."""

from __future__ import annotations

import hashlib

from rankd.settings import Settings

_LONGEST_KEY = 64
"""Bytes of a key that BLAKE2b takes."""


def feature_key(settings: Settings) -> bytes:
    """The key of all hashes that are learned from, at most 64 bytes; empty where no secret is set."""
    secret = settings.adapt.key.get_secret_value() or settings.quality.snapshot_key.get_secret_value()
    key = secret.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(key).digest() if len(key) > _LONGEST_KEY else key


class SourceHasher:
    """Hashes tenants' names, for all rankers alike."""

    def __init__(self, key: bytes) -> None:
        """Take a key of up to 64 bytes."""
        self._key = hashlib.blake2b(b"sources", key=key, digest_size=32).digest()
        self.key_id = hashlib.blake2b(self._key, digest_size=8).digest()
        """Says which key it is, and nothing about it."""

    def source(self, tenant: str) -> int:
        """A tenant's hash in 64 bits; 0 for the empty name, which stands for all that have none."""
        if not tenant:
            return 0
        digest = hashlib.blake2b(tenant.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest) or 1
