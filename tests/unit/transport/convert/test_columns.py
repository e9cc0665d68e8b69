"""What items become: their shapes, and what their predictions carry to be learned from."""

import math

import numpy as np
import pytest
from rankd_client.shape import RequestShape
from rankd_client.v1 import prediction_pb2, rank_pb2

from rankd.adaptation.features import MOST_BYTES
from rankd.errors import InvalidRequestError
from rankd.settings import LimitsSection, OrderSection
from rankd.transport.convert.queue import queue_steps


def queue_of(*items):
    """Items as a queue."""
    request = rank_pb2.RankRequest(items=items)
    steps = queue_steps(request, LimitsSection(), OrderSection())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def item(request_id="a", *, shape=None, **prediction):
    prediction = prediction_pb2.Prediction(**prediction) if prediction else None
    return rank_pb2.RankItem(request_id=request_id, shape=shape, prediction=prediction)


def faults(*items):
    """Fields at fault, and why."""
    with pytest.raises(InvalidRequestError) as error:
        queue_of(*items)
    return {v.field: v.description for v in error.value.violations}


def test_items_without_shapes_have_no_column_of_them():
    """Nor are there columns of learned scores where no prediction has one."""
    queue = queue_of(item("a"), item("b", score=1.0, ranker_version="r@1", features=b"some"))
    assert queue.shapes is None
    assert queue.learned is None


def test_a_shape_is_taken_as_it_is_said():
    """Whatever the counts; items without one have none."""
    most = 2**32 - 1
    said = rank_pb2.RequestShape(
        message_count=most, tool_count=1, last_role="tool", tool_choice="auto", response_format="json_schema",
        reasoning_effort="high", thinking_token_budget=2, choice_count=3, stop_count=4, step="s" * 256,
    )  # fmt: skip
    queue = queue_of(item("a"), item("b", shape=said), item("c", shape=rank_pb2.RequestShape()))
    assert queue.shapes == [
        None,
        RequestShape(most, 1, "tool", "auto", "json_schema", "high", 2, 3, 4, "s" * 256),
        RequestShape(),
    ]


@pytest.mark.parametrize(
    ("name", "most"),
    [("last_role", 64), ("tool_choice", 64), ("response_format", 64), ("reasoning_effort", 64), ("step", 256)],
)
def test_texts_of_a_shape_are_bounded_in_bytes(name, most):
    """The error names the field and the limit."""
    queue_of(item(shape=rank_pb2.RequestShape(**{name: "é" * (most // 2)})))
    found = faults(item("a"), item("b", shape=rank_pb2.RequestShape(**{name: "é" * (most // 2) + "e"})))
    assert list(found) == [f"items[1].shape.{name}"]
    assert f"{most} bytes" in found[f"items[1].shape.{name}"]


def test_learned_scores_are_a_column():
    """NaN where a prediction has none, or there is no prediction."""
    queue = queue_of(item("a"), item("b", score=1.0, learned_score=4.5), item("c", score=2.0))
    np.testing.assert_array_equal(queue.learned, [math.nan, 4.5, math.nan])


@pytest.mark.parametrize("learned", [math.nan, math.inf, -math.inf])
def test_a_learned_score_is_finite(learned):
    """As the score is."""
    found = faults(item("a", score=1.0, learned_score=learned))
    assert list(found) == ["items[0].prediction.learned_score"]


def test_features_are_bounded_and_opaque():
    """Any bytes will do, up to 2 KiB; the error names the field."""
    queue_of(item("a", score=1.0, features=b"\xff" * MOST_BYTES))
    found = faults(item("a", score=1.0, features=b"\0" * (MOST_BYTES + 1)))
    assert list(found) == ["items[0].prediction.features"]
    assert "2048 bytes" in found["items[0].prediction.features"]
