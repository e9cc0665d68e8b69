"""What a report's message becomes."""

import math
import time

import pytest
from rankd_client.v1 import completion_pb2, prediction_pb2

from rankd.adaptation.features import MOST_BYTES
from rankd.auth import Caller
from rankd.clock import CLOCK
from rankd.settings import LimitsSection
from rankd.transport.convert.completion import RejectedError, check_identity, completion_of, expected_of


def test_an_expected_length_that_no_answer_could_have_does_not_tune():
    """One report of 1e308 tokens would make the average length infinite, and all patience 0: as in a queue, refused."""
    most = LimitsSection().max_token_count
    for told in (-1.0, most + 1.0, 1e308, float("inf"), float("nan")):
        assert expected_of(prediction_pb2.Prediction(expected_token_count=told), most) is None
    assert expected_of(prediction_pb2.Prediction(expected_token_count=most), most) == most


def sent(*, scored=0.0, age=0.0, **durations):
    """A report whose prediction was made so many seconds ago (None: it does not say), as ``completion_of`` reads it."""
    prediction = prediction_pb2.Prediction(score=1.0, ranker_version="r@1")
    if scored is not None:
        prediction.scored_at.FromNanoseconds(int((time.time() - scored) * 1e9))
    message = completion_pb2.Completion(
        request_id="a", prediction=prediction, output_token_count=10, finish_reason=completion_pb2.FINISH_REASON_STOP
    )
    for name, seconds in durations.items():
        getattr(message, f"{name}_duration").FromNanoseconds(int(seconds * 1e9))
    if age:
        message.arrival_time.FromNanoseconds(int((time.time() - age) * 1e9))
    now = CLOCK.now()
    completion, _ = completion_of(message, "m", Caller("x"), caller_now=time.time(), now=now, limits=LimitsSection())
    return completion, now - completion.arrival


YEAR = 365 * 86400.0


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ("queue_duration", {"queue": 9 * YEAR}),
        ("queue_duration", {"queue": 62.0}),
        ("queue_duration", {"queue": 3600.0, "total": 3601.0}),
        ("total_duration", {"queue": 1.0, "total": 2 * YEAR}),
        ("total_duration", {"total": 86400.0}),
        ("queue_duration", {"scored": 3600.0, "queue": 3700.0}),
        ("queue_duration", {"scored": None, "queue": YEAR}),
        ("total_duration", {"scored": 10 * YEAR, "total": 8 * 86400.0}),
    ],
)
def test_what_took_longer_than_there_was_time_is_refused(field, told):
    """A wait, or a duration, beyond the time since its prediction was made, or beyond all that is believed."""
    with pytest.raises(RejectedError, match=field) as error:
        sent(**told)
    assert error.value.reason == completion_pb2.REJECTION_REASON_INVALID_TIME
    assert "limits." in error.value.description, "the remedy"


@pytest.mark.parametrize(
    "told",
    [
        {"queue": 30.0, "total": 31.0},
        {"scored": 3600.0, "queue": 3600.0, "total": 3610.0},
        {"scored": None, "queue": 86400.0, "total": 86401.0},
        {"scored": 0.0, "queue": 59.0},
    ],
)
def test_what_there_was_time_for_is_taken(told):
    """Waits before scoring, and clocks that differ a little, are."""
    completion, _ = sent(**told)
    assert completion.waited == pytest.approx(told["queue"])
    assert (completion.took or 0.0) == pytest.approx(told.get("total", 0.0))


def test_a_prediction_of_the_future_tells_no_times():
    """As where a clock was set back: the report is taken, its length counts, and nothing is learned of how long."""
    completion, age = sent(scored=-7200.0, queue=5.0, total=9.0)
    assert (completion.waited, completion.ran, completion.took, completion.tokens) == (None, None, None, 10)
    assert age <= 60.1


@pytest.mark.parametrize(("told", "most"), [({"age": 9 * YEAR}, 61.0), ({"age": 9 * YEAR, "scored": 100.0}, 161.0)])
def test_nothing_arrived_long_before_it_was_scored(told, most):
    """One arrival of years ago would make requests seem to stay for years, and the cohort wait for them."""
    _, age = sent(**told)
    assert most - 2 < age < most


def with_prediction(**fields):
    """A report of a prediction that says so."""
    prediction = prediction_pb2.Prediction(score=1.0, ranker_version="r@1", **fields)
    return completion_pb2.Completion(
        request_id="a", prediction=prediction, finish_reason=completion_pb2.FINISH_REASON_STOP
    )


@pytest.mark.parametrize("features", [b"", b"\x01", b"\xff" * MOST_BYTES])
def test_features_are_handed_on_as_they_came(features):
    """What they say is not looked at here: a report with some that say nothing is of use all the same."""
    message = with_prediction(features=features)
    check_identity(message, LimitsSection())
    completion, _ = completion_of(
        message, "m", Caller("x"), caller_now=time.time(), now=CLOCK.now(), limits=LimitsSection()
    )
    assert completion.features == features


@pytest.mark.parametrize(
    ("field", "value"),
    [("features", b"x" * (MOST_BYTES + 1)), ("learned_score", math.nan), ("learned_score", math.inf)],
)
def test_what_no_prediction_carries_is_refused(field, value):
    """With the field at fault."""
    with pytest.raises(RejectedError, match=f"prediction.{field}") as error:
        check_identity(with_prediction(**{field: value}), LimitsSection())
    assert error.value.reason == completion_pb2.REJECTION_REASON_INVALID_PREDICTION
