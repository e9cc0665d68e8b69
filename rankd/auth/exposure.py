"""Refuses to start where anybody could call, or read a token on its way, and nobody said that this is wanted."""

from __future__ import annotations

import ipaddress

from rankd.errors import ConfigError
from rankd.settings import Settings, peer_targets, split_address


def check_exposure(settings: Settings, *, tokens: bool) -> None:
    """Look at every gRPC listener.

    Args:
        settings: the settings.
        tokens: whether callers show tokens.

    Raises:
        ConfigError: naming the listener, the setting and the remedy.
    """
    auth, tls = settings.auth, settings.tls
    known = auth.file is not None or tls.client_ca is not None
    if auth.anonymous is False and not known:
        raise ConfigError(
            "auth.anonymous (RANKD_AUTH__ANONYMOUS): is false, but nothing says who may call: name them in auth.file, "
            "or set tls.client_ca"
        )
    for name in ("listen", "admin"):
        address = getattr(settings, name)
        if not address or on_loopback(address):
            continue
        if not known and auth.anonymous is not True:
            raise ConfigError(
                f"{name} (RANKD_{name.upper()}): {address} is not on loopback, and nothing says who may call: name "
                "them in auth.file, set tls.client_ca, or let anybody call by auth.anonymous = true "
                "(RANKD_AUTH__ANONYMOUS)"
            )
        if tokens and tls.certificate is None and not auth.plaintext:
            raise ConfigError(
                f"{name} (RANKD_{name.upper()}): {address} is not on loopback, and tokens would pass in the clear: set "
                "tls.certificate and tls.private_key, or, where a mesh or a proxy speaks TLS for this daemon, "
                "auth.plaintext = true (RANKD_AUTH__PLAINTEXT)"
            )
    fleet = settings.fleet
    if fleet.token_file is not None and fleet.tls_roots is None and not auth.plaintext:
        for host, port in peer_targets(fleet.peers)[1]:
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            if not on_loopback(address):
                raise ConfigError(
                    f"fleet.token_file (RANKD_FLEET__TOKEN_FILE): {address} is not on loopback, and the token would "
                    "pass in the clear: set fleet.tls_roots, or, where a mesh speaks TLS for this daemon, "
                    "auth.plaintext = true (RANKD_AUTH__PLAINTEXT)"
                )


def on_loopback(address: str) -> bool:
    """Whether only this machine can reach HOST:PORT. Of names, this is assumed of localhost alone."""
    host = split_address(address)[0]
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
