"""Whose completions are learned from, as hashes that are the same on all replicas with the same key."""

from __future__ import annotations

import hashlib

from rankd.settings import Settings


def feature_key(settings: Settings) -> bytes:
    """The key of all hashes in features, of 32 bytes; empty where no secret is set."""
    secret = settings.adapt.key.get_secret_value() or settings.quality.snapshot_key.get_secret_value()
    return hashlib.blake2b(secret.encode(), digest_size=32, person=b"rankd-features").digest() if secret else b""


class SourceHasher:
    """Hashes tenants' names."""

    def __init__(self, key: bytes) -> None:
        """Take a key of up to 64 bytes, as ``FeatureHasher`` does, but of no ranker's."""
        self._key = key
        self.key_id = hashlib.blake2b(b"learned", key=key, digest_size=8).digest()
        """Says which key it is, and nothing about it."""

    def source(self, tenant: str) -> int:
        """A tenant's hash in 64 bits; 0 for the empty name, which stands for all that have none."""
        if not tenant:
            return 0
        digest = hashlib.blake2b(
            tenant.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8, person=b"rankd-source"
        ).digest()
        return int.from_bytes(digest) or 1
