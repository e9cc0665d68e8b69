"""TLS to the engine: whose certificates are trusted, and what the proxy shows of itself."""

from __future__ import annotations

import ssl

import aiohttp

from rankd.errors import ConfigError
from rankd.proxy.settings import ProxySettings

_PLACES = {
    "upstream_ca": "RANKD_PROXY_UPSTREAM_CA",
    "upstream_certificate": "RANKD_PROXY_UPSTREAM_CERTIFICATE, RANKD_PROXY_UPSTREAM_PRIVATE_KEY",
}


def upstream_tls(settings: ProxySettings) -> ssl.SSLContext | bool:
    """What connections to the engine are made with; True is aiohttp's own, which trusts the system's CAs.

    Raises:
        ConfigError: a file cannot be read, or is none of its kind; the message names the setting.
    """
    if not settings.upstream_ca and not settings.upstream_certificate:
        return True
    place = "upstream_ca"
    try:
        context = ssl.create_default_context(cafile=settings.upstream_ca or None)
        place = "upstream_certificate"
        if settings.upstream_certificate:
            context.load_cert_chain(
                settings.upstream_certificate, settings.upstream_private_key or None, password=_no_password
            )
    except ssl.SSLError:
        kind = "no certificate in PEM" if place == "upstream_ca" else "no certificate in PEM with its unencrypted key"
        raise ConfigError(f"{_PLACES[place]}: there is {kind}") from None
    except OSError as error:
        raise ConfigError(f"{_PLACES[place]}: cannot be read: {error.strerror}") from None
    return context


def _no_password() -> str:
    """Instead of OpenSSL's question at the terminal."""
    return ""


def trust_remedy(error: BaseException) -> str:
    """What to do where the engine cannot be reached because it is not trusted; else empty."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted, or for another name: name its CA by RANKD_PROXY_UPSTREAM_CA"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "it speaks no TLS, or wants a certificate: RANKD_PROXY_UPSTREAM_CERTIFICATE"
    return ""
