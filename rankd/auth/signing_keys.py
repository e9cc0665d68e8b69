"""Reads ``signing.file``, and signs with its first key what any of its keys verifies."""

from __future__ import annotations

import base64
import binascii
import hmac
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from rankd.auth.reloading_file import read_secret
from rankd.auth.secrets_toml import entries_of, parse_toml
from rankd.errors import ConfigError

SETTING = "signing.file"
SHORTEST_KEY = 32
"""Bytes of a secret."""


class SigningKeys:
    """Secrets by id. The first one signs, all of them verify."""

    def __init__(self, secrets: dict[str, bytes]) -> None:
        """Take them, the one that signs first."""
        # Keyed once and copied: half of what a fresh HMAC takes.
        self._keyed = {name: hmac.new(secret, digestmod="sha256") for name, secret in secrets.items()}
        self.first = next(iter(secrets))
        """The id of the one that signs."""

    def sign(self, data: bytes) -> bytes:
        """HMAC-SHA256 by the first key (RFC 2104)."""
        return self._digest(self.first, data)

    def verify(self, key_id: str, signature: bytes, data: bytes) -> bool:
        """Whether a signature is that of one of the keys."""
        return key_id in self._keyed and hmac.compare_digest(self._digest(key_id, data), signature)

    def _digest(self, key_id: str, data: bytes) -> bytes:
        code = self._keyed[key_id].copy()
        code.update(data)
        return code.digest()


class _KeyEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    id: str = Field(min_length=1, max_length=32)
    secret: SecretStr

    @field_validator("secret")
    @classmethod
    def _long(cls, value: SecretStr) -> SecretStr:
        if len(_decoded(value)) < SHORTEST_KEY:
            raise ValueError(f"must be base64 of at least {SHORTEST_KEY} bytes: `rankd token key` makes one")
        return value


def read_keys(path: Path) -> SigningKeys:
    """Read the file; errors are those of ``parse_keys``."""
    return parse_keys(read_secret(path, SETTING), path)


def parse_keys(data: bytes, path: Path) -> SigningKeys:
    """Parse what the file holds; ``path`` is for errors.

    Raises:
        ConfigError: naming the file, the entry and the remedy, and nothing secret.
    """
    entries = entries_of(parse_toml(data, path, SETTING), {"key": _KeyEntry}, path, SETTING)["key"]
    secrets: dict[str, bytes] = {}
    for where, key in entries:
        if key.id in secrets:
            raise ConfigError(f"{SETTING}: {where}: has the same id as an earlier key: give it another one")
        secrets[key.id] = _decoded(key.secret)
    if not secrets:
        raise ConfigError(f"{SETTING}: {path} has no [[key]]: `rankd token key` makes one")
    return SigningKeys(secrets)


def _decoded(secret: SecretStr) -> bytes:
    try:
        return base64.b64decode(secret.get_secret_value(), validate=True)
    except (binascii.Error, ValueError):
        return b""
