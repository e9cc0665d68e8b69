"""auth.file, signing.file and who may reach a listener: what is wrong is named, and nothing secret is told."""

import hashlib
import hmac
import io
import logging
import subprocess
import sys
import time
import tomllib

import pytest
import structlog

from rankd.auth import (
    Credential,
    ReloadingFile,
    Role,
    check_exposure,
    digest_of,
    parse_credentials,
    read_credentials,
    read_keys,
)
from rankd.auth import credentials as book
from rankd.auth.exposure import on_loopback
from rankd.errors import ConfigError
from rankd.settings import load_settings
from rankd.telemetry.logs import configure_logs

SECRET = "sesame-token-0123456789"
HASH = hashlib.sha256(SECRET.encode()).hexdigest()
KEY = "c2VzYW1lLXRva2VuLTAxMjM0NTY3ODktMDEyMzQ1Njc4OQ=="
GOOD = f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nroles = ["rank"]\n'


@pytest.fixture
def file(tmp_path):
    """Writes a file."""

    def write(text):
        path = tmp_path / "secrets.toml"
        path.write_text(text)
        return path

    return write


def test_a_file_is_read_whole(file):
    """Tokens in clear and by hash, names of certificates, quotas, ends, and several tokens under one name."""
    read = read_credentials(
        file(
            f'{GOOD}tenant = "t"\nexpires = 2027-01-01T00:00:00Z\ncalls_per_second = 5.0\ncall_burst = 7\n'
            f'[[token]]\nname = "a"\ntoken = "another-{SECRET}"\nroles = ["admin", "report"]\n'
            '[[certificate]]\nname = "spiffe://x/y"\nroles = ["quality"]\n'
            '[[tenant]]\nname = "t"\ncalls_per_second = 100\n'
        ),
        verified=True,
    )
    first, second = read.token(digest_of(SECRET)), read.token(digest_of(f"another-{SECRET}"))
    assert (first.tenant, first.roles, first.expires) == ("t", {Role.RANK}, 1798761600.0)
    assert (first.quota.per_second, first.quota.burst, first.key) == (5.0, 7, second.key)
    assert (second.roles, second.tenant, second.quota) == ({Role.ADMIN, Role.REPORT}, "", None)
    assert read.certificate(["other", "spiffe://x/y"]).roles == {Role.QUALITY}
    assert read.certificate(["other"]) is None
    assert read.token(digest_of("nobody's")) is None
    assert (read.quota_of("t").per_second, read.quota_of("t").burst, read.quota_of("u")) == (100, 100, None)


WRONG = [
    ("[[token]", r"is not TOML \(at line 1"),
    ("x = " + "[" * 100_000, "is not TOML"),
    ("", r"has no \[\[token\]\] and no \[\[certificate\]\]"),
    (f'[token]\nname = "a"\nsha256 = "{HASH}"\nroles = ["rank"]', r"write \[\[token\]\] in double brackets"),
    (f'{GOOD}[[tokens]]\nname = "b"', r"a table that there is none of; it may have \[\[token\]\]"),
    (f'{GOOD}secret = "{SECRET}"', r"\[\[token\]\] number 1 \(a\): secret: there is no such field"),
    (f'[[token]]\nname = "a"\nsha256 = "{HASH}"', r"\(a\): roles: Field required"),
    (f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nroles = []', r"\(a\): roles: "),
    (f'[[token]]\nname = "a"\nsha256 = "{HASH}"\nroles = ["root"]', r"\(a\): roles.0: Input should be 'rank'"),
    (f'[[token]]\nname = ""\nsha256 = "{HASH}"\nroles = ["rank"]', "number 1.*: name: "),
    ('[[token]]\nname = "a"\nroles = ["rank"]', r"\(a\): give either sha256"),
    (f'{GOOD}token = "{SECRET}"', r"\(a\): give either sha256"),
    (f'[[token]]\nname = "a"\nsha256 = "{HASH[:-1]}"\nroles = ["rank"]', "sha256 must be 64 hexadecimal"),
    (f'[[token]]\nname = "a"\nsha256 = "{SECRET}"\nroles = ["rank"]', "sha256 must be 64 hexadecimal"),
    ('[[token]]\nname = "a"\ntoken = "sesame"\nroles = ["rank"]', "token must have at least 20 characters"),
    (f'[[token]]\nname = "a"\ntoken = "{SECRET} x"\nroles = ["rank"]', "letters, digits and"),
    (f"{GOOD}expires = 2027-01-01T00:00:00", r"\(a\): expires: Input should have timezone info"),
    (f"{GOOD}calls_per_second = -1", r"\(a\): calls_per_second: "),
    (f"{GOOD}call_burst = 0", r"\(a\): call_burst: "),
    (f'{GOOD}tenant = "{"ä" * 200}"', r"\(a\): tenant: must have at most 256 bytes"),
    (f'{GOOD}[[token]]\nname = "b"\ntoken = "{SECRET}"\nroles = ["rank"]', r"number 2 \(b\): has the same token"),
    (f'{GOOD}[[tenant]]\nname = "t"', r"\[\[tenant\]\] number 1 \(t\): calls_per_second: Field required"),
    ('[[certificate]]\nname = "c"\nroles = ["rank"]\n' * 2, r"number 2 \(c\): has the same name"),
]


@pytest.mark.parametrize(("text", "words"), WRONG)
def test_a_wrong_file_names_the_entry_and_nothing_secret(file, text, words):
    """File, entry, field and remedy; neither a token nor its hash, nor what stands in their place."""
    path = file(text)
    with pytest.raises(ConfigError, match=rf"auth.file: {path}.*{words}") as raised:
        read_credentials(path, verified=True)
    assert "sesame" not in str(raised.value)
    assert HASH[:16] not in str(raised.value)


def test_names_of_certificates_need_certificates(file):
    """Where none is asked for, an entry that can never match is an error and no silent refusal."""
    path = file('[[certificate]]\nname = "c"\nroles = ["rank"]\n')
    with pytest.raises(ConfigError, match=r"certificate.*set tls.client_ca"):
        read_credentials(path, verified=False)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"has no \[\[key\]\]"),
        ('[[key]]\nid = "k"\nsecret = "c2VzYW1l"', r"\(k\): secret: must be base64 of at least 32 bytes"),
        (f'[[key]]\nid = "k"\nsecret = "{SECRET}!"', "must be base64"),
        (f'[[key]]\nsecret = "{KEY}"', "number 1: id: Field required"),
        (f'[[key]]\nid = "k"\nsecret = "{KEY}"\n' * 2, r"number 2 \(k\): has the same id"),
        (f'[[key]]\nid = "k"\nsecret = "{KEY}"\nuse = 1', "use: there is no such field"),
    ],
)
def test_a_wrong_key_is_named_without_its_secret(file, text, words):
    """As with tokens."""
    path = file(text)
    with pytest.raises(ConfigError, match=rf"signing.file: {path}.*{words}") as raised:
        read_keys(path)
    assert not any(secret in str(raised.value) for secret in (KEY[:12], "c2VzYW1l", SECRET))


