"""Rank and RankStream over a real connection."""

import math
import queue as queues

import grpc
import pytest
from rankd_client.v1 import prediction_pb2 as pb
from rankd_client.v1 import quality_pb2, rank_pb2
from support.gate import Gate
from support.tiny_ranker import make_artifact
from support.wire import T0, details, ids, item, quality_stub, rank_stub, request

VERSION = "tiny@1.0.0"


@pytest.fixture
def stub(daemon):
    with daemon.channel() as channel:
        yield rank_stub(channel)


def test_shortest_expected_first(stub):
    """Prompts that arrived together come back by predicted length, each with a prediction and a key that rises."""
    answer = stub.Rank(request(item("a", "long long"), item("b", "short"), item("c", "w1 long")), timeout=30)
    assert ids(answer) == ["b", "c", "a"]
    assert [i.index for i in answer.items] == [1, 2, 0]
    keys = [i.serving_key for i in answer.items]
    assert keys == sorted(keys)
    for i in answer.items:
        assert i.prediction.ranker_version == VERSION
        # By the manifest's calibration (make_artifact.py).
        assert i.prediction.p50_token_count == pytest.approx(0.8 * i.prediction.expected_token_count)
        assert i.prediction.p90_token_count == pytest.approx(2 * i.prediction.expected_token_count)
    assert (answer.policy, answer.reason, answer.unscored_count) == (pb.POLICY_BOOST, 0, 0)


def test_the_key_is_due_in_milliseconds(daemon, stub):
    """serving_key in ms, by the calibration of the manifest (100 + 10 * score tokens), under DUE and under BOOST."""
    row = item("a", "long", at=T0 + 5)
    answer = stub.Rank(request(row, policy=pb.POLICY_DUE), timeout=30)
    expected = answer.items[0].prediction.expected_token_count
    assert expected == pytest.approx(100 + 10 * answer.items[0].prediction.score)
    assert answer.items[0].serving_key == pytest.approx((T0 + 5 + 0.2 * expected) * 1000, abs=1)
    with daemon.channel() as channel:
        policies = quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(), timeout=30).policies
    mean = policies[0].mean_expected_token_count
    key = stub.Rank(request(row), timeout=30).items[0].serving_key
    assert key == pytest.approx((T0 + 5 + 0.2 * mean * math.log(expected / mean)) * 1000, abs=1)


def test_old_requests_are_not_overtaken_for_ever(stub):
    """A long request that arrived early enough goes before a short one: overtaking is bounded."""
    answer = stub.Rank(request(item("long", "long " * 5, at=T0), item("short", "short", at=T0 + 100)), timeout=30)
    assert ids(answer) == ["long", "short"]
    by_score = stub.Rank(
        request(item("long", "long " * 5, at=T0), item("short", "short", at=T0 + 100), policy=pb.POLICY_SCORE),
        timeout=30,
    )
    assert ids(by_score) == ["short", "long"]


def test_fcfs_on_demand(stub):
    """FCFS gives arrival order with the reason, keys in ms of arrival, and the scores all the same."""
    answer = stub.Rank(
        request(item("b", "short", at=T0 + 2), item("a", "long", at=T0 + 1), policy=pb.POLICY_FCFS), timeout=30
    )
    assert ids(answer) == ["a", "b"]
    assert [i.serving_key for i in answer.items] == [(T0 + 1) * 1000, (T0 + 2) * 1000]
    assert answer.reason == pb.FALLBACK_REASON_REQUESTED
    assert all(i.HasField("prediction") for i in answer.items)


def test_echoed_predictions_need_no_text(stub):
    """The next call sends predictions only, and gets the same keys in the same order."""
    first = stub.Rank(request(item("a", "long long"), item("b", "short")), timeout=30)
    second = stub.Rank(request(*(item(i.request_id, prediction=i.prediction) for i in first.items)), timeout=30)
    assert [(i.request_id, i.serving_key) for i in second.items] == [(i.request_id, i.serving_key) for i in first.items]
    assert [i.prediction for i in second.items] == [i.prediction for i in first.items]


def test_predictions_of_another_ranker(stub):
    """With an expected length they are used as they are; without one the prompt is scored, or asked for."""
    foreign = pb.Prediction(score=1e9, ranker_version="old@0.1", expected_token_count=1.0)
    blank = pb.Prediction(score=-3.0, ranker_version="old@0.1")
    answer = stub.Rank(
        request(
            item("used", prediction=foreign), item("scored", "long", prediction=blank), item("asked", prediction=blank)
        ),
        timeout=30,
    )
    by_id = {i.request_id: i for i in answer.items}
    assert by_id["used"].prediction == foreign
    assert by_id["scored"].prediction.ranker_version == VERSION
    assert by_id["asked"].needs_prompt
    assert by_id["asked"].reason == pb.FALLBACK_REASON_NEEDS_PROMPT
    assert answer.items[0].request_id == "used"
    assert answer.unscored_count == 1
    assert answer.reason == pb.FALLBACK_REASON_NEEDS_PROMPT


