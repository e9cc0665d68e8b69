"""TLS and mutual TLS by files."""

import shutil
import socket
import ssl
import subprocess
import warnings
from urllib.request import urlopen

import grpc
import pytest
from rankd_client import RankClient, TlsConfig
from support.certificates import openssl, tls_settings
from support.wire import item, rank_stub, request

from rankd.errors import ConfigError


def test_tls(start_daemon, pki):
    """With a certificate the daemon speaks TLS; plaintext gets nowhere; the client library connects."""
    daemon = start_daemon(tls=tls_settings(pki))
    with RankClient(daemon.target, timeout=30, tls=TlsConfig((pki / "ca.pem").read_bytes())) as client:
        assert not client.rank(["long", "short"]).failed
    with RankClient(daemon.target, timeout=1) as plain:
        assert plain.rank(["long", "short"]).failed


def test_mutual_tls(start_daemon, pki):
    """With a client CA only clients with a certificate of it are served."""
    daemon = start_daemon(tls=tls_settings(pki, client_ca=pki / "ca.pem"))
    roots = (pki / "ca.pem").read_bytes()
    with RankClient(daemon.target, timeout=2, tls=TlsConfig(roots)) as nobody:
        assert nobody.rank(["long"]).failed
    known = grpc.ssl_channel_credentials(roots, (pki / "client.key").read_bytes(), (pki / "client.pem").read_bytes())
    with grpc.secure_channel(daemon.target, known) as channel:
        assert len(rank_stub(channel).Rank(request(item("a", "w1")), timeout=30).items) == 1


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
    wrong = tls_settings(pki) | {k: pki / v for k, v in broken.items()}
    with pytest.raises(ConfigError, match=words):
        start_daemon(tls=wrong)


def test_rates_are_by_client_certificate(start_daemon, pki):
    """Under mutual TLS a caller is who its certificate says, not the address that it may share with others."""
    daemon = start_daemon(
        tls=tls_settings(pki, client_ca=pki / "ca.pem"), limits={"calls_per_second": 0.001, "call_burst": 1}
    )

    def served(name):
        files = [(pki / f).read_bytes() for f in ("ca.pem", f"{name}.key", f"{name}.pem")]
        with grpc.secure_channel(daemon.target, grpc.ssl_channel_credentials(*files)) as channel:
            try:
                return len(rank_stub(channel).Rank(request(item("a", "w1")), timeout=30).items) == 1
            except grpc.RpcError as error:
                assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                return False

    assert [served(name) for name in ("client", "client", "other", "other")] == [True, False, True, False]


def served_certificate(daemon):
    return ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", daemon.app.public.port), timeout=30))


def test_certificates_are_renewed_in_place(start_daemon, pki, tmp_path):
    """New connections get the new certificate once both its files are there; until then the old one is kept."""
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    shutil.copy(pki / "server.pem", certificate)
    shutil.copy(pki / "server.key", key)
    daemon = start_daemon(tls={"certificate": certificate, "private_key": key})
    old, new = (ssl.PEM_cert_to_DER_cert((pki / f"{name}.pem").read_text()) for name in ("server", "client"))
    assert served_certificate(daemon) == old
    with grpc.secure_channel(daemon.target, grpc.ssl_channel_credentials((pki / "ca.pem").read_bytes())) as channel:
        assert rank_stub(channel).Rank(request(item("a", "w1")), timeout=30).items
        shutil.copy(pki / "client.pem", certificate)
        for _ in range(2):
            assert served_certificate(daemon) == old, "its key is not there yet"
        shutil.copy(pki / "client.key", key)
        assert served_certificate(daemon) == new
        certificate.unlink()
        assert served_certificate(daemon) == new
        assert rank_stub(channel).Rank(request(item("a", "w1")), timeout=30).items, "connections go on"


def seconds_of(pem):
    """When a certificate is over, as openssl tells it."""
    told = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-in", pem], check=True, capture_output=True).stdout
    return ssl.cert_time_to_seconds(told.decode().strip().removeprefix("notAfter="))


def test_the_certificates_end_is_a_metric(start_daemon, wait_until, pki, tmp_path):
    """As openssl tells it, of the first that is over; it follows a renewal, and outlives a broken file."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "long.key", "-out", "long.pem", "-subj",
            "/CN=l", "-days", "20000", cwd=tmp_path)  # fmt: skip
    certificate = tmp_path / "tls.pem"
    certificate.write_bytes((tmp_path / "long.pem").read_bytes() + (pki / "server.pem").read_bytes())
    daemon = start_daemon(tls={"certificate": certificate, "private_key": tmp_path / "long.key"})

    def told(name="rankd_tls_certificate_expiry_seconds{"):
        text = urlopen(daemon.http + "/metrics").read().decode()
        return [float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)]

    assert told() == [seconds_of(pki / "server.pem")]
    certificate.write_bytes((tmp_path / "long.pem").read_bytes())
    wait_until(lambda: told() == [seconds_of(tmp_path / "long.pem")], what="the new one")
    assert told()[0] > 2**31, "beyond 2050 a certificate tells its time in another form"
    certificate.write_bytes((pki / "junk.pem").read_bytes())
    wait_until(lambda: told("rankd_file_failing{") == [1.0], what="the alarm")
    assert told() == [seconds_of(tmp_path / "long.pem")]


def test_without_tls_there_is_no_end(daemon):
    """No sample, rather than one that an alert would take for a certificate that is over."""
    assert "rankd_tls_certificate_expiry_seconds{" not in urlopen(daemon.http + "/metrics").read().decode()


@pytest.mark.parametrize(
    ("version", "served"),
    [
        (ssl.TLSVersion.TLSv1, False),
        (ssl.TLSVersion.TLSv1_1, False),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
def test_old_tls_is_refused(start_daemon, pki, version, served):
    """The daemon itself declines what is older than TLS 1.2, whatever the client would put up with."""
    daemon = start_daemon(tls=tls_settings(pki))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", daemon.app.public.port), timeout=30) as plain:
        if served:
            with context.wrap_socket(plain) as secure:
                assert secure.selected_alpn_protocol() == "h2"
        else:
            # The daemon hangs up; a client that declined by itself would say so otherwise.
            with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
                context.wrap_socket(plain)


def test_a_certificate_of_another_authority_is_refused(start_daemon, pki, tmp_path):
    """Under mutual TLS a client's certificate must chain to tls.client_ca, whatever name it has."""
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "evil.key", "-out", "evil.pem", "-subj",
            "/CN=client", "-days", "2", cwd=tmp_path)  # fmt: skip
    daemon = start_daemon(tls=tls_settings(pki, client_ca=pki / "ca.pem"))
    files = [(pki / "ca.pem").read_bytes(), (tmp_path / "evil.key").read_bytes(), (tmp_path / "evil.pem").read_bytes()]
    evil = grpc.ssl_channel_credentials(*files)
    with grpc.secure_channel(daemon.target, evil) as channel, pytest.raises(grpc.RpcError) as raised:
        rank_stub(channel).Rank(request(item("a", "w1")), timeout=30)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
