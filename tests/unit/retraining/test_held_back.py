"""Which rows are trained on and which are kept back: the latest that are new, none of both."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankd.errors import ConfigError
from rankd.retraining.held_back import choose_bounds, in_time, part
from rankd.retraining.outcome import RunEndedError, RunOutcome
from rankd.training.data.row import Row

LIMITS = {"share": 0.2, "min_new": 10, "least": 5, "most": 50}


def rows(*ended):
    return [Row(f"prompt {i}", i + 1, complete=True, at=at) for i, at in enumerate(ended)]


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=120),
    st.one_of(st.none(), st.integers(-1, 61)),
    st.booleans(),
)
def test_what_is_kept_back_is_newer_than_what_is_trained_on_and_was_never_judged_by(ended, since, only_new):
    timed = in_time(rows(*ended), now=100.0).rows
    try:
        bounds = choose_bounds([r.at for r in timed], since, **LIMITS)
    except RunEndedError as ended_at_once:
        new = sum(since is None or at > since for at in ended)
        assert (ended_at_once.outcome is RunOutcome.NOTHING_NEW) == (new == 0)
        assert new < LIMITS["min_new"] or new == len(ended)
        return
    parts = part(timed, bounds, only_new=only_new)
    assert len(parts.held_back) >= min(LIMITS["least"], parts.new)
    assert all(row.at < bounds.cutoff for row in parts.train)
    assert all(bounds.cutoff <= row.at <= bounds.until for row in parts.held_back)
    if since is not None:
        assert all(row.at > since for row in parts.held_back), "judged by in an earlier run, or trained on"
    if not only_new:
        assert len(parts.train) + len(parts.held_back) == len(timed)


def test_the_log_may_grow_while_a_run_is_under_way():
    timed = in_time(rows(*range(100)), now=1000.0).rows
    bounds = choose_bounds([r.at for r in timed], None, **LIMITS)
    grown = in_time(rows(*range(150)), now=1000.0).rows
    assert part(grown, bounds, only_new=False) == part(timed, bounds, only_new=False)


def test_too_few_new_completions_are_told_apart_from_none():
    ended = list(range(100))
    with pytest.raises(RunEndedError) as none:
        choose_bounds(ended, 99.0, **LIMITS)
    with pytest.raises(RunEndedError, match="9 new completions, 10 are wanted") as few:
        choose_bounds(ended, 90.0, **LIMITS)
    assert (none.value.outcome, few.value.outcome) == (RunOutcome.NOTHING_NEW, RunOutcome.TOO_LITTLE_DATA)


def test_a_time_in_the_future_does_not_make_all_others_old():
    timed = in_time([*rows(1, 2), *rows(10_000_000)], now=1000.0)
    assert [r.at for r in timed.rows] == [1, 2]
    assert timed.future == 1


def test_rows_without_a_time_are_left_out_and_none_at_all_is_an_error():
    found = rows(3, 1)
    timed = in_time([*found, replace(found[0], at=None)], now=1000.0)
    assert ([r.at for r in timed.rows], timed.untimed) == ([1, 3], 1)
    with pytest.raises(ConfigError, match="none of 1 rows tells when it ended"):
        in_time([replace(found[0], at=None)], now=1000.0)