def test_the_longest_believable_expectation_is_taken(stub):
    """limits.max_token_count is a length that may be echoed; test_bad_input has the first that may not."""
    longest = pb.Prediction(score=1.0, ranker_version=VERSION, expected_token_count=10_000_000)
    assert stub.Rank(request(item("a", prediction=longest)), timeout=30).items[0].prediction == longest


def test_scores_of_two_rankers_are_not_compared(start_daemon, tmp_path):
    """SCORE compares expected lengths where predictions come from two rankers; one without stands in the middle."""
    daemon = start_daemon(ranker=make_artifact(tmp_path / "r", calibration=False))
    old = [
        item(name, prediction=pb.Prediction(score=score, ranker_version="old@0.1", expected_token_count=tokens))
        for name, score, tokens in (("old-long", -9.0, 80.0), ("old-short", 9.0, 20.0))
    ]
    with daemon.channel() as channel:
        answer = rank_stub(channel).Rank(request(*old, item("new", "long"), policy=pb.POLICY_SCORE), timeout=30)
    assert ids(answer) == ["old-short", "new", "old-long"]
    assert (answer.policy, answer.reason) == (pb.POLICY_SCORE, 0)


def test_an_unscored_item_is_of_average_length(stub):
    """In a partly scored queue, what has no score is placed as a request of average length, by arrival."""
    answer = stub.Rank(
        request(item("x2"), item("long", "long " * 8), item("x1"), item("short", "short " * 8)), timeout=30
    )
    assert ids(answer) == ["short", "x1", "x2", "long"]
    assert answer.policy == pb.POLICY_BOOST


def test_max_tokens_caps_and_progress_raises_the_expectation(stub):
    """A request that may produce 1 token goes first; one that produced 500 is no longer expected to be short."""
    answer = stub.Rank(
        request(
            item("capped", "long " * 8, max_token_count=1),
            item("grown", "short", generated_token_count=500),
            item("plain", "w1"),
        ),
        timeout=30,
    )
    assert ids(answer) == ["capped", "plain", "grown"]


def test_equal_requests_go_by_arrival_then_id(stub):
    """Ties are decided the same way whatever order the items come in."""
    items = [item("b", "w1"), item("a", "w1"), item("c", "w1", at=T0 - 1)]
    assert ids(stub.Rank(request(*items), timeout=30)) == ["c", "a", "b"]
    assert ids(stub.Rank(request(*reversed(items)), timeout=30)) == ["c", "a", "b"]


def test_an_empty_queue_has_an_empty_order(stub):
    """No items: an answer without items, and nothing that it would have fallen back from."""
    for policy in (pb.POLICY_BOOST, pb.POLICY_DUE, pb.POLICY_AGED, pb.POLICY_SCORE):
        answer = stub.Rank(request(policy=policy), timeout=30)
        assert (ids(answer), answer.policy, answer.reason) == ([], policy, 0)


def test_arrivals_in_the_future_count_as_now(stub):
    """A clock that runs ahead does not push a request to the end for ever."""
    answer = stub.Rank(request(item("a", "w1", at=T0 + 10**9), now=T0, policy=pb.POLICY_FCFS), timeout=30)
    assert answer.items[0].serving_key == T0 * 1000


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (request(item("")), "items[0].request_id"),
        (request(item("x" * 257)), "items[0].request_id"),
        (request(item("ä" * 129)), "items[0].request_id"),
        (request(item("a"), item("a")), "items[1].request_id"),
        (request(item("a", "x" * (2**20 + 1))), "items[0].prompt"),
        (request(item("a"), policy=99), "policy"),
        (request(item("a"), model="m" * 257), "model"),
        (request(item("a", prediction=pb.Prediction(score=float("nan")))), "items[0].prediction.score"),
        (request(item("a", prediction=pb.Prediction(score=float("inf")))), "items[0].prediction.score"),
        (
            request(item("a", prediction=pb.Prediction(score=1, expected_token_count=-1))),
            "items[0].prediction.expected_token_count",
        ),
        (
            request(item("a", prediction=pb.Prediction(score=1, expected_token_count=10_000_001))),
            "items[0].prediction.expected_token_count",
        ),
        (rank_pb2.RankRequest(items=[item("a")], now={"seconds": 2**60}), "now"),
        (request(rank_pb2.RankItem(request_id="a", arrival_time={"nanos": -1})), "items[0].arrival_time"),
    ],
)
def test_bad_input_names_the_field(stub, message, field):
    """INVALID_ARGUMENT with BadRequest, the field's path and a reason, and nothing of the input."""
    with pytest.raises(grpc.RpcError) as raised:
        stub.Rank(message, timeout=30)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    found = details(raised.value)
    assert found["BadRequest"].field_violations[0].field == field
    assert (found["ErrorInfo"].reason, found["ErrorInfo"].domain) == ("INVALID_FIELD", "rankd.dev")
    assert "xxx" not in raised.value.details()


