"""Hashes of requests: what is written down under them must be found again by every later version."""

from rankd.completion_log.records import request_hasher
from rankd.monitor.snapshot_key import SnapshotKey
from rankd.types import RequestHasher


def test_snapshots_find_their_requests_again():
    """Values that snapshots of 0.1.0 hold."""
    key = SnapshotKey("a secret")
    assert key.hasher().key("", "r1") == 14343002746132300659
    assert key.hasher().key("tenant", "r1") == 2886762993364283702
    assert key.hasher().tenant_key("tenant") == 9250468392567301312
    assert key.saved() == {"fingerprint": "0457b881c5b33573", "value": ""}
    drawn = SnapshotKey("", bytes(range(16)))
    assert drawn.hasher().key("", "r1") == 2198733924907781996
    assert drawn.hasher().key("tenant", "r1") == 169240303271460079
    assert drawn.saved() == {"fingerprint": "b6af7f88fd300ebc", "value": bytes(range(16)).hex()}


def test_completion_logs_are_joined_with_what_was_written_before():
    """Values that completion logs of 0.1.0 hold."""
    hasher = request_hasher(b"join")
    assert hasher.digest("m", "", "r1").hex() == "02f9532aaa52cae9ea25850f09db93ec"
    assert hasher.digest("m", "tenant", "r1").hex() == "59590f30806711f3b90a2db91d465ac1"
    assert request_hasher(b"").digest("m", "", "r1").hex() == "8d41a493942897ef56dfb78c81097c99"


def test_a_key_that_is_not_given_is_drawn():
    """Two hashers without a key know nothing of each other's requests."""
    first, second = RequestHasher(), RequestHasher()
    assert first.key("t", "r") == first.key("t", "r") != second.key("t", "r")
    assert first.digest("m", "t", "r") != second.digest("m", "t", "r")


def test_what_reads_the_same_is_kept_apart():
    """Ids are each tenant's own; nobody's tenant has the key 0, and a lone surrogate is an id like any other."""
    hasher = RequestHasher(b"k")
    assert len({hasher.key(*who) for who in (("", "ab"), ("a", "b"), ("ab", ""), ("", "\ud800"))}) == 4
    assert len({hasher.digest(*who) for who in (("a", "", "b"), ("", "a", "b"), ("", "", "a\0b"))}) == 3
    assert hasher.tenant_key("") == 0 != hasher.tenant_key("a")
