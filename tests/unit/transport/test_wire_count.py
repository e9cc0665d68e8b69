"""Counting on the wire: what is refused, what is not, and that the pieces are the message."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from rankd_client.v1 import completion_pb2, quality_pb2, rank_pb2
from support.wire import completion, item, request
from support.wire_bytes import field, varint

from rankd.errors import InvalidRequestError
from rankd.transport.wire_count import NESTED_PER_ENTRY, PIECE_BYTES, MalformedError, WireCounter

MOST = 50


def count(kind, data, most=MOST):
    """The ends of a message's pieces."""
    ends = []
    for _ in WireCounter(kind.DESCRIPTOR, most).steps(data, ends):
        pass
    return ends


def charged(kind, data):
    """Entries, and small ones within them, that a message is charged for."""
    steps = WireCounter(kind.DESCRIPTOR, MOST * 100).steps(data, [])
    while True:
        try:
            next(steps)
        except StopIteration as counted:
            return counted.value


def refused(kind, data, most=MOST):
    with pytest.raises(InvalidRequestError) as raised:
        count(kind, data, most)
    return raised.value.violations[0]


@pytest.mark.parametrize(
    ("kind", "number", "name"),
    [
        (rank_pb2.RankRequest, 3, "items"),
        (rank_pb2.RankRequest, 6, "tenants"),
        (rank_pb2.RankStreamRequest, 3, "arrived"),
        (rank_pb2.RankStreamRequest, 4, "progressed"),
        (rank_pb2.RankStreamRequest, 5, "gone_request_ids"),
        (rank_pb2.RankStreamRequest, 8, "tenants"),
        (completion_pb2.ReportCompletionsRequest, 3, "completions"),
        (quality_pb2.GetFleetShareResponse, 3, "shares"),
    ],
)
def test_every_repeated_field_has_the_limit_of_the_setting(kind, number, name):
    """As many as allowed pass, one more does not, however its tag and size are written."""
    count(kind, field(number, b"") * MOST)
    tag = number << 3 | 2
    for entry in (field(number, b""), bytes((tag, 0x80, 0)), bytes((tag | 0x80, 0, 0)), bytes((tag, 0x80, 0x80, 0))):
        violation = refused(kind, entry * (MOST + 1))
        assert violation.field == name
        assert f"over limits.max_items = {MOST}" in violation.description


