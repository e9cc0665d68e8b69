"""10,000 hostile messages: no crash, no INTERNAL, every answer complete or a named error."""

import math
import random

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rankd_client.v1 import completion_pb2, prediction_pb2, quality_pb2, rank_pb2
from support.examples import examples
from support.wire import details, rank_stub

METHODS = {
    "/rankd.v1.RankService/Rank": rank_pb2.RankRequest,
    "/rankd.v1.CompletionService/ReportCompletions": completion_pb2.ReportCompletionsRequest,
    "/rankd.v1.QualityService/GetQuality": quality_pb2.GetQualityRequest,
}
NAMED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}

weird_float = st.sampled_from([0.0, -0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e308, -1e308, 5e-324])
weird_text = st.sampled_from(
    ["", " ", "long", "short", "\0", "💥" * 50, "w1 " * 500, "\u202e", "a" * 3000, "[SEP]", "ä" * 200]
)
weird_id = st.one_of(st.integers(0, 5).map(str), st.sampled_from(["", "x" * 256, "x" * 257, "💥"]))
seconds = st.sampled_from([0, 1, -1, 1_700_000_000, 2**33, -(2**40), 2**62, 253402300799, -62135596800])
stamp = st.fixed_dictionaries({"seconds": seconds, "nanos": st.sampled_from([0, 1, -1, 999_999_999, 2**31 - 1])})
count = st.sampled_from([0, 1, 7, 2**31, 2**32 - 1])
prediction = st.fixed_dictionaries(
    {"score": weird_float},
    optional={
        "ranker_version": st.sampled_from(["", "tiny@1.0.0", "old@1", "v" * 300]),
        "expected_token_count": weird_float,
        "p90_token_count": weird_float,
        "scored_at": stamp,
    },
)
an_item = st.fixed_dictionaries(
    {"request_id": weird_id},
    optional={
        "prompt": weird_text, "prediction": prediction, "arrival_time": stamp, "max_token_count": count,
        "generated_token_count": count, "prompt_token_count": count, "deadline": stamp, "overtaken_count": count,
        "priority_class": st.sampled_from([0, 1, -1, 2**31 - 1, -(2**31)]), "tenant": weird_text,
        "running": st.booleans(),
    },
)  # fmt: skip
enum = st.sampled_from([0, 1, 2, 3, 4, 5, 99, -1, 2**31 - 1])
a_tenant = st.fixed_dictionaries(
    {"tenant": weird_text},
    optional={"served_token_count": st.floats(width=64), "weight": st.floats(width=64)},
)
rank_message = st.fixed_dictionaries(
    {"items": st.lists(an_item, max_size=6)},
    optional={
        "model": weird_text,
        "now": stamp,
        "policy": enum,
        "ranker_version": st.sampled_from(["", "tiny@1.0.0", "x"]),
        "tenants": st.lists(a_tenant, max_size=3),
    },
).map(lambda f: rank_pb2.RankRequest(**f))
completion_message = st.fixed_dictionaries(
    {
        "completions": st.lists(
            st.fixed_dictionaries(
                {"request_id": weird_id},
                optional={
                    "prediction": prediction, "output_token_count": count, "finish_reason": enum,
                    "length_is_complete": st.booleans(), "arrival_time": stamp, "total_duration": stamp,
                    "queue_duration": stamp,
                },
            ),
            max_size=6,
        )
    },
    optional={"model": weird_text, "now": stamp},
).map(lambda f: completion_pb2.ReportCompletionsRequest(**f))  # fmt: skip


@pytest.fixture(scope="module")
def target(request):
    """One daemon for all attacks, which has to outlive them."""
    from support.daemon import Daemon

    daemon = Daemon(ranker=request.getfixturevalue("tiny"))
    channel = grpc.insecure_channel(daemon.target)
    yield daemon, channel
    # After all of it the daemon still ranks.
    answer = rank_stub(channel).Rank(
        rank_pb2.RankRequest(items=[{"request_id": "a", "prompt": "long"}, {"request_id": "b", "prompt": "short"}]),
        timeout=30,
    )
    assert [i.request_id for i in answer.items] == ["b", "a"]
    channel.close()
    daemon.stop()


