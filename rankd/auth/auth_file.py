"""Reads ``auth.file``: tokens, names of certificates, quotas of tenants. docs/guides/security.md describes it."""

from __future__ import annotations

import hashlib
import math
import string
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from rankd.auth.credentials import Credential, Credentials, Quota, Role
from rankd.auth.reloading_file import read_secret
from rankd.auth.secrets_toml import Entries, entries_of, parse_toml
from rankd.errors import ConfigError

SETTING = "auth.file"
SHORTEST_TOKEN = 20
"""Characters; `rankd token new` makes tokens of 43, which is 256 bits."""
_TOKEN_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-._~+/=")
"""Of a bearer token (RFC 6750), all of which a header can carry."""
_LONGEST_NAME = 256
_DEFAULT_BURST = 100


def digest_of(token: str) -> bytes:
    """What a token is compared by."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


class _AuthEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=_LONGEST_NAME)
    calls_per_second: float = Field(0.0, ge=0, le=1e9, allow_inf_nan=False)
    call_burst: int = Field(_DEFAULT_BURST, ge=1, le=10**9)

    @property
    def quota(self) -> Quota | None:
        """None where it has none."""
        return Quota(self.calls_per_second, self.call_burst) if self.calls_per_second else None


class _TenantEntry(_AuthEntry):
    calls_per_second: float = Field(gt=0, le=1e9, allow_inf_nan=False)


class _CredentialEntry(_AuthEntry):
    tenant: str = ""
    roles: list[Role] = Field(min_length=1)
    expires: AwareDatetime | None = None

    @field_validator("tenant")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
            raise ValueError(f"must have at most {_LONGEST_NAME} bytes")
        return value

    def credential(self, digest: bytes = b"") -> Credential:
        """As it is looked up."""
        return Credential(
            name=self.name,
            tenant=self.tenant,
            roles=frozenset(self.roles),
            expires=math.inf if self.expires is None else self.expires.timestamp(),
            quota=self.quota,
            digest=digest,
        )


class _TokenEntry(_CredentialEntry):
    token: SecretStr | None = None
    sha256: SecretStr | None = None

    @model_validator(mode="after")
    def _one(self) -> _TokenEntry:
        if (self.token is None) == (self.sha256 is None):
            raise ValueError("give either sha256, as `rankd token new` prints it, or token")
        if self.token is not None:
            text = self.token.get_secret_value()
            if len(text) < SHORTEST_TOKEN or not _TOKEN_CHARACTERS.issuperset(text):
                raise ValueError(
                    f"token must have at least {SHORTEST_TOKEN} characters, of letters, digits and -._~+/= only: "
                    "`rankd token new` makes one"
                )
        elif len(self.digest) != hashlib.sha256().digest_size:
            raise ValueError("sha256 must be 64 hexadecimal digits, as `rankd token new` prints them")
        return self

    @property
    def digest(self) -> bytes:
        """SHA-256 of the token."""
        if self.token is not None:
            return digest_of(self.token.get_secret_value())
        assert self.sha256 is not None
        try:
            return bytes.fromhex(self.sha256.get_secret_value())
        except ValueError:
            return b""


_MODELS: dict[str, type[BaseModel]] = {"token": _TokenEntry, "certificate": _CredentialEntry, "tenant": _TenantEntry}


def read_credentials(path: Path, *, verified: bool) -> Credentials:
    """Read the file; arguments and errors are those of ``parse_credentials``."""
    return parse_credentials(read_secret(path, SETTING), path, verified=verified)


def parse_credentials(data: bytes, path: Path, *, verified: bool) -> Credentials:
    """Parse what the file holds.

    Args:
        data: what it holds.
        path: of the file, for errors.
        verified: whether client certificates are asked for; names of certificates are of no use without.

    Raises:
        ConfigError: naming the file, the entry and the remedy, and nothing secret.
    """
    entries = entries_of(parse_toml(data, path, SETTING), _MODELS, path, SETTING)
    if not entries["token"] and not entries["certificate"]:
        raise ConfigError(f"{SETTING}: {path} has no [[token]] and no [[certificate]]: nobody could call")
    if entries["certificate"] and not verified:
        raise ConfigError(
            f"{SETTING}: {entries['certificate'][0][0]}: certificates are not asked for: set tls.client_ca, or take "
            "the entry out"
        )
    _refuse_twins(entries["token"], "token", lambda entry: entry.digest)
    for table in ("certificate", "tenant"):
        _refuse_twins(entries[table], "name", lambda entry: entry.name)
    return Credentials(
        tokens=[entry.credential(entry.digest) for _, entry in entries["token"]],
        certificates=[entry.credential() for _, entry in entries["certificate"]],
        quotas={entry.name: entry.quota for _, entry in entries["tenant"]},
    )


def _refuse_twins(entries: Entries, what: str, identity: object) -> None:
    assert callable(identity)
    seen: dict[object, str] = {}
    for where, entry in entries:
        earlier = seen.setdefault(identity(entry), where)
        if earlier is not where:
            raise ConfigError(f"{SETTING}: {where}: has the same {what} as an earlier entry: take one of them out")
