"""The key that windows hash requests with: drawn by each process, or derived from a secret that outlives it."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from rankd.types import RequestHasher


class SnapshotKey:
    """The key of the windows' hashes, and what a snapshot says of it."""

    def __init__(self, secret: str = "", value: bytes | None = None) -> None:
        """Derive the key from ``secret``; where that is empty, take ``value`` or draw one."""
        self._secret = secret
        derived = hashlib.blake2b(secret.encode(), digest_size=16, person=b"rankd-snapshot").digest()
        self._value = derived if secret else value or secrets.token_bytes(16)

    def hasher(self) -> RequestHasher:
        """The hasher with this key."""
        return RequestHasher(self._value)

    def saved(self) -> dict[str, str]:
        """What a snapshot says of it: the key itself only where there is no secret to derive it from again."""
        return {"fingerprint": self.fingerprint, "value": "" if self._secret else self._value.hex()}

    def restored(self, saved: dict[str, Any]) -> SnapshotKey | None:
        """The key that a snapshot was written with; None where the secret is not the one of then.

        Raises:
            ValueError: what was saved cannot be.
            KeyError: something is missing.
        """
        value = bytes.fromhex(saved["value"])
        found = SnapshotKey(self._secret, value) if self._secret or len(value) == len(self._value) else None
        return found if found is not None and found.fingerprint == saved["fingerprint"] else None

    @property
    def fingerprint(self) -> str:
        """Differs for different keys, and does not reveal them."""
        return hashlib.blake2b(self._value, digest_size=8, person=b"rankd-check").hexdigest()
