"""A day by a script, in short: at each point page, status.json, metrics and command line say what is true.

The long form, with hours of several loads and a retrain, is ``make day``.
"""

from soak.scripted_day.day import Day
from soak.scripted_day.script import short_day


def test_what_is_said_in_the_course_of_a_day_is_true(tmp_path):
    """A real daemon by a script's clock, its requests served by the simulated engine, against the same by arrival."""
    day = Day(tmp_path)
    try:
        short_day(day)
    finally:
        day.close()
    assert {p.name: p.untrue for p in day.points if p.untrue} == {}
    states = {p.name: p.state for p in day.points}
    assert states["a quiet hour"] == "no_queue"
    assert states["a busy hour"] == "gains"
    assert states["killed, and started again"] == "learning"
    assert states["a bad one, forced"] == "falls_back"
    assert states["an idle half hour"] == "idle"
    # Of one day that begins alike each time: coverage is for the long form to tell.
    told, held = day.coverage.told.total(), day.coverage.held.total()
    assert told >= 60
    assert held >= 0.85 * told, day.coverage.missed