def test_files_that_cannot_be_read_are_named(tmp_path):
    """Missing, a directory, or no text."""
    for read in (lambda p: read_credentials(p, verified=False), read_keys):
        with pytest.raises(ConfigError, match=r"none\.toml cannot be read: No such file"):
            read(tmp_path / "none.toml")
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            read(tmp_path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_keys(tmp_path / "bytes")


@pytest.fixture
def log():
    """What is logged, until the test is over."""
    root = logging.getLogger()
    handlers, level, grpc_level = root.handlers[:], root.level, logging.getLogger("grpc").level
    before = structlog.get_config()
    stream = io.StringIO()
    configure_logs("info", "json", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("grpc").setLevel(grpc_level)
    structlog.configure(**before)


def test_a_broken_change_keeps_what_was_there_and_is_logged(file, log):
    """The log names setting, file and fault, once per change, and holds no secret."""
    path = file(GOOD)
    followed = ReloadingFile(
        "auth.file", {"auth.file": path}, lambda c: parse_credentials(c["auth.file"], path, verified=False)
    )
    good = followed.current
    for _ in range(3):
        followed.look()
    assert (followed.current, log.getvalue()) == (good, "")
    file(f'[[token]]\nname = "a"\ntoken = "{SECRET}"\nroles = ["root"]')
    for _ in range(3):
        followed.look()
    assert followed.current is good
    path.unlink()
    for _ in range(3):
        followed.look()
    assert followed.current is good
    file(GOOD.replace("rank", "admin"))
    for _ in range(2):
        followed.look()
    assert followed.current.token(digest_of(SECRET)).roles == {Role.ADMIN}
    lines = log.getvalue().splitlines()
    assert [("secrets_unusable" in line, "secrets_reloaded" in line) for line in lines] == [(1, 0), (1, 0), (0, 1)]
    assert '"setting": "auth.file"' in lines[0]
    assert "number 1 (a): roles" in lines[0]
    assert "sesame" not in log.getvalue()


def test_a_token_is_compared_by_digest_with_all_others(monkeypatch):
    """No way through the table ends early, and what is compared are digests of one length, in constant time."""
    seen = []

    def watched(one, other):
        seen.append((len(one), len(other)))
        return hmac.compare_digest(one, other)

    class Watched:
        compare_digest = staticmethod(watched)

    monkeypatch.setattr(book, "hmac", Watched)
    tokens = [Credential(f"t{n}", "", frozenset(), digest=digest_of(f"token-{n}")) for n in range(20)]
    table = book.Credentials(tokens, [], {})
    for guess in ("token-0", "token-19", "token-", "x", "", "token-0" * 1000):
        seen.clear()
        found = table.token(digest_of(guess))
        assert seen == [(32, 32)] * 20
        assert (found is not None) == (guess in ("token-0", "token-19"))


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        ("127.0.0.1:1", True), ("127.8.8.8:1", True), ("[::1]:1", True), ("localhost:1", True), ("LOCALHOST:1", True),
        ("0.0.0.0:1", False), ("[::]:1", False), ("10.0.0.1:1", False), ("rankd:1", False),
        ("[::ffff:10.0.0.1]:1", False), ("localhost.example.org:1", False),
    ],
)  # fmt: skip
def test_what_counts_as_loopback(address, loopback):
    """What only this machine can reach; of names only localhost."""
    assert on_loopback(address) is loopback


