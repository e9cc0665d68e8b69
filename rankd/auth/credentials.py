"""The credentials that are known, and finding one among them without telling by time how near a guess was."""

from __future__ import annotations

import enum
import hmac
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class Role(enum.Enum):
    """What a credential may do."""

    RANK = "rank"
    """Ask for orders."""
    REPORT = "report"
    """Report completions: what quality, calibration and patience are learned from."""
    QUALITY = "quality"
    """Read quality and the policies in force."""
    ADMIN = "admin"
    """Load, promote and unload rankers, pin guards, run pilots."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How many calls: so many per second, and so many at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class Credential:
    """One token, or one name in client certificates."""

    name: str
    tenant: str
    """Whose it is; empty where it may act for any."""
    roles: frozenset[Role]
    expires: float = math.inf
    """Seconds since the epoch."""
    quota: Quota | None = None
    """Its own; None where the limits of all callers apply."""
    digest: bytes = b""
    """SHA-256 of the token; empty for a certificate."""

    @property
    def key(self) -> str:
        """What its calls are counted under. Tokens of one name, as in a rotation, count as one."""
        return f"{'token' if self.digest else 'certificate'} {self.name}"


class Credentials:
    """All credentials of one reading of the file."""

    def __init__(
        self, tokens: Iterable[Credential], certificates: Iterable[Credential], quotas: Mapping[str, Quota]
    ) -> None:
        """Take what was read; ``quotas`` are those that all credentials of a tenant share."""
        self._tokens = tuple(tokens)
        self._certificates = {c.name: c for c in certificates}
        self._quotas = dict(quotas)

    @property
    def has_tokens(self) -> bool:
        """Whether there is any token."""
        return bool(self._tokens)

    def token(self, digest: bytes) -> Credential | None:
        """The credential of a token, by its SHA-256; None where there is none.

        Every digest is compared, each in constant time, and the loop goes on after a hit: the time that it takes says
        neither where a token stands nor how much of a guess is right. Digests of guesses cannot be steered either.
        """
        found = None
        for credential in self._tokens:
            if hmac.compare_digest(credential.digest, digest):
                found = credential
        return found

    def certificate(self, names: Iterable[str]) -> Credential | None:
        """The credential of a verified client certificate, by the first of its names that is known."""
        return next((self._certificates[name] for name in names if name in self._certificates), None)

    def current(self, credential: Credential) -> bool:
        """Whether a credential that was found before is still there, as it was."""
        known = self.token(credential.digest) if credential.digest else self._certificates.get(credential.name)
        return known == credential

    def quota_of(self, tenant: str) -> Quota | None:
        """What all credentials of a tenant share; None where there is no bound."""
        return self._quotas.get(tenant)
