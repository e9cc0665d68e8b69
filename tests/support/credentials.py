"""Files of tokens and of signing keys for tests, and calls that show a token."""

import base64
import hashlib

from rankd_client.v1 import admin_pb2

from support.wire import admin_stub, item, rank_stub, request

TOKENS = {name: f"{name}-secret-0123456789abcdefghij" for name in ("a", "b", "any", "reader", "admin", "old", "gone")}
"""By name; ``gone`` stands in no file."""
ALL = ["rank", "report", "quality"]
ENTRIES = {
    "a": {"tenant": "team-a", "roles": ALL},
    "b": {"tenant": "team-b", "roles": ALL},
    "any": {"roles": ALL},
    "reader": {"tenant": "team-a", "roles": ["quality"]},
    "admin": {"roles": ["admin"]},
    "old": {"tenant": "team-a", "roles": ALL, "expires": "2020-01-01T00:00:00Z"},
}


def entry(table, name, **fields):
    """One entry as TOML."""
    lines = [f"[[{table}]]", f'name = "{name}"']
    for key, value in fields.items():
        quoted = f'"{value}"' if isinstance(value, str) and key != "expires" else value
        lines.append(f"{key} = {quoted}")
    return "\n".join(lines) + "\n"


def token_entry(name, token=None, **fields):
    digest = hashlib.sha256((token or TOKENS[name]).encode()).hexdigest()
    return entry("token", name, sha256=digest, **fields)


def write(path, *entries):
    """Put a file in place at once, as an editor or Kubernetes does."""
    new = path.with_suffix(".new")
    new.write_text("\n".join(entries))
    return new.replace(path)


def write_tokens(path, *more, names=tuple(ENTRIES)):
    return write(path, *(token_entry(name, **ENTRIES[name]) for name in names), *more)


def key_entry(name):
    secret = base64.b64encode(hashlib.sha256(name.encode()).digest()).decode()
    return f'[[key]]\nid = "{name}"\nsecret = "{secret}"\n'


def write_keys(path, *names):
    return write(path, *(key_entry(name) for name in names))


def bearer(name):
    """Metadata that shows a token of the table."""
    return (("authorization", f"Bearer {TOKENS[name]}"),)


def rank(channel, metadata):
    """A call of RankService."""
    return rank_stub(channel).Rank(request(item("r", "long")), timeout=30, metadata=metadata)


def administer(channel, metadata):
    """A call of AdminService."""
    return admin_stub(channel).ListRankers(admin_pb2.ListRankersRequest(), timeout=30, metadata=metadata)