@pytest.mark.parametrize(
    ("settings", "tokens", "words"),
    [
        ({}, False, None),
        ({"listen": "0.0.0.0:1"}, False, r"listen \(RANKD_LISTEN\): 0.0.0.0:1 .*auth.file.*auth.anonymous = true"),
        ({"admin": "10.0.0.1:1"}, False, r"admin \(RANKD_ADMIN\): 10.0.0.1:1 is not on loopback"),
        ({"listen": "0.0.0.0:1", "auth": {"anonymous": True}}, False, None),
        ({"listen": "0.0.0.0:1", "auth": {"file": "f"}}, True, r"tls.certificate and tls.private_key.*auth.plaintext"),
        ({"listen": "0.0.0.0:1", "auth": {"file": "f", "plaintext": True}}, True, None),
        ({"listen": "0.0.0.0:1", "auth": {"file": "f"}, "tls": {"certificate": "c", "private_key": "k"}}, True, None),
        ({"listen": "0.0.0.0:1", "tls": {"certificate": "c", "private_key": "k"}}, False, "nothing says who may call"),
        (
            {"listen": "0.0.0.0:1", "tls": {"certificate": "c", "private_key": "k", "client_ca": "r"}}, False, None,
        ),
        ({"auth": {"anonymous": False}}, False, r"auth.anonymous \(RANKD_AUTH__ANONYMOUS\): is false, but nothing"),
        ({"auth": {"anonymous": False, "file": "f"}}, True, None),
        ({"listen": "127.0.0.1:1", "auth": {"file": "f"}}, True, None),
        ({"fleet": {"peers": "dns:///r:1", "token_file": "f"}}, False, r"fleet.token_file .*clear.*fleet.tls_roots"),
        ({"fleet": {"peers": "127.0.0.1:1,[::1]:2", "token_file": "f"}}, False, None),
        ({"fleet": {"peers": "dns:///r:1", "token_file": "f", "tls_roots": "r"}}, False, None),
        ({"fleet": {"peers": "dns:///r:1", "token_file": "f"}, "auth": {"plaintext": True}}, False, None),
    ],
)  # fmt: skip
def test_nothing_is_open_unasked(settings, tokens, words):
    """A listener that others can reach needs credentials, or somebody who says that it does not; tokens need TLS."""
    loaded = load_settings(**settings)
    if words is None:
        check_exposure(loaded, tokens=tokens)
    else:
        with pytest.raises(ConfigError, match=words):
            check_exposure(loaded, tokens=tokens)


def rankd(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "rankd", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_a_token_is_made_with_its_entry(file, tmp_path):
    """What is printed for the file is taken as it stands, knows the token, and does not hold it."""
    command = ["token", "new", "--name", 'engine "a"', "--tenant", "team", "--roles", "rank,report", "--days", "2"]
    status, out, _ = rankd(*command)
    assert status == 0
    token = out.splitlines()[1]
    entry = out[out.index("[[token]]") :]
    assert token not in entry
    known = read_credentials(file(entry), verified=False).token(digest_of(token))
    assert (known.name, known.tenant, known.roles) == ('engine "a"', "team", {Role.RANK, Role.REPORT})
    assert known.expires == pytest.approx(time.time() + 2 * 86400, abs=120)
    out_file = tmp_path / "engine.token"
    status, entry, _ = rankd("token", "new", "--name", "b", "--out", str(out_file))
    assert out_file.stat().st_mode & 0o777 == 0o600
    assert read_credentials(file(entry), verified=False).token(digest_of(out_file.read_text().strip())).name == "b"
    status, out, said = rankd("token", "new", "--name", "b", "--out", str(out_file))
    assert (status, out) == (2, "")
    assert "is there already" in said


def test_a_signing_key_is_made(file):
    """As an entry that is taken as it stands, another one each time."""
    entries = [rankd("token", "key", "--id", f"k{n}")[1] for n in range(2)]
    assert read_keys(file("\n".join(entries))).first == "k0"
    assert len({tomllib.loads(e)["key"][0]["secret"] for e in entries}) == 2