@pytest.mark.parametrize("tag", [b"\x3a", b"\xba\x00", b"\xba\x80\x00"])
@pytest.mark.parametrize("spread", [1, 40])
def test_nested_fields_are_counted_in_all(tag, spread):
    """Shadow scores in one prediction and in many; in reports, too. What stands in text is none."""
    allowed = MOST * NESTED_PER_ENTRY
    few = field(3, field(3, (tag + b"\x00") * (allowed // spread)))
    count(rank_pb2.RankRequest, few * spread)
    many = field(3, field(3, (tag + b"\x00") * (allowed // spread + 1)))
    violation = refused(rank_pb2.RankRequest, many * spread)
    assert violation.field == "items[].prediction.shadow_scores"
    reports = field(3, field(2, (tag + b"\x00") * (allowed // spread + 1))) * spread
    assert refused(completion_pb2.ReportCompletionsRequest, reports).field == "completions[].prediction.shadow_scores"
    text = field(3, field(2, (tag + b"\x00") * (allowed + 1)))
    count(rank_pb2.RankRequest, text)


@pytest.mark.parametrize(
    "data",
    [
        b"\x78\x01" * 100_000,  # a number that nobody knows
        b"\x7a\x00" * 100_000,
        b"\x12\x00" * 100_000,  # the time, again and again
        b"\x7b\x7c" * 100_000,  # groups
        field(3, b"\x22\x00" * 100_000),  # an item's time
        field(3, field(3, b"\x78\x01" * 100_000)),
    ],
)
def test_fields_that_cost_time_only_are_counted_in_sum(data):
    """Unknown ones, and those that stand more than once."""
    assert "over what limits.max_items allows" in refused(rank_pb2.RankRequest, data).description


@pytest.mark.parametrize(
    "data",
    [
        b"\x1a",
        b"\x1a\x05a",
        b"\x1a\xff",
        b"\x7c",
        b"\x0e\x00",
        b"\x0f",
        b"\xff" * 11,
        b"\x11\x00",
        b"\x1a" + b"\xff" * 10,
    ],
)
def test_what_is_no_message_is_said_to_be_none(data):
    """Cut short, unknown kinds of fields, endless numbers, ends of groups that never began."""
    with pytest.raises(MalformedError):
        count(rank_pb2.RankRequest, data)


def test_maps_packed_numbers_and_messages_in_themselves_are_counted_too():
    """None of our requests has any yet; the counter reads descriptors."""
    file = descriptor_pb2.FileDescriptorProto(name="wire_count_test.proto", package="t", syntax="proto3")
    kind = file.message_type.add(name="M")
    entry = kind.nested_type.add(name="PairsEntry", options=descriptor_pb2.MessageOptions(map_entry=True))
    entry.field.add(name="key", number=1, type=5, label=1)
    entry.field.add(name="value", number=2, type=5, label=1)
    kind.field.add(name="pairs", number=17, type=11, label=3, type_name=".t.M.PairsEntry")
    kind.field.add(name="small", number=2, type=5, label=3)
    kind.field.add(name="wide", number=3, type=1, label=3)
    kind.field.add(name="same", number=4, type=11, label=1, type_name=".t.M")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.M"))
    assert refused(made, field(17, b"") * (MOST + 1)).field == "pairs"
    assert refused(made, field(2, b"\x01" * (MOST + 1))).field == "small"
    assert refused(made, field(3, b"\x01" * 8 * (MOST + 1))).field == "wide"
    count(made, field(3, b"\x01" * 8 * MOST) + field(4, field(4, b"")))


_FIELDS = st.one_of(
    st.builds(field, st.integers(1, 20), st.binary(max_size=300)),
    st.builds(lambda n, v: varint(n << 3) + varint(v), st.integers(8, 5000), st.integers(0, 2**60)),
    st.builds(lambda n, d: varint(n << 3 | 1) + d, st.integers(8, 5000), st.binary(min_size=8, max_size=8)),
    st.builds(lambda n, d: varint(n << 3 | 5) + d, st.integers(8, 5000), st.binary(min_size=4, max_size=4)),
    st.builds(lambda n, i: varint(n << 3 | 3) + i + varint(n << 3 | 4), st.integers(8, 99), st.just(field(3, b"a"))),
)


@given(st.lists(_FIELDS, max_size=30), st.integers(1, 300))
def test_any_message_in_pieces_is_the_message(fields, times):
    """Fields in any order and of any kind: pieces merged give what the whole gives, or both are refused."""
    data = b"".join(fields) * times
    try:
        whole = rank_pb2.RankStreamRequest.FromString(data)
    except DecodeError:
        return
    ends = count(rank_pb2.RankStreamRequest, data, 10**6)
    merged, began = rank_pb2.RankStreamRequest(), 0
    for end in ends:
        merged.MergeFromString(data[began:end])
        began = end
    assert began == len(data)
    assert merged == whole


def test_a_long_queue_is_read_in_pieces():
    """Items with all that they may have, and with prompts longer than a piece."""
    items = [item(f"r{i}", "word: " * 50, overtaken_count=i, deadline={"seconds": i}) for i in range(2000)]
    items += [item("long", "a" * 200_000), item("longer", "ä" * 200_000)]
    message = request(*items)
    data = message.SerializeToString()
    ends = count(rank_pb2.RankRequest, data, 3000)
    assert len(ends) > 5
    assert max(b - a for a, b in zip([0, *ends], ends, strict=False)) < PIECE_BYTES + 401_000
    merged, began = rank_pb2.RankRequest(), 0
    for end in ends:
        merged.MergeFromString(data[began:end])
        began = end
    assert merged == message
    reports = [completion(f"r{i}", 1.0, 5, "tiny@1.0.0") for i in range(2001)]
    data = completion_pb2.ReportCompletionsRequest(completions=reports).SerializeToString()
    assert refused(completion_pb2.ReportCompletionsRequest, data, 2000).field == "completions"


@pytest.mark.parametrize("shadow", [b"\x3a\x00", b"\x3a\x80\x00", b"\xba\x00\x00", b"\xba\x80\x00\x02\x0a\x00"])
def test_what_is_small_on_the_wire_only_is_told(shadow):
    """Entries, and those within them however they are encoded: what they take is held before they are objects."""
    data = field(3, field(1, b"a") + field(3, shadow * 15)) * 2000
    assert charged(rank_pb2.RankRequest, data) == (2000, 30_000)
    assert len(rank_pb2.RankRequest.FromString(data).items[0].prediction.shadow_scores) == 15


def test_text_is_no_entry():
    """Not even that of programs."""
    data = request(*[item(f"{i}", "{'a': 1, 'b': [2, 3]}: " * 40) for i in range(100)]).SerializeToString()
    assert charged(rank_pb2.RankRequest, data) == (100, 0)
