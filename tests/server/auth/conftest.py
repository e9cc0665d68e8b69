"""Certificates for tests of TLS and of who may call."""

import pytest
from support.certificates import make_certificates


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    """A directory with a CA, a server and a client certificate."""
    return make_certificates(tmp_path_factory.mktemp("pki"))
