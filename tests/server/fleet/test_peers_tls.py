"""Peers behind TLS and mutual TLS."""

import subprocess
import time

import pytest
from support.ports import free_ports

from rankd.errors import ConfigError


def openssl(arguments, cwd):
    subprocess.run(["openssl", *arguments.split()], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """A CA, and a certificate that all replicas share: for a name, not for addresses."""
    d = tmp_path_factory.mktemp("pki")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl(f"req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2", d)
    openssl(f"req {key} -keyout rankd.key -out rankd.csr -subj /CN=rankd", d)
    (d / "san").write_text("subjectAltName=DNS:rankd-headless")
    openssl("x509 -req -in rankd.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out rankd.pem -days 2 -extfile san", d)
    return d


@pytest.mark.parametrize("mutual", [False, True])
def test_replicas_hear_each_other_over_tls(start_daemon, wait_until, pki, mutual):
    """By the roots and the name that the certificates carry; with mutual TLS each shows its own certificate."""
    ports = free_ports(2)
    tls = {"certificate": pki / "rankd.pem", "private_key": pki / "rankd.key"}
    if mutual:
        tls["client_ca"] = pki / "ca.pem"
    fleet = {
        "peers": ",".join(f"127.0.0.1:{p}" for p in ports),
        "every": 0.25,
        "forget_after": 1.0,
        "tls_roots": pki / "ca.pem",
        "tls_name": "rankd-headless",
    }
    daemons = [start_daemon(listen=f"127.0.0.1:{p}", tls=tls, fleet=fleet) for p in ports]
    wait_until(lambda: [d.app.follower.replicas for d in daemons] == [2, 2], what="both hearing each other")


def test_a_peer_with_another_certificate_is_not_heard(start_daemon, wait_until, pki, tmp_path):
    """Whoever is at a peer's address must be it."""
    other = tmp_path / "other"
    other.mkdir()
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=other -days 2", other)
    ports = free_ports(2)
    tls = {"certificate": pki / "rankd.pem", "private_key": pki / "rankd.key"}
    one = start_daemon(listen=f"127.0.0.1:{ports[0]}", tls=tls)
    fleet = {"every": 0.25, "forget_after": 1.0, "tls_name": "rankd-headless", "peers": f"127.0.0.1:{ports[0]}"}
    two = start_daemon(listen=f"127.0.0.1:{ports[1]}", tls=tls, fleet=fleet | {"tls_roots": other / "ca.pem"})
    good = start_daemon(fleet=fleet | {"tls_roots": pki / "ca.pem"})
    wait_until(lambda: good.app.follower.replicas == 2, what="the one with the right roots hearing it")
    assert two.app.follower.replicas == 1
    assert one.app.follower.replicas == 1


def test_a_file_that_is_not_there_is_refused_with_the_remedy(start_daemon, tmp_path):
    """Else a fleet would be silent for a typing error."""
    with pytest.raises(ConfigError, match=r"fleet\.tls_roots: .* is no file: mount it"):
        start_daemon(fleet={"peers": "127.0.0.1:1", "tls_roots": tmp_path / "gone.pem"})


def test_a_replica_that_can_ask_nobody_decides_by_itself_again(start_daemon, wait_until, pki, tmp_path):
    """Its roots are gone, and so is its peer: its guard must not stand still for ever on what a lost leader said."""
    roots = tmp_path / "roots.pem"
    roots.write_bytes((pki / "ca.pem").read_bytes())
    ports = free_ports(2)
    tls = {"certificate": pki / "rankd.pem", "private_key": pki / "rankd.key"}
    fleet = {"every": 0.25, "forget_after": 1.0, "tls_roots": roots, "tls_name": "rankd-headless"}
    fleet["peers"] = ",".join(f"127.0.0.1:{p}" for p in ports)
    first, second = (start_daemon(listen=f"127.0.0.1:{p}", tls=tls, fleet=fleet) for p in ports)
    version = first.app.registry.in_service.version
    window = second.call(second.app.monitor.open_window, "m", version, time.time())
    first.call(first.app.monitor.open_window, "m", version, time.time())
    wait_until(lambda: window.fleet is not None and window.fleet.decides, what="the second following")
    roots.unlink()
    first.stop()
    wait_until(lambda: not window.fleet.decides, what="the second deciding by itself")
    assert window.fleet.peers == 0


def test_a_peer_that_refuses_is_told_of_once(start_daemon, wait_until, tmp_path, capfd):
    """Else a fleet whose token is wrong would be none, and nothing would say so."""
    token = tmp_path / "token"
    token.write_text("not-a-token-of-anybody")
    auth = tmp_path / "auth.toml"
    auth.write_text(f'[[token]]\nname = "x"\nsha256 = "{"0" * 64}"\nroles = ["quality"]\n')
    peer = start_daemon(auth={"file": auth})
    fleet = {"every": 0.1, "forget_after": 1.0, "peers": peer.target, "token_file": token}
    start_daemon(fleet=fleet)
    said = []

    def refusals():
        said.extend(capfd.readouterr())
        return "".join(said).count("peer_refuses")

    wait_until(refusals, what="the refusal")
    time.sleep(1.0)
    assert refusals() == 1
