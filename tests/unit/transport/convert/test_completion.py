"""What a report's message becomes."""

from rankd_client.v1 import prediction_pb2

from rankd.settings import LimitsSection
from rankd.transport.convert.completion import expected_of


def test_an_expected_length_that_no_answer_could_have_does_not_tune():
    """One report of 1e308 tokens would make the average length infinite, and all patience 0: as in a queue, refused."""
    most = LimitsSection().max_token_count
    for told in (-1.0, most + 1.0, 1e308, float("inf"), float("nan")):
        assert expected_of(prediction_pb2.Prediction(expected_token_count=told), most) is None
    assert expected_of(prediction_pb2.Prediction(expected_token_count=most), most) == most
