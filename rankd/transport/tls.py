"""Server credentials from files. Errors name the setting and the file."""

from __future__ import annotations

import re
import ssl
import threading
import warnings
from pathlib import Path

import grpc
import structlog

from rankd.auth import Stamp, stamp_of
from rankd.errors import ConfigError
from rankd.settings import TlsSection

_log = structlog.get_logger("rankd")


def server_credentials(tls: TlsSection) -> grpc.ServerCredentials | None:
    """Credentials for a listener; None for plaintext. Mutual TLS where ``client_ca`` is set.

    The files are read again for new connections after they changed, so that certificates can be renewed in place.

    Raises:
        ConfigError: a file is missing, unreadable, empty or no PEM, or certificate and key do not belong together.
    """
    if tls.certificate is None or tls.private_key is None:
        return None
    renewal = _CertificateReload(tls)
    return grpc.dynamic_ssl_server_credentials(
        renewal.first, renewal.fetch, require_client_authentication=tls.client_ca is not None
    )


_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class CertificateExpiry:
    """When the certificate in the file is over; the last one read counts while the file cannot be read."""

    def __init__(self, tls: TlsSection) -> None:
        """Take where the file is; nothing is read yet."""
        self._path = tls.certificate
        self._seen: Stamp = None
        self._end: float | None = None

    def end(self) -> float | None:
        """In seconds since the epoch; None without TLS."""
        if self._path is None:
            return None
        stamp = stamp_of(self._path)
        if stamp is not None and stamp != self._seen:
            try:
                self._end, self._seen = chain_end(self._path.read_bytes()), stamp
            except (OSError, ValueError):
                return self._end  # half a file, perhaps: what is served is the one before
        return self._end


class _CertificateReload:
    """Follows the files. grpc asks before every handshake, in threads of its own."""

    def __init__(self, tls: TlsSection) -> None:
        self._tls = tls
        self._paths = [path for path in (tls.certificate, tls.private_key, tls.client_ca) if path is not None]
        self._lock = threading.Lock()
        # Before the files are read: a change meanwhile is then seen as one.
        self._seen = self._stamp()
        self.first = _configuration(tls)

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """What the files hold now; None where they are as before, or cannot be used."""
        with self._lock:
            stamp = self._stamp()
            if stamp == self._seen:
                return None
            self._seen = stamp
            try:
                configuration = _configuration(self._tls)
            except ConfigError as error:
                # Perhaps only one of two files is in place yet. The next change is looked at again.
                _log.warning("certificate_unusable", reason=str(error))
                return None
        _log.info("certificate_renewed")
        return configuration

    def _stamp(self) -> list[Stamp]:
        return [stamp_of(path) for path in self._paths]


def _configuration(tls: TlsSection) -> grpc.ServerCertificateConfiguration:
    assert tls.certificate is not None
    assert tls.private_key is not None
    certificate = _read(tls.certificate, "tls.certificate", b"CERTIFICATE")
    key = _read(tls.private_key, "tls.private_key", b"PRIVATE KEY")
    # grpc would say no more than that it cannot bind.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _check_roots(context, tls.certificate, "tls.certificate")
    try:
        context.load_cert_chain(tls.certificate, tls.private_key, password=_no_password)
    except _EncryptedError:
        raise ConfigError(f"tls.private_key: {tls.private_key} is encrypted; give a key without a password") from None
    except (ssl.SSLError, OSError):
        raise ConfigError(
            f"tls.private_key: {tls.private_key} is no readable key, or not the one of {tls.certificate} "
            "(tls.certificate)"
        ) from None
    roots = None
    if tls.client_ca is not None:
        roots = _read(tls.client_ca, "tls.client_ca", b"CERTIFICATE")
        _check_roots(context, tls.client_ca, "tls.client_ca")
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=roots)


class _EncryptedError(Exception):
    """The key needs a password; OpenSSL would ask for it on the terminal."""


def _no_password() -> bytes:
    raise _EncryptedError


def _check_roots(context: ssl.SSLContext, path: Path, setting: str) -> None:
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError):
        raise ConfigError(f"{setting}: {path} holds a PEM certificate that cannot be decoded") from None


def _read(path: Path, setting: str, kind: bytes) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}") from None
    if not data.strip():
        raise ConfigError(f"{setting}: {path} is empty")
    if b"-----BEGIN" not in data or kind not in data:
        raise ConfigError(f"{setting}: {path} holds no PEM {kind.decode().lower()}")
    return data


def chain_end(pem: bytes) -> float:
    """When the first certificate of a chain is over, in seconds since the epoch.

    Raises:
        ValueError: there is none, or one that cannot be read.
    """
    # A daemon without TLS need not load OpenSSL a second time.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.utils import CryptographyDeprecationWarning  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            # Serial numbers of 0 and the like are old, not wrong: OpenSSL serves them.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            # Block by block: what stands beside the certificates, a key for one, is not read.
            return min(x509.load_pem_x509_certificate(b).not_valid_after_utc.timestamp() for b in _PEM.findall(pem))
    except x509.InvalidVersion as error:
        raise ValueError("a certificate of an unknown version") from error
