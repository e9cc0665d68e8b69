"""Certificates that openssl makes, and the settings to serve with them."""

import subprocess


def openssl(*arguments, cwd):
    """Run openssl in a directory."""
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


def tls_settings(pki, **more):
    """The section ``tls``, with the server's certificate of ``make_certificates``."""
    return {"certificate": pki / "server.pem", "private_key": pki / "server.key", **more}


def make_certificates(d):
    """A CA with a server and a client certificate, made by openssl in a directory."""
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
