"""A little of a long work at a time, and all of it in the end."""

from hypothesis import given
from hypothesis import strategies as st
from rankd_client.integration import InTurn


@given(st.sets(st.text("abc", max_size=3), min_size=1), st.integers(1, 5))
def test_everybody_has_a_turn(present, most):
    """Nobody twice before all had one, and never more than so many at a time."""
    turn, named = InTurn(most, seconds=60.0), []
    while len(named) < len(present):
        some = list(turn.some(present))
        assert 1 <= len(some) <= most
        named += some
    assert set(named[: len(present)]) == present


def test_who_is_gone_is_not_named():
    """Those that are asked for are those that are there now."""
    turn = InTurn(2, seconds=60.0)
    assert list(turn.some({"a": 1, "b": 2, "c": 3})) == ["a", "b"]
    assert list(turn.some({"b": 2})) == []
    assert list(turn.some({"b": 2})) == ["b"]
    assert list(turn.some({})) == []


def test_it_ends_when_its_time_is_over():
    """But for one, or nothing would ever be done."""
    turn = InTurn(8, seconds=0.0)
    assert list(turn.some(["a", "b"])) == ["a"]
    assert list(turn.some(["a", "b"])) == ["b"]
