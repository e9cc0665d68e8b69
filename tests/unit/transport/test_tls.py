"""When a chain of certificates is over."""

import warnings
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rankd.transport.tls import chain_end

BROKEN = b"-----BEGIN EC PRIVATE KEY-----\nbm8ga2V5\n-----END EC PRIVATE KEY-----\n"


def certificate(end):
    """A certificate in PEM that is over at ``end``."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(end)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("year", [2049, 2050, 2120])
def test_the_first_that_is_over_counts(year):
    """Whichever place it has in the chain, in either notation of time."""
    early, late = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC), datetime(year, 1, 1, tzinfo=UTC)
    assert chain_end(certificate(late)) == late.timestamp()
    assert chain_end(certificate(late) + certificate(early)) == chain_end(certificate(early) + certificate(late))
    assert chain_end(certificate(late) + certificate(early)) == early.timestamp()


def test_what_stands_beside_it_is_not_read():
    """A key in the same file, even a broken one, hides no certificate's end; nothing is warned of."""
    end = datetime(2031, 1, 1, tzinfo=UTC)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chain_end(BROKEN + b"a comment\n" + certificate(end) + BROKEN) == end.timestamp()


CUT = certificate(datetime(2031, 1, 1, tzinfo=UTC))[:90]


@pytest.mark.parametrize("pem", [b"", b"no certificate", BROKEN, CUT], ids=["empty", "no PEM", "a key", "cut"])
def test_none_that_can_be_read_is_an_error(pem):
    """Which whoever asks takes for "not known"."""
    with pytest.raises(ValueError):  # noqa: PT011 - of several libraries
        chain_end(pem)
