"""Server credentials from files. Errors name the setting and the file."""

from __future__ import annotations

from pathlib import Path

import grpc

from rankd.config import Tls
from rankd.errors import ConfigError


def server_credentials(tls: Tls) -> grpc.ServerCredentials | None:
    """Credentials for a listener; None for plaintext. Mutual TLS where ``client_ca`` is set.

    The files are read again for new connections after they changed, so that certificates can be renewed in place.

    Raises:
        ConfigError: a file is missing, empty or no PEM.
    """
    if tls.certificate is None or tls.private_key is None:
        return None
    # Both are read once here, so that a wrong file is an error at start.
    first = _configuration(tls)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        try:
            return _configuration(tls)
        except ConfigError:
            return None  # a renewal under way; keep what there is

    return grpc.dynamic_ssl_server_credentials(first, fetch, require_client_authentication=tls.client_ca is not None)


def _configuration(tls: Tls) -> grpc.ServerCertificateConfiguration:
    certificate = _read(tls.certificate, "tls.certificate", b"CERTIFICATE")
    key = _read(tls.private_key, "tls.private_key", b"PRIVATE KEY")
    roots = _read(tls.client_ca, "tls.client_ca", b"CERTIFICATE") if tls.client_ca is not None else None
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=roots)


def _read(path: Path | None, setting: str, kind: bytes) -> bytes:
    assert path is not None
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}") from None
    if b"-----BEGIN" not in data or kind not in data:
        raise ConfigError(f"{setting}: {path} holds no PEM {kind.decode().lower()}")
    return data
