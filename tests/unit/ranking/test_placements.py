"""How engines' requests were placed of late: what is older than five minutes does not count."""

from rankd_client import Placed

from rankd.ranking.placements import RecentPlacements


def test_the_last_five_minutes_count():
    recent = RecentPlacements()
    recent.add(Placed(ranked=5, too_late=1), 1000.0)
    recent.add(Placed(ranked=5, unreachable=2), 1001.0)
    recent.add(Placed(other=7), 1200.0)
    assert recent.recent(1250.0) == Placed(10, 1, 2, 7)
    assert recent.recent(1301.0) == Placed(other=7)
    assert recent.recent(2000.0) == Placed()


def test_rows_are_bounded_and_a_clock_that_is_set_back_does_no_harm():
    recent = RecentPlacements()
    for at in range(5000):
        recent.add(Placed(ranked=1), 1000.0 + at)
    assert len(recent._rows) <= 32
    recent.add(Placed(ranked=1), 10.0)
    assert recent.recent(11.0).ranked <= 1


def test_the_share_is_of_those_that_were_to_be_ranked():
    assert Placed(other=9).missed_share is None
    assert Placed(ranked=60, too_late=30, unreachable=10, other=500).missed_share == 0.4
