"""Pauses between tries."""

from rankd_client.integration import Backoff


def test_pauses_double_up_to_the_longest_and_begin_again_after_a_success():
    backoff = Backoff(0.5, 3.0)
    assert [backoff.pause() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.exhausted
    backoff.reset()
    assert not backoff.exhausted
    assert [backoff.pause() for _ in range(2)] == [0.5, 1.0]


def test_the_first_pause_is_no_longer_than_the_longest():
    """The longest is a setting of the completion log, and may be less than its first."""
    backoff = Backoff(1.0, 0.25)
    assert [backoff.pause() for _ in range(2)] == [0.25, 0.25]
