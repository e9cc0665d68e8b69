"""Content codings: what is read along decompressed, in bounded memory and time."""

import gzip
import itertools
import zlib

import pytest

from rankd.proxy.content_coding import Decoder, UnreadableError, codings_of, decoded, readable_only

LIMIT = 2**20
TEXT = b"".join(b'data: {"n": %d}\n\n' % n for n in range(2000))


def raw_deflate(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def packed(data):
    """As gzip, without the time: a test is called the same in every process."""
    return gzip.compress(data, mtime=0)


def flushed(data, wbits=31):
    """As a gateway streams: every event is flushed."""
    packer = zlib.compressobj(wbits=wbits)
    events = [data[at : at + 20] for at in range(0, len(data), 20)]
    return b"".join(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH) for event in events) + packer.flush()


def pieces(data, codings, cut):
    """What is read of data that comes so many bytes at once."""
    decoder = Decoder(codings, LIMIT)
    return itertools.chain.from_iterable(decoder.feed(data[at : at + cut]) for at in range(0, len(data), cut))


@pytest.mark.parametrize("cut", [1, 1000, 10**6])
@pytest.mark.parametrize(
    ("data", "codings"),
    [
        (packed(TEXT), [b"gzip"]),
        (packed(TEXT), [b"x-gzip"]),
        (zlib.compress(TEXT), [b"deflate"]),
        (raw_deflate(TEXT), [b"deflate"]),
        (flushed(TEXT), [b"gzip"]),
        (flushed(TEXT, 15), [b"deflate"]),
        (flushed(TEXT)[:-8], [b"gzip"]),
        (packed(zlib.compress(TEXT)), [b"deflate", b"gzip"]),
        (packed(packed(packed(TEXT))), [b"gzip"] * 3),
        (packed(TEXT[:1000]) + packed(b"") + packed(TEXT[1000:]), [b"gzip"]),
        (packed(TEXT) + b"\0" * 100, [b"gzip"]),
        (TEXT, []),
    ],
)
def test_what_was_compressed_is_read(data, codings, cut):
    """Whatever servers call gzip and deflate, one over the other, flushed, in members, without an end, with padding."""
    assert b"".join(pieces(data, codings, cut)) == TEXT


@pytest.mark.parametrize(
    ("data", "codings", "cause"),
    [
        (TEXT, [b"gzip"], "coding_broken"),
        (packed(TEXT)[:500] + b"\0" * 500 + packed(TEXT)[1000:], [b"gzip"], "coding_broken"),
        (packed(TEXT), [b"gzip", b"gzip"], "coding_broken"),
        (TEXT, [b"br"], "coding_unknown"),
        (TEXT, [b"gzip", b"zstd"], "coding_unknown"),
        (TEXT, [b"gzip"] * 5, "coding_unknown"),
        (TEXT, [b"aws-chunked"], "coding_unknown"),
    ],
)
def test_what_cannot_be_read_is_named(data, codings, cause):
    """As unknown or as damaged."""
    with pytest.raises(UnreadableError) as raised:
        list(pieces(data, codings, 100))
    assert raised.value.cause == cause


def bomb(layers, size):
    data = zlib.compressobj(9, wbits=31)
    data = data.compress(b"\0" * size) + data.flush()
    for _ in range(layers - 1):
        data = packed(data)
    return data


@pytest.mark.parametrize(
    ("data", "codings"),
    [
        (bomb(1, 50 * 2**20), [b"gzip"]),
        (bomb(2, 50 * 2**20), [b"gzip"] * 2),
        (bomb(3, 50 * 2**20), [b"gzip"] * 3),
        (packed(b"") * 100_000, [b"gzip"]),
    ],
    ids=["one", "two", "three", "members"],
)
def test_a_bomb_is_given_up_before_it_is_large(data, codings):
    """What is made of it is bounded by what came and by the limit, however it is packed."""
    for cut in (1000, len(data)):
        made = []
        with pytest.raises(UnreadableError, match="too_large"):
            made.extend(len(piece) for piece in pieces(data, codings, cut))
        assert max(made, default=0) <= 65_536
        assert sum(made) <= LIMIT + 100 * len(data)
    with pytest.raises(UnreadableError, match="too_large"):
        decoded(data, codings, LIMIT)


def test_a_body_is_bounded_by_its_own_limit():
    """Not by what its compressed form allows."""
    assert decoded(packed(TEXT), [b"gzip"], len(TEXT)) == TEXT
    with pytest.raises(UnreadableError, match="too_large"):
        decoded(packed(TEXT), [b"gzip"], len(TEXT) - 1)


@pytest.mark.parametrize(
    ("values", "codings"),
    [
        ([], ()),
        ([b"identity"], ()),
        ([b"GZip"], (b"gzip",)),
        ([b" deflate , gzip"], (b"deflate", b"gzip")),
        ([b"deflate", b"identity, gzip"], (b"deflate", b"gzip")),
        ([b""], ()),
    ],
)
def test_codings_are_named_in_the_order_in_which_they_were_applied(values, codings):
    """Over several fields, in any case."""
    assert codings_of([(b"Content-Encoding", value) for value in values] + [(b"x", b"gzip")]) == codings


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (b"gzip, deflate", b"gzip, deflate"),
        (b"gzip, deflate, br, zstd", b"gzip, deflate"),
        (b"br;q=1.0, gzip;q=0.8, *;q=0.1", b"gzip;q=0.8"),
        (b"br", b"identity"),
        (b"*", b"identity"),
        (b"", b""),
        (b"identity", b"identity"),
        (b"br, gzip;q=0", b"gzip;q=0, identity"),
        (b"br, identity;q=0", b"br, identity;q=0"),
        (b"br, *;q=0", b"br, *;q=0"),
        (b"zstd, identity;q=0.5", b"identity;q=0.5"),
        (b"GZIP;q=0.001,BR", b"GZIP;q=0.001"),
    ],
)
def test_the_engine_is_not_asked_for_what_is_not_read(asked, kept):
    """Unless the client takes nothing else."""
    others = [(b"accept", b"x"), (b"x-accept-encoding", b"br")]
    assert readable_only([*others, (b"accept-encoding", asked)]) == [*others, (b"accept-encoding", kept)]
    assert readable_only(others) == others


def test_fields_that_come_twice_are_one_list():
    """Each is looked at."""
    fields = [(b"accept-encoding", b"br"), (b"a", b"b"), (b"accept-encoding", b"gzip")]
    assert readable_only(fields) == [(b"a", b"b"), (b"accept-encoding", b"gzip")]
