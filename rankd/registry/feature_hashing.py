"""Which features predictions carry, and under which key: from the settings."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Self

from rankd.adaptation import FeatureHasher
from rankd.settings import Settings

_LONGEST_KEY = 64
"""Bytes of a key that BLAKE2b takes."""


@dataclass(frozen=True, slots=True)
class FeatureHashing:
    """What a ranker that is loaded makes features with."""

    enabled: bool
    """Whether predictions carry features at all."""
    text: bool
    """Whether these say something of the text."""
    key: bytes = field(repr=False)
    """At most 64 bytes; empty for none."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the settings say; a longer key is hashed to one of 64 bytes."""
        adapt = settings.adapt
        secret = adapt.key.get_secret_value() or settings.quality.snapshot_key.get_secret_value()
        key = secret.encode("utf-8", "surrogatepass")
        return cls(adapt.enabled, adapt.text, hashlib.blake2b(key).digest() if len(key) > _LONGEST_KEY else key)

    def hasher(self, ranker_version: str) -> FeatureHasher | None:
        """What makes a ranker's features; None where there are to be none."""
        return FeatureHasher(self.key, ranker_version) if self.enabled else None


NO_FEATURES = FeatureHashing(enabled=False, text=False, key=b"")
