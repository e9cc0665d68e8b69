"""An engine behind TLS whose CA is one's own, and one that wants to know who asks."""

import json
import ssl

import pytest
from support.certificates import make_certificates
from support.fake_engine import post, run

from rankd.cli import main
from rankd.errors import ConfigError

BODY = {"prompt": "a short answer"}


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A CA, certificates, and files that are none."""
    return make_certificates(tmp_path_factory.mktemp("pki"))


def served_with(pki, name="server", *, asks=False):
    """TLS of an engine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki / "ca.pem")
    return context


def test_an_engine_with_a_private_ca_is_found_and_served(start_engine, start_proxy, pki):
    """By that CA alone: the file is all that it takes."""
    upstream = start_engine(tls=served_with(pki))
    proxy = start_proxy(upstream, upstream_ca=str(pki / "ca.pem"))
    assert run(post(proxy.port, BODY))[0] == 200
    assert upstream.seen[-1].priority > 1e12
    assert proxy.counts() == {"ranked": 1}


def test_an_engine_that_asks_for_a_certificate_gets_it(start_engine, start_proxy, pki):
    """And serves nobody without."""
    upstream = start_engine(tls=served_with(pki, asks=True))
    ca = {"upstream_ca": str(pki / "ca.pem")}
    mine = {"upstream_certificate": str(pki / "client.pem"), "upstream_private_key": str(pki / "client.key")}
    assert run(post(start_proxy(upstream, **ca, **mine).port, BODY))[0] == 200
    assert run(post(start_proxy(upstream, **ca).port, BODY))[0] == 502
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("name", ["server", "other"])
def test_an_engine_that_is_not_trusted_is_not_asked(start_engine, start_proxy, pki, capfd, name):
    """By another's CA, or under another's name: the log names the remedy, and clients get a 502."""
    upstream = start_engine(tls=served_with(pki, name))
    proxy = start_proxy(upstream, **({"upstream_ca": str(pki / "ca.pem")} if name == "other" else {}))
    status, _, body = run(post(proxy.port, BODY))
    assert (status, json.loads(body)["error"]["code"]) == (502, "upstream_unreachable")
    assert "name its CA by RANKD_PROXY_UPSTREAM_CA" in "".join(capfd.readouterr())
    assert not upstream.seen


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"upstream_ca": "junk.pem"}, "RANKD_PROXY_UPSTREAM_CA: there is no certificate in PEM"),
        ({"upstream_ca": "missing.pem"}, "RANKD_PROXY_UPSTREAM_CA: cannot be read: No such file"),
        ({"upstream_ca": "empty"}, "RANKD_PROXY_UPSTREAM_CA: there is no certificate in PEM"),
        ({"upstream_certificate": "client.pem"}, "there is no certificate in PEM with its unencrypted key"),
        (
            {"upstream_certificate": "client.pem", "upstream_private_key": "server.key"},
            "no certificate in PEM with its",
        ),
        ({"upstream_certificate": "server.pem", "upstream_private_key": "encrypted.key"}, "with its unencrypted key"),
        ({"upstream_private_key": "client.key"}, "UPSTREAM_PRIVATE_KEY needs RANKD_PROXY_UPSTREAM_CERTIFICATE"),
    ],
)
def test_files_that_cannot_be_used_are_named(start_proxy, pki, settings, said):
    """With what is wrong with them; nobody is asked for a password."""
    with pytest.raises(ConfigError, match=said):
        start_proxy("https://127.0.0.1:9", **{name: str(pki / file) for name, file in settings.items()})


def test_a_ca_for_an_engine_without_tls_is_refused(capsys):
    """The URL is wrong then, or the setting."""
    assert main(["proxy", "--upstream", "http://x", "--upstream-ca", "ca.pem"]) == 2
    assert "are of no use without https:// in --upstream" in capsys.readouterr().err
