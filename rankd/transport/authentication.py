"""Who calls, by token or client certificate, and whether they may."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextvars import ContextVar
from functools import lru_cache

import grpc

from rankd.auth import (
    ANYBODY,
    Caller,
    Credential,
    Credentials,
    ReloadingFile,
    Role,
    check_exposure,
    digest_of,
    parse_credentials,
)
from rankd.errors import ForbiddenError, UnauthenticatedError
from rankd.settings import Settings
from rankd.telemetry.telemetry import Telemetry
from rankd.transport.rate_limit import caller_of

ROLES = {
    "rankd.v1.RankService": Role.RANK,
    "rankd.v1.CompletionService": Role.REPORT,
    "rankd.v1.QualityService": Role.QUALITY,
    "rankd.v1.AdminService": Role.ADMIN,
}
"""What a service asks for. Others, such as reflection, ask for a credential, whatever its roles; health for none."""
_HEADER = "authorization"
_SCHEME = "bearer "
_NAMES = ("x509_subject_alternative_name", "x509_common_name")
_caller: ContextVar[Caller] = ContextVar("rankd_caller", default=ANYBODY)


def current_caller() -> Caller:
    """Who makes the call that this code runs for."""
    return _caller.get()


def set_current_caller(caller: Caller) -> None:
    """Let the rest of a call know who makes it. A call has a task, and so a context, of its own: nothing is undone."""
    _caller.set(caller)


class Authenticator:
    """Lets calls in by what ``auth.file`` holds at the time."""

    def __init__(self, settings: Settings, telemetry: Telemetry) -> None:
        """Read the file, where there is one, and look at who could reach the listeners.

        Raises:
            ConfigError: the file is wrong, or a listener is open to anybody and that was not asked for.
        """
        self._telemetry = telemetry
        self.file: ReloadingFile[Credentials] | None = None
        """What is followed; None where anybody may call."""
        if (path := settings.auth.file) is not None:
            verified = settings.tls.client_ca is not None
            self.file = ReloadingFile(
                "auth.file", {"auth.file": path}, lambda c: parse_credentials(c["auth.file"], path, verified=verified)
            )
        check_exposure(settings, tokens=self.file is not None and self.file.current.has_tokens)
        self._anonymous = settings.auth.anonymous is True
        self._certificates = settings.tls.client_ca is not None
        """Whether callers are asked for certificates: looking for one costs each call."""

    @property
    def _credentials(self) -> Credentials | None:
        return None if self.file is None else self.file.current

    def admit(self, service: str, context: grpc.aio.ServicerContext, peer: str) -> Caller:
        """Let a call of a peer in, which is named as gRPC does.

        Raises:
            UnauthenticatedError: it is not known who calls.
            ForbiddenError: they may not.
        """
        credentials = self._credentials
        if credentials is None:
            # Whoever reaches the listener may call: see ``check_exposure``.
            return Caller(caller_of(context)) if self._certificates else _at(peer)
        role = ROLES.get(service)
        credential = self._credential(credentials, context)
        if credential is None:
            if self._anonymous and role is not Role.ADMIN:
                return Caller(caller_of(context)) if self._certificates else _at(peer)
            raise self._unknown("missing", "this call needs a credential: metadata `authorization: Bearer TOKEN`")
        self._check_time(credential)
        if role is not None and role not in credential.roles:
            self._telemetry.refused("role")
            raise ForbiddenError("ROLE_MISSING", f"the credential lacks the role {role.value} (auth.file: roles)")
        return Caller(credential.key, credential.tenant, credential, credentials.quota_of(credential.tenant))

    def recheck(self, caller: Caller) -> None:
        """Look again, for a further message of a stream: tokens are taken back, and their time ends, meanwhile.

        Raises:
            UnauthenticatedError: the credential is none any more.
        """
        credentials, credential = self._credentials, caller.credential
        if credentials is None or credential is None:
            return
        if not credentials.current(credential) or credentials.quota_of(credential.tenant) != caller.tenant_quota:
            raise self._unknown("unknown", "the credential of this stream was taken back or changed: open it anew")
        self._check_time(credential)

    def _credential(self, credentials: Credentials, context: grpc.aio.ServicerContext) -> Credential | None:
        """What the call shows; None where it shows nothing."""
        headers = [value for key, value in context.invocation_metadata() or () if key == _HEADER]
        if headers:
            # A token goes before a certificate: a proxy has a certificate of its own, and forwards its callers' tokens.
            token = _token_of(headers)
            credential = None if token is None else credentials.token(digest_of(token))
            if credential is None:
                raise self._unknown("unknown", "the token is not one that this daemon knows")
            return credential
        names = _names_of(context)
        if not names:
            return None
        credential = credentials.certificate(names)
        if credential is None and not self._anonymous:
            raise self._unknown("unknown", "no name in the client's certificate is one that this daemon knows")
        return credential

    def _check_time(self, credential: Credential) -> None:
        if time.time() >= credential.expires:
            self._telemetry.refused("expired")
            raise UnauthenticatedError("CREDENTIAL_EXPIRED", "the time of this credential is over")

    def _unknown(self, reason: str, text: str) -> UnauthenticatedError:
        self._telemetry.refused(reason)
        return UnauthenticatedError(f"CREDENTIAL_{reason.upper()}", text)


@lru_cache(maxsize=4096)
def _at(peer: str) -> Caller:
    """Whoever calls from an address, by any port."""
    return Caller(peer.rpartition(":")[0])


def _token_of(headers: Iterable[str | bytes]) -> str | None:
    """The bearer token of a call's headers; None where it is not exactly one."""
    values = [h if isinstance(h, str) else h.decode("latin-1") for h in headers]
    if len(values) != 1 or values[0][: len(_SCHEME)].lower() != _SCHEME:
        return None
    return values[0][len(_SCHEME) :].strip()


def _names_of(context: grpc.aio.ServicerContext) -> list[str]:
    """The names in a verified client certificate: alternative names, then the common name."""
    found = context.auth_context() or {}
    return [value.decode("utf-8", "replace") for kind in _NAMES for value in found.get(kind, ())]
