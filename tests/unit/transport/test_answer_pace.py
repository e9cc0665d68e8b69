"""What a deadline leaves time for, after stalls and without."""

import pytest

from rankd.transport.answer_pace import AnswerPace

IDLE = AnswerPace().margin(1000)


def test_a_stall_is_bounded():
    """However long the machine stood still, no more than 400 us per item are left for answering."""
    pace = AnswerPace()
    for _ in range(100):
        pace.learn(80, 4.0)
    assert IDLE < pace.margin(1000) <= 0.4


@pytest.mark.parametrize("items", [1, 10, 63, 64, 10_000])
def test_calls_of_any_length_bring_it_back(items):
    """After a stall, calls that are answered as fast as ever make it what it was, short queues alone too."""
    pace = AnswerPace()
    for _ in range(100):
        pace.learn(80, 4.0)
    for _ in range(5000):
        pace.learn(items, items * 4e-6)
    assert pace.margin(1000) == pytest.approx(IDLE, rel=0.01)


def test_a_short_queue_shows_no_slow_pace():
    """What a call costs at all is not taken for what an item costs; a long queue does tell."""
    pace = AnswerPace()
    for _ in range(100):
        pace.learn(1, 1e-4)
    assert pace.margin(1000) == IDLE
    for _ in range(100):
        pace.learn(1000, 0.05)
    assert pace.margin(1000) == pytest.approx(0.1, rel=0.01)


def test_an_empty_queue_says_nothing():
    """No items, no pace."""
    pace = AnswerPace()
    pace.learn(0, 1.0)
    assert (pace.margin(1000), pace.margin(0)) == (IDLE, 0.0)


def test_late_answers_are_given_sooner_until_that_is_over():
    """Twice what they were late, at most ten milliseconds; what comes in time again makes it what it was."""
    pace = AnswerPace()
    pace.late(0, 0.002)
    assert pace.margin(0) == pytest.approx(0.004)
    pace.late(1, 3.0)
    assert pace.margin(0) == pytest.approx(0.01)
    for _ in range(500):
        pace.late(1, -1.0)
    assert pace.margin(0) < 1e-5


def test_what_a_queue_takes_itself_is_not_laid_to_the_loop():
    """Who asks for long queues would have all others wait for less."""
    pace = AnswerPace()
    pace.late(1000, 1000 * pace.seconds_per_item)
    assert pace.lag == 0.0
    pace.late(1000, 1000 * pace.seconds_per_item + 0.001)
    assert pace.lag == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("remaining", "lag", "seconds", "whole"),
    [(0.05, 0.0, 0.048, True), (0.05, 0.005, 0.038, True), (0.02, 0.005, 0.01, False), (0.001, 0.0, 0.0005, False)],
)
def test_a_deadline_too_near_for_the_margin_tells_nothing_of_the_loop(remaining, lag, seconds, whole):
    """Half of the time is waited in any case; an answer to so hasty a caller is late by itself."""
    pace = AnswerPace()
    pace.late(0, lag)
    assert pace.wait(remaining, 0.002, 0) == (pytest.approx(seconds), whole)
