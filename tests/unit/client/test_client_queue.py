"""A call's queue as messages: shapes of requests, and how many predictions one message holds."""

import pytest
from rankd_client import Item, RequestShape
from rankd_client._client_queue import ClientQueue
from rankd_client.v1 import prediction_pb2, rank_pb2

A_KILOBYTE = prediction_pb2.Prediction(
    score=1.5, ranker_version="minilm-l6@2026.11", expected_token_count=20.0, p50_token_count=20.0,
    p90_token_count=20.0, key_id="0123456789", signature=b"s" * 32, tenant="a-tenant", features=b"f" * 710,
    learned_score=4.5,
)  # fmt: skip


def requests(items):
    return ClientQueue(items).requests("m", None)


def test_a_shape_is_sent_field_by_field():
    """And nothing where there is none."""
    shape = RequestShape(9, 8, "tool", "auto", "json_schema", "high", 7, 6, 5, "a step")
    (request,) = requests([Item("a", shape=shape), Item("b")])
    assert request.items[0].shape == rank_pb2.RequestShape(
        message_count=9, tool_count=8, last_role="tool", tool_choice="auto", response_format="json_schema",
        reasoning_effort="high", thinking_token_budget=7, choice_count=6, stop_count=5, step="a step",
    )  # fmt: skip
    assert not request.items[1].HasField("shape")


@pytest.mark.parametrize(
    ("shape", "error", "words"),
    [
        (RequestShape(step="é" * 129), ValueError, r"items\[1\].shape.step: is over 256 bytes"),
        (RequestShape(last_role="x" * 65), ValueError, r"items\[1\].shape.last_role: is over 64 bytes"),
        (RequestShape(tool_choice="\ud800"), ValueError, r"items\[1\].shape.tool_choice: must be Unicode"),
        (RequestShape(response_format={}), TypeError, r"items\[1\].shape.response_format: must be a string, not dict"),
        (RequestShape(messages=-1), ValueError, r"items\[1\].shape.messages: must be in 0 to"),
        (RequestShape(stops=2**32), ValueError, r"items\[1\].shape.stops: must be in 0 to"),
        (RequestShape(thinking_budget=1.5), TypeError, r"items\[1\].shape.thinking_budget: must be a whole number"),
        ({"step": "a"}, TypeError, r"items\[1\].shape: must be a RequestShape or None, not dict"),
    ],
)
def test_what_the_daemon_would_refuse_is_told(shape, error, words):
    """Refused there, it would cost the whole queue its rank."""
    with pytest.raises(error, match=words):
        ClientQueue(["a", Item("b", shape=shape)])


@pytest.mark.parametrize("count", [4096, 16_384])
def test_a_long_queue_of_predictions_is_one_message(count):
    """As many as the daemon takes at once, and within the 16 MiB that it takes: parts would be ordered one by one."""
    (request,) = requests([Item(request_id=f"{i:032}", prediction=A_KILOBYTE) for i in range(count)])
    assert len(request.items) == count
    assert request.ByteSize() < 15_000_000 + 1000 < 16 * 2**20


def test_prompts_go_in_parts_whatever_is_echoed_beside_them():
    """3.5 MB of them in each, within gRPC's default limit, as where nothing is echoed."""
    prompts = [Item("x" * 200_000, request_id=f"p{i}") for i in range(40)]
    assert len(requests(prompts)) == 3
    mixed = [Item(request_id=f"e{i}", prediction=A_KILOBYTE) for i in range(2000)]
    assert [len(r.items) for r in requests([*mixed, *prompts])] == [2000 + 17, 17, 6]


def test_predictions_of_the_largest_size_go_in_parts():
    """No message is over what the daemon takes."""
    large = prediction_pb2.Prediction(score=1.0, features=b"f" * 2048)
    found = requests([Item(request_id=f"{i}", prediction=large) for i in range(16_384)])
    assert len(found) == 3
    assert max(r.ByteSize() for r in found) < 16 * 2**20
