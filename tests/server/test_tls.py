"""TLS and mutual TLS by files."""

import subprocess

import grpc
import pytest
from rankd_client import RankClient, TlsConfig
from wire import item, rank_stub, request

from rankd.errors import ConfigError


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A CA with a server and a client certificate, made by openssl."""
    d = tmp_path_factory.mktemp("pki")
    openssl(
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "ca.key",
        "-out",
        "ca.pem",
        "-subj",
        "/CN=ca",
        "-days",
        "2",
        cwd=d,
    )
    (d / "san").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name in ("server", "client"):
        openssl(
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.csr",
            "-subj",
            f"/CN={name}",
            cwd=d,
        )
        openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", f"{name}.pem", "-days", "2", "-extfile", "san", cwd=d,
        )  # fmt: skip
    return d


def settings(pki, **more):
    return {"certificate": pki / "server.pem", "private_key": pki / "server.key", **more}


def test_tls(start_daemon, pki):
    """With a certificate the daemon speaks TLS; plaintext gets nowhere; the client library connects."""
    daemon = start_daemon(tls=settings(pki))
    with RankClient(daemon.target, timeout=5, tls=TlsConfig((pki / "ca.pem").read_bytes())) as client:
        assert not client.rank(["long", "short"]).failed
    with RankClient(daemon.target, timeout=1) as plain:
        assert plain.rank(["long", "short"]).failed


def test_mutual_tls(start_daemon, pki):
    """With a client CA only clients with a certificate of it are served."""
    daemon = start_daemon(tls=settings(pki, client_ca=pki / "ca.pem"))
    roots = (pki / "ca.pem").read_bytes()
    with RankClient(daemon.target, timeout=2, tls=TlsConfig(roots)) as nobody:
        assert nobody.rank(["long"]).failed
    known = grpc.ssl_channel_credentials(roots, (pki / "client.key").read_bytes(), (pki / "client.pem").read_bytes())
    with grpc.secure_channel(daemon.target, known) as channel:
        assert len(rank_stub(channel).Rank(request(item("a", "w1")), timeout=5).items) == 1


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"certificate": "none.pem"}, "tls.certificate: .*none.pem cannot be read"),
        ({"private_key": "server.pem"}, "tls.private_key: .* holds no PEM private key"),
        ({"client_ca": "server.key"}, "tls.client_ca: .* holds no PEM certificate"),
    ],
)
def test_wrong_files_name_setting_and_file(start_daemon, pki, broken, words):
    """The operator reads which setting names which wrong file."""
    wrong = settings(pki) | {k: pki / v for k, v in broken.items()}
    with pytest.raises(ConfigError, match=words):
        start_daemon(tls=wrong)