def test_a_ranker_that_is_not_loaded_is_not_found(stub):
    """Asking for a ranker by name gets it or NOT_FOUND, never another one."""
    assert ids(stub.Rank(request(item("a", "w1"), ranker_version=VERSION), timeout=30)) == ["a"]
    with pytest.raises(grpc.RpcError) as raised:
        stub.Rank(request(item("a", "w1"), ranker_version="other@1"), timeout=30)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND
    assert details(raised.value)["ErrorInfo"].reason == "NOT_FOUND"


def test_item_limit_is_a_setting(start_daemon):
    """As many as limits.max_items are taken; one more is an error that names setting and remedy."""
    small = start_daemon(limits={"max_items": 3})
    with small.channel() as channel:
        assert len(rank_stub(channel).Rank(request(*(item(str(i)) for i in range(3))), timeout=30).items) == 3
        with pytest.raises(grpc.RpcError) as raised:
            rank_stub(channel).Rank(request(*(item(str(i)) for i in range(4))), timeout=30)
    assert "limits.max_items = 3" in raised.value.details()


def test_rate_limit_says_when_to_come_back(start_daemon):
    """Beyond its rate a caller gets RESOURCE_EXHAUSTED with RetryInfo; health checks are not counted."""
    slow = start_daemon(limits={"calls_per_second": 0.5, "call_burst": 2})
    with slow.channel() as channel:
        stub = rank_stub(channel)
        stub.Rank(request(), timeout=30)
        stub.Rank(request(), timeout=30)
        with pytest.raises(grpc.RpcError) as raised:
            stub.Rank(request(), timeout=30)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    found = details(raised.value)
    assert found["ErrorInfo"].reason == "RATE_LIMITED"
    assert 0 < found["RetryInfo"].retry_delay.ToMilliseconds() <= 2000


class Stream:
    """One RankStream, a message at a time."""

    def __init__(self, channel):
        self._messages = queues.Queue()
        self._answers = rank_stub(channel).RankStream(iter(self._messages.get, None), timeout=30)

    def step(self, **fields):
        self._messages.put(rank_pb2.RankStreamRequest(**fields))
        return next(self._answers)

    def end(self):
        self._messages.put(None)
        return list(self._answers)


def test_a_stream_follows_its_queue(daemon):
    """Arrived, progressed and gone: each message is answered with the whole order and what changed in it."""
    with daemon.channel() as channel:
        stream = Stream(channel)
        wait = {"seconds": 5}
        first = stream.step(sequence=7, max_wait=wait, arrived=[item("a", "long " * 9), item("b", "short")])
        assert (first.sequence, list(first.request_ids)) == (7, ["b", "a"])
        assert {i.request_id: i.index for i in first.changed_items} == {"b": 0, "a": 1}
        again = stream.step(sequence=8)
        assert (list(again.request_ids), list(again.changed_items)) == (["b", "a"], [])
        grown = stream.step(progressed=[{"request_id": "b", "generated_token_count": 5000}, {"request_id": "no one"}])
        assert list(grown.request_ids) == ["a", "b"]
        assert [i.request_id for i in grown.changed_items] == ["b"]
        left = stream.step(gone_request_ids=["a", "no one"], arrived=[item("c", "w1")], max_wait=wait)
        assert list(left.request_ids) == ["c", "b"]
        assert stream.end() == []


def test_a_stream_never_waits_unless_told_to(start_daemon, wait_until):
    """Without max_wait the answer comes at once, unscored; the score is in a later answer."""
    daemon = start_daemon()
    gate = Gate(daemon)
    gate.open.clear()
    with daemon.channel() as channel:
        stream = Stream(channel)
        first = stream.step(arrived=[item("a", "long " * 20), item("b", "short")])
        assert first.unscored_count == 2
        assert list(first.request_ids) == ["a", "b"]
        gate.open.set()
        wait_until(lambda: stream.step().unscored_count == 0)
        assert list(stream.step().request_ids) == ["b", "a"]
        stream.end()


def test_a_bad_item_ends_the_stream_with_its_field(daemon):
    """A stream fails as a call does, naming the field."""
    with daemon.channel() as channel:
        stream = Stream(channel)
        with pytest.raises(grpc.RpcError) as raised:
            stream.step(arrived=[item("a", "w1"), item("")])
        assert details(raised.value)["BadRequest"].field_violations[0].field == "arrived[1].request_id"
