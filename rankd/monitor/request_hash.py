"""What request ids are hashed with, so that windows know a request again and nobody else does."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from rankd.types import identity


class RequestHasher:
    """The key of the hash. Drawn anew by each process, or derived from a secret that outlives it."""

    def __init__(self, secret: str = "", value: bytes | None = None) -> None:
        """Derive the key from ``secret``; where that is empty, take ``value`` or draw one."""
        self._secret = secret
        derived = hashlib.blake2b(secret.encode(), digest_size=16, person=b"rankd-snapshot").digest()
        self._value = derived if secret else value or secrets.token_bytes(16)

    def key(self, tenant: str, request_id: str) -> int:
        """64 bits that stand for a request id of a tenant."""
        text = identity(tenant, request_id).encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8, key=self._value).digest())

    def saved(self) -> dict[str, str]:
        """What a snapshot says of it: the key itself only where there is no secret to derive it from again."""
        return {"fingerprint": self.fingerprint, "value": "" if self._secret else self._value.hex()}

    def restored(self, saved: dict[str, Any]) -> RequestHasher | None:
        """The salt that a snapshot was written with; None where the secret is not the one of then.

        Raises:
            ValueError: what was saved cannot be.
            KeyError: something is missing.
        """
        value = bytes.fromhex(saved["value"])
        found = RequestHasher(self._secret, value) if self._secret or len(value) == len(self._value) else None
        return found if found is not None and found.fingerprint == saved["fingerprint"] else None

    @property
    def fingerprint(self) -> str:
        """Tells salts apart without telling what they are."""
        return hashlib.blake2b(self._value, digest_size=8, person=b"rankd-check").hexdigest()