def call(channel, method, data):
    """Send raw bytes; gives the raw answer, or None where a named error came with its details."""
    try:
        return channel.unary_unary(method)(data, timeout=10)
    except grpc.RpcError as error:
        assert error.code() in NAMED, (error.code(), error.details())
        assert "ErrorInfo" in details(error)
        return None


@settings(max_examples=examples(3000), deadline=None, suppress_health_check=list(HealthCheck))
@given(message=rank_message)
def test_hostile_queues(target, message):
    """Whatever the fields hold: every id exactly once, keys present, or INVALID_ARGUMENT / NOT_FOUND by name."""
    _, channel = target
    data = call(channel, "/rankd.v1.RankService/Rank", message.SerializeToString())
    if data is not None:
        answer = rank_pb2.RankResponse.FromString(data)
        assert sorted(i.request_id for i in answer.items) == sorted(i.request_id for i in message.items)
        assert sorted(i.index for i in answer.items) == list(range(len(message.items)))
        assert answer.policy in (1, 2, 3, 4, 5)
        assert all(math.isfinite(i.prediction.score) for i in answer.items)
        for item in answer.items:
            assert item.HasField("prediction") != bool(item.reason)


@settings(max_examples=examples(2500), deadline=None, suppress_health_check=list(HealthCheck))
@given(message=completion_message)
def test_hostile_reports(target, message):
    """Every report is accepted, a duplicate, or rejected with its index and reason: the counts add up."""
    _, channel = target
    data = call(channel, "/rankd.v1.CompletionService/ReportCompletions", message.SerializeToString())
    if data is not None:
        answer = completion_pb2.ReportCompletionsResponse.FromString(data)
        assert answer.accepted_count + answer.duplicate_count + len(answer.rejected) == len(message.completions)
        assert all(r.reason and r.description for r in answer.rejected)


@settings(max_examples=examples(2500), deadline=None, suppress_health_check=list(HealthCheck))
@given(method=st.sampled_from(sorted(METHODS)), data=st.binary(max_size=200))
def test_random_bytes(target, method, data):
    """Bytes that are no message, or one by chance, get an answer or a named error."""
    _, channel = target
    call(channel, method, data)


@settings(max_examples=examples(1500), deadline=None, suppress_health_check=list(HealthCheck))
@given(message=rank_message, seed=st.integers(0, 2**32), cut=st.integers(0, 400))
def test_damaged_messages(target, message, seed, cut):
    """A good message with bytes flipped and its end cut off is no way to an INTERNAL either."""
    _, channel = target
    data = bytearray(message.SerializeToString()[: cut or None])
    chance = random.Random(seed)
    for _ in range(min(4, len(data))):
        data[chance.randrange(len(data))] = chance.randrange(256)
    call(channel, "/rankd.v1.RankService/Rank", bytes(data))


@settings(max_examples=examples(500), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    messages=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "arrived": st.lists(an_item, max_size=4),
                "gone_request_ids": st.lists(weird_id, max_size=3),
                "progressed": st.lists(
                    st.fixed_dictionaries({"request_id": weird_id, "generated_token_count": count}), max_size=3
                ),
                "now": stamp,
                "max_wait": st.fixed_dictionaries(
                    {"seconds": st.sampled_from([0, -1, 2**40]), "nanos": st.sampled_from([0, 1000, -5])}
                ),
                "sequence": st.integers(0, 2**64 - 1),
            },
        ),
        max_size=4,
    )
)
def test_hostile_streams(target, messages):
    """Each message is answered by the whole queue, in order, or the stream ends with a named error."""
    _, channel = target
    sent = [rank_pb2.RankStreamRequest(**m) for m in messages]
    queue = set()
    try:
        for message, answer in zip(sent, rank_stub(channel).RankStream(iter(sent), timeout=10), strict=False):
            queue -= set(message.gone_request_ids)
            queue |= {i.request_id for i in message.arrived}
            assert sorted(answer.request_ids) == sorted(queue)
            assert answer.sequence == message.sequence
    except grpc.RpcError as error:
        assert error.code() in NAMED, (error.code(), error.details())
    assert prediction_pb2.DESCRIPTOR.package == "rankd.v1"
