"""Server credentials from files. Errors name the setting and the file."""

from __future__ import annotations

import re
import ssl
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc

from rankd.auth import Contents, ReloadingFile, read_secret
from rankd.errors import ConfigError
from rankd.settings import TlsSection

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Served:
    """What new connections get."""

    configuration: grpc.ServerCertificateConfiguration
    end: float | None
    """When the certificate is over, in seconds since the epoch; None where that cannot be read."""


class ServerCertificates:
    """The certificate files of all listeners: followed, so that certificates can be renewed in place."""

    def __init__(self, tls: TlsSection) -> None:
        """Read the files, where there are any.

        Raises:
            ConfigError: a file is missing, unreadable, empty or no PEM, or certificate and key do not belong together.
        """
        self._mutual = tls.client_ca is not None
        self.file: ReloadingFile[_Served] | None = None
        """What is followed; None for plaintext."""
        if tls.certificate is None or tls.private_key is None:
            return
        paths = {"tls.certificate": tls.certificate, "tls.private_key": tls.private_key}
        if tls.client_ca is not None:
            paths["tls.client_ca"] = tls.client_ca
        self.file = ReloadingFile(
            "tls.certificate",
            paths,
            partial(_served, paths),
            # A key proves its certificate whole, and less than all of the roots lets in nobody more.
            settle=False,
            of_secrets=False,
        )

    def end(self) -> float | None:
        """When the certificate that is served is over, in seconds since the epoch; None without TLS."""
        return None if self.file is None else self.file.current.end

    def credentials(self) -> grpc.ServerCredentials | None:
        """Credentials for one listener; None for plaintext. Mutual TLS where ``client_ca`` is set.

        New connections get what the files hold then; connections that are open go on.
        """
        if self.file is None:
            return None
        file, given = self.file, [self.file.current]

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            """What is new; None where it is as before. grpc asks before every handshake, in threads of its own."""
            file.look()
            current = file.current
            if current is given[0]:
                return None
            given[0] = current
            return current.configuration

        return grpc.dynamic_ssl_server_credentials(
            given[0].configuration, fetch, require_client_authentication=self._mutual
        )


def _served(paths: Mapping[str, Path], contents: Contents) -> _Served:
    """Check what the files hold."""
    for setting, kind in (("tls.certificate", b"CERTIFICATE"), ("tls.private_key", b"PRIVATE KEY")):
        _check_pem(contents[setting], paths[setting], setting, kind)
    certificate, key = paths["tls.certificate"], paths["tls.private_key"]
    # grpc would say no more than that it cannot bind.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _check_roots(context, contents["tls.certificate"], certificate, "tls.certificate")
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _EncryptedError:
        raise ConfigError(f"tls.private_key: {key} is encrypted; give a key without a password") from None
    except (ssl.SSLError, OSError):
        raise ConfigError(
            f"tls.private_key: {key} is no readable key, or not the one of {certificate} (tls.certificate)"
        ) from None
    for setting in ("tls.certificate", "tls.private_key"):
        # OpenSSL reads the files by itself.
        if read_secret(paths[setting], setting) != contents[setting]:
            raise ConfigError(f"{setting}: {paths[setting]} is being written")
    roots = contents.get("tls.client_ca")
    if roots is not None:
        check_roots(roots, paths["tls.client_ca"], "tls.client_ca")
    pair = contents["tls.private_key"], contents["tls.certificate"]
    configuration = grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)
    try:
        return _Served(configuration, chain_end(contents["tls.certificate"]))
    except ValueError:
        return _Served(configuration, None)


class _EncryptedError(Exception):
    """The key needs a password; OpenSSL would ask for it on the terminal."""


def _no_password() -> bytes:
    raise _EncryptedError


def check_roots(pem: bytes, path: Path, setting: str) -> None:
    """Check that a file of roots holds some; ``path`` is for the error's text.

    Raises:
        ConfigError: it is empty, no PEM, or holds a certificate that cannot be decoded.
    """
    _check_pem(pem, path, setting, b"CERTIFICATE")
    _check_roots(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), pem, path, setting)


def _check_roots(context: ssl.SSLContext, pem: bytes, path: Path, setting: str) -> None:
    try:
        # What is not ASCII stands in comments.
        context.load_verify_locations(cadata=pem.decode("ascii", "replace").encode("ascii", "replace").decode())
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{setting}: {path} holds a PEM certificate that cannot be decoded") from None


def _check_pem(data: bytes, path: Path, setting: str, kind: bytes) -> None:
    if not data.strip():
        raise ConfigError(f"{setting}: {path} is empty")
    if b"-----BEGIN" not in data or kind not in data:
        raise ConfigError(f"{setting}: {path} holds no PEM {kind.decode().lower()}")


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
