"""The script of a day: in short, for the suite, and in full."""

from soak.scripted_day.day import Day


def short_day(day: Day) -> None:
    """Small rankers whose worth is known, some 1,500 requests, and each thing once."""
    first = day.ranker("1.0.0", long=0.0)
    second, bad = day.ranker("2.0.0"), day.ranker("3.0.0", scale=-1.0)
    day.truth.ranker = "tiny@1.0.0"
    day.start(ranker=first)
    day.point("started")
    day.serve(160, 0.3)
    day.point("a quiet hour")
    day.serve(400, 1.0)
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
    day.serve(300, 1.0)
    day.point("busy again")
    assert not day.promote(bad)["promoted"], "the bad one is refused"
    day.point("a bad candidate, refused")
    day.promote(bad, "--force")
    day.serve(150, 0.9)
    day.point("a bad one, forced")
    day.rollback()
    day.point("rolled back")
    day.wait(1700)
    day.point("an idle half hour")
