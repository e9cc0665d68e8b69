"""Which features predictions carry, and under which key: from the settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from rankd.adaptation import FeatureHasher
from rankd.adaptation.sources import feature_key
from rankd.settings import Settings


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
        """What the settings say."""
        adapt = settings.adapt
        return cls(adapt.enabled, adapt.text, feature_key(settings))

    def hasher(self, ranker_version: str) -> FeatureHasher | None:
        """What makes a ranker's features; None where there are to be none."""
        return FeatureHasher(self.key, ranker_version) if self.enabled else None


NO_FEATURES = FeatureHashing(enabled=False, text=False, key=b"")
