"""TLS and mutual TLS by files."""

import shutil
import ssl
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
    (d / "san-other").write_text("subjectAltName=DNS:other")
    for name, san in (("server", "san"), ("client", "san"), ("other", "san-other")):
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
            "-out", f"{name}.pem", "-days", "2", "-extfile", san, cwd=d,
        )  # fmt: skip
    openssl("rsa", "-aes256", "-passout", "pass:x", "-in", "server.key", "-out", "encrypted.key", cwd=d)
    (d / "empty").write_text("")
    (d / "junk.pem").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
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
        ({"certificate": "empty"}, "tls.certificate: .*empty is empty"),
        ({"certificate": "."}, "tls.certificate: .* cannot be read: Is a directory"),
        ({"certificate": "junk.pem"}, "tls.certificate: .*junk.pem holds a PEM certificate that cannot be decoded"),
        ({"client_ca": "junk.pem"}, "tls.client_ca: .*junk.pem holds a PEM certificate that cannot be decoded"),
        ({"private_key": "client.key"}, "tls.private_key: .*client.key is no readable key, or not the one of .*server"),
        ({"private_key": "encrypted.key"}, "tls.private_key: .*encrypted.key is encrypted"),
    ],
)
def test_wrong_files_name_setting_and_file(start_daemon, pki, broken, words):
    """The operator reads which setting names which wrong file, and OpenSSL asks for no password."""
    wrong = settings(pki) | {k: pki / v for k, v in broken.items()}
    with pytest.raises(ConfigError, match=words):
        start_daemon(tls=wrong)


def test_rates_are_by_client_certificate(start_daemon, pki):
    """Under mutual TLS a caller is who its certificate says, not the address that it may share with others."""
    daemon = start_daemon(
        tls=settings(pki, client_ca=pki / "ca.pem"), limits={"calls_per_second": 0.001, "call_burst": 1}
    )

    def served(name):
        files = [(pki / f).read_bytes() for f in ("ca.pem", f"{name}.key", f"{name}.pem")]
        with grpc.secure_channel(daemon.target, grpc.ssl_channel_credentials(*files)) as channel:
            try:
                return len(rank_stub(channel).Rank(request(item("a", "w1")), timeout=5).items) == 1
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                return False

    assert [served(name) for name in ("client", "client", "other", "other")] == [True, False, True, False]


def served_certificate(daemon):
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", daemon.app.public.port), timeout=5))


def test_certificates_are_renewed_in_place(start_daemon, pki, tmp_path):
    """New connections get the new certificate once both its files are there; until then the old one is kept."""
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    shutil.copy(pki / "server.pem", certificate)
    shutil.copy(pki / "server.key", key)
    daemon = start_daemon(tls={"certificate": certificate, "private_key": key})
    old, new = (ssl.PEM_cert_to_DER_cert((pki / f"{name}.pem").read_text()) for name in ("server", "client"))
    assert served_certificate(daemon) == old
    with grpc.secure_channel(daemon.target, grpc.ssl_channel_credentials((pki / "ca.pem").read_bytes())) as channel:
        assert rank_stub(channel).Rank(request(item("a", "w1")), timeout=5).items
        shutil.copy(pki / "client.pem", certificate)
        for _ in range(2):
            assert served_certificate(daemon) == old, "its key is not there yet"
        shutil.copy(pki / "client.key", key)
        assert served_certificate(daemon) == new
        certificate.unlink()
        assert served_certificate(daemon) == new
        assert rank_stub(channel).Rank(request(item("a", "w1")), timeout=5).items, "connections go on"
