"""Times and types that callers pass to the client, however odd, sync and asyncio by one body."""

import math
from uuid import uuid4

import pytest
from rankd_client import Completed, Item, RankClient, RankdUnavailableError
from rankd_client.v1.prediction_pb2 import Prediction

NOWHERE = "127.0.0.1:1"


@pytest.mark.parametrize("timeout", [1e7, 1e10, 1e12, 1e300, math.inf])
def test_a_timeout_beyond_counting_waits(connect, daemon, timeout):
    """What grpc cannot count is no timeout that has passed: the queue comes back ranked."""
    client = connect(daemon.target, timeout=timeout)
    assert client.rank(["long", "short"]).order == [1, 0]
    assert client.rank(["long", "short"], timeout=timeout).reason == ""
    done = Completed("x", Prediction(score=1.0, ranker_version="tiny@1.0.0"), 1, "in_progress")
    assert client.report([done], timeout=timeout).error == ""
    assert client.quality(timeout=timeout).service.ranker_version == "tiny@1.0.0"


@pytest.mark.parametrize("timeout", [1e10, math.inf])
def test_a_step_beyond_counting_waits(connect_stream, daemon, timeout):
    """A stream's waits are as those of calls."""
    s = connect_stream(daemon.target, timeout=timeout)
    arrived = [Item("long", request_id="a"), Item("short", request_id="b")]
    assert s.step(arrived, max_wait=10, timeout=timeout) == ["b", "a"]
    assert (s.step(max_wait=10), s.stream.reason) == (["b", "a"], "")


@pytest.mark.parametrize("timeout", [0, -1, -math.inf])
def test_no_time_is_arrival_order_at_once(connect, daemon, timeout):
    """An engine whose budget is spent gets its queue back, as documented."""
    client = connect(daemon.target, timeout=30)
    assert not client.rank(["warm"]).failed
    queue = client.rank([f"{uuid4()} is new" for _ in range(100)], timeout=timeout)
    assert queue.order == list(range(100))
    assert queue.reason in ("timeout", "deadline")


def test_nan_is_a_mistake_that_is_named(connect):
    """NaN compares with nothing, so that it would wait by accident."""
    with pytest.raises(ValueError, match="timeout: must be a number of seconds, not nan"):
        RankClient(NOWHERE, timeout=math.nan)
    client = connect(NOWHERE)
    for call in (
        lambda: client.rank(["a"], timeout=math.nan),
        lambda: client.report([], timeout=math.nan),
        lambda: client.quality(timeout=math.nan),
    ):
        with pytest.raises(ValueError, match="timeout: must be"):
            call()
    with pytest.raises(ValueError, match="interval: must be"):
        next(client.watch_quality(math.nan))
    assert client.stats.calls == 0


def test_nan_in_a_step(connect_stream):
    """A step with an impossible time changes nothing."""
    s = connect_stream(NOWHERE)
    for times in ({"max_wait": math.nan}, {"timeout": math.nan}):
        with pytest.raises(ValueError, match=rf"{next(iter(times))}: must be"):
            s.step([Item("a", request_id="a")], **times)
    assert s.step() == []


def test_waits_that_the_daemon_refuses_say_so(connect, daemon):
    """Without end is more than the daemon allows; its limit is told, not an error of arithmetic."""
    client = connect(daemon.target, timeout=30)
    with pytest.raises(RankdUnavailableError, match="interval: must be 100 ms to 1 h"):
        next(client.watch_quality(math.inf))


def test_a_step_that_the_daemon_refuses_says_so(connect_stream, daemon):
    """So for a step."""
    s = connect_stream(daemon.target, timeout=30)
    assert s.step([Item("a", request_id="a")], max_wait=math.inf, timeout=30) == ["a"]
    assert s.stream.reason == "error:INVALID_ARGUMENT"
    assert "limits.max_stream_wait" in s.client.stats.last_error


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Item("a", request_id=5), r"items\[1\]\.request_id: must be a string or None, not int"),
        (Item("a", request_id=b"x"), r"items\[1\]\.request_id: must be a string or None, not bytes"),
        (Item("a", request_id=["x"]), r"items\[1\]\.request_id: must be a string or None, not list"),
        (Item("a", arrival="now"), r"items\[1\]: arrival and deadline must be numbers"),
        (Item("a", max_tokens="8"), r"items\[1\]: arrival and deadline must be numbers; max_tokens, generated_tokens"),
        (Item("a", generated_tokens=1.5), r"items\[1\]: arrival and deadline must be numbers"),
    ],
)
def test_fields_of_another_type_are_named(connect, item, words):
    """A TypeError that says which item and field, before anything is sent."""
    client = connect(NOWHERE)
    with pytest.raises(TypeError, match=words):
        client.rank(["a", item])
    assert client.stats.calls == 0


def test_a_step_with_a_field_of_another_type_changes_nothing(connect_stream):
    """So for a step."""
    s = connect_stream(NOWHERE)
    with pytest.raises(TypeError, match=r"items\[0\]\.request_id: must be a string"):
        s.step([Item("a", request_id=5)])
    assert s.step() == []
