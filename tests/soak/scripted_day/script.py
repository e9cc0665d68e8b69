"""The script of a day: in short, for the suite, and in full."""

from soak.scripted_day.day import Day


def short_day(day: Day) -> None:
    """Small rankers whose worth is known, some 1,500 requests, and each thing once."""
    first = day.ranker("1.0.0", long=0.0)
    second, bad = day.ranker("2.0.0"), day.ranker("3.0.0", scale=-1.0)
    day.truth.ranker = "tiny@1.0.0"
    # What is learned of the traffic would mend the bad one's order.
    day.settings = {"adapt__enabled": False}
    day.start(ranker=first)
    day.point("started")
    day.serve(180, 0.3)
    day.wait(120)
    day.point("a quiet hour")
    day.serve(400, 1.0)
    day.wait(120)
    day.point("a busy hour")
    day.start_pilot(60, 6)
    day.serve(150, 0.9)
    day.point("a pilot")
    day.stop_pilot()
    assert day.promote(second)["promoted"], "the better one is promoted"
    day.serve(300, 0.9)
    day.point("promoted")
    day.restart()
    day.point("killed, and started again")
    day.serve(200, 1.0)
    day.point("busy again")
    assert not day.promote(bad)["promoted"], "the bad one is refused"
    day.point("a bad candidate, refused")
    day.promote(bad, "--force")
    day.serve(300, 0.9)
    day.point("a bad one, forced")
    day.rollback()
    day.point("rolled back")
    day.wait(1700)
    day.point("an idle half hour")


def full_day(day: Day, *, retrains: bool = True) -> None:
    """The bundled n-gram ranker, hours of several loads, a retrain at night, and all that an operator does.

    Args:
        day: one that has not begun.
        retrains: whether training is installed.
    """
    day.start(ranker="ngram")
    day.point("started")
    day.serve(90, 0.3)
    day.point("the first requests")
    day.serve(300, 0.3)
    day.point("a quiet hour")
    day.serve(700, 0.9, half_way="in the middle of a busy hour")
    day.point("at its end")
    day.serve(900, 1.05, half_way="in the middle of a crowded hour", swing=0.3)
    day.point("right after it")
    day.wait(120)
    day.point("two minutes after it")
    day.serve(700, 0.95, unreported=0.1, half_way="a tenth is not reported")
    day.wait(120)
    day.point("after that")
    day.wait(900)
    day.point("idle")
    _pilot(day)
    day.serve(1200, 0.95, half_way="an evening hour")
    day.wait(120)
    day.point("the evening")
    if retrains:
        _night(day)
    _operator(day)


def _pilot(day: Day) -> None:
    day.start_pilot(90, 6)
    day.wait(70)
    day.pilot_ended()
    day.point("a pilot without traffic has ended itself")
    day.start_pilot(90, 6)
    day.serve(700, 0.9, half_way="a pilot under way")
    day.point("still under way")
    day.stop_pilot()
    day.point("a pilot stopped")


def _night(day: Day) -> None:
    day.wait(5 * 3600)
    day.point("night")
    day.retrain()
    day.point("retrained")
    day.serve(900, 1.0, half_way="served by what was retrained")
    day.wait(120)
    day.point("the morning")


def _operator(day: Day) -> None:
    day.restart(**({} if day.truth.steps else {"ranker": "ngram"}))
    day.point("killed, and started again")
    day.serve(700, 1.0, half_way="busy again")
    day.wait(120)
    day.point("after that hour")
    bad = day.ranker("9.0.0", scale=-1.0)
    assert not day.promote(bad)["promoted"], "the bad one is refused"
    day.point("a bad candidate, refused")
    day.promote(bad, "--force")
    day.serve(300, 1.0, half_way="a bad one, forced")
    day.point("the bad one's first 300 requests")
    day.serve(600, 1.0, half_way="the bad one goes on")
    day.wait(120)
    day.point("after that")
    day.rollback()
    day.point("rolled back")
    day.serve(500, 0.9, half_way="the one before serves again")
    day.wait(1700)
    day.point("an idle half hour")
