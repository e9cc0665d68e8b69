"""Reports in any order, in bounded memory, and what becomes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankd.quality import OutcomeReport, QualitySettings, QualityTracker, ReportVerdict
from rankd.quality.arrivals import ArrivalTable

SMALL = QualitySettings(window=32, cohort=32, guard_cohort=16, arrivals=64, dedupe=16, min_cohort=10, guard_every=3)


def final(
    key: int, score: float = 0.5, tokens: int = 10, *, complete: bool = True, arrival: float = 1.0
) -> OutcomeReport:
    """Build a final report."""
    return OutcomeReport(key, score, tokens, final=True, complete=complete, arrival=arrival)


def progress(key: int, tokens: int = 0, score: float = 0.5, arrival: float = 1.0) -> OutcomeReport:
    """Build a progress report."""
    return OutcomeReport(key, score, tokens, final=False, complete=False, arrival=arrival)


def test_finals_count_once_and_progress_never_as_a_duplicate() -> None:
    """A second final is a duplicate, progress after it is stale, progress before it is neither."""
    tracker = QualityTracker(SMALL)
    assert tracker.add(progress(1), 2.0) is ReportVerdict.ACCEPTED
    assert tracker.add(progress(1, 5), 3.0) is ReportVerdict.ACCEPTED
    assert tracker.add(progress(1, 5), 3.0) is ReportVerdict.ACCEPTED
    assert tracker.add(progress(1, 4), 4.0) is ReportVerdict.STALE
    assert tracker.add(final(1, tokens=9), 5.0) is ReportVerdict.ACCEPTED
    assert tracker.add(final(1, tokens=9), 6.0) is ReportVerdict.DUPLICATE
    assert tracker.add(progress(1, 7), 7.0) is ReportVerdict.STALE
    estimate = tracker.snapshot(8.0).evaluate()
    assert (estimate.finished, estimate.open, estimate.duplicates, estimate.stale) == (1, 0, 1, 2)
    assert tracker.completions == 1


def test_a_duplicate_is_known_after_the_short_memory_forgot_it() -> None:
    """The table of arrivals remembers as well, so that one request is not counted twice in the cohort."""
    tracker = QualityTracker(SMALL)
    for key in range(40):
        tracker.add(final(key, arrival=1.0 + key), 100.0)
    assert tracker.add(final(0, arrival=1.0), 101.0) is ReportVerdict.DUPLICATE
    assert tracker.add(progress(1, arrival=2.0), 101.0) is ReportVerdict.STALE


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_impossible_reports_are_refused(score: float) -> None:
    """Scores that are not finite, impossible counts and times change nothing."""
    tracker = QualityTracker(SMALL)
    assert tracker.add(final(1, score=score), 1.0) is ReportVerdict.INVALID
    assert tracker.add(final(1, tokens=-1), 1.0) is ReportVerdict.INVALID
    assert tracker.add(final(1, tokens=2**31), 1.0) is ReportVerdict.INVALID
    assert tracker.add(final(1), math.nan) is ReportVerdict.INVALID
    estimate = tracker.snapshot(1.0).evaluate()
    assert (estimate.finished, estimate.invalid) == (0, 4)


def test_progress_expires_and_stays_a_lower_bound() -> None:
    """After its time a silent request no longer counts as open, but its arrival is not forgotten."""
    tracker = QualityTracker(SMALL)
    tracker.add(progress(1, 3, arrival=1.0), 1.0)
    assert tracker.snapshot(30.0).evaluate().open == 1
    tracker.add(final(2, arrival=1.0), 30.0)
    late = tracker.snapshot(90.0)
    assert (late.occupancy.open, late.occupancy.expired) == (0, 1)
    assert len(late.cohort.score) == 2
    assert tracker.add(final(1, tokens=8), 200.0) is ReportVerdict.ACCEPTED


def test_censored_requests_never_enter_the_plain_window() -> None:
    """The plain window holds lengths, the cohort bounds as well."""
    tracker = QualityTracker(SMALL)
    for key in range(20):
        tracker.add(final(key, score=key, tokens=key, complete=key % 2 == 0, arrival=1.0), 2.0)
    estimate = tracker.snapshot(50.0).evaluate()
    assert (estimate.window_size, estimate.finished, estimate.censored, estimate.cohort_size) == (10, 10, 10, 20)
    known = tracker.lengths()
    assert known.complete.sum() == 10
    assert len(known.tokens) == 20


def test_no_progress_is_said() -> None:
    """Where nobody reports progress the estimate says so."""
    tracker = QualityTracker(SMALL)
    tracker.add(final(1), 2.0)
    assert not tracker.snapshot(3.0).evaluate().progress_seen
    tracker.add(progress(2), 3.0)
    assert tracker.snapshot(3.0).evaluate().progress_seen


def test_the_guard_looks_every_so_many_completions() -> None:
    """guard_due counts finals since the last look."""
    tracker = QualityTracker(SMALL)
    assert not tracker.guard_due
    for key in range(3):
        assert not tracker.guard_due
        tracker.add(final(key), 2.0)
    assert tracker.guard_due
    assert tracker.guard_snapshot(3.0).evaluate().completions == 3
    assert not tracker.guard_due


reports = st.builds(
    OutcomeReport,
    key=st.integers(-(2**64), 2**65) | st.integers(0, 40),
    score=st.floats() | st.integers(0, 3).map(float),
    tokens=st.integers(-2, 2**33) | st.integers(0, 20),
    final=st.booleans(),
    complete=st.booleans(),
    arrival=st.floats(),
)


@given(st.lists(st.tuples(reports, st.floats(0, 1e4)), max_size=200))
@settings(max_examples=150, deadline=None)
def test_whatever_is_sent_everything_stays_bounded_and_nothing_is_nan(sent) -> None:
    """Any reports at any times: no exception, no growth, no NaN; finals with fresh keys are accepted once."""
    tracker = QualityTracker(SMALL)
    for report, now in sent:
        tracker.add(report, now)
        table = tracker._arrivals
        assert len(table) <= SMALL.arrivals
        assert len(table) + len(table._free) == SMALL.arrivals
        assert table._open == np.count_nonzero(table._state == 1)
        assert len(tracker._ended) <= SMALL.dedupe
    estimate = tracker.snapshot(1e4).evaluate()
    assert estimate.window_size <= SMALL.window
    for bounded in (estimate.tau, estimate.tau_b, estimate.realised_gain):
        assert bounded is None or -1 <= bounded.low <= bounded.value <= bounded.high <= 1
    for value in (estimate.head_tau, estimate.tail_tau, estimate.decided_pair_share):
        assert value is None or -1 <= value <= 1
    tracker.guard_snapshot(1e4).evaluate()


def test_a_deep_backlog_is_sampled_by_key_and_not_by_outcome() -> None:
    """More waiting requests than fit: finished and waiting ones are thinned alike, and room comes back."""
    table = ArrivalTable(256, 1e9)
    ended = 0
    for key in range(4000):
        table.update(progress(key * 8, arrival=1.0 + key), 1.0 + key)
        # Every other request ends soon, the rest waits for ever.
        if key % 2 and key > 10:
            table.update(final((key - 10) * 8, arrival=key - 9.0), 1.0 + key)
            ended += 1
    assert table.level >= 3
    counts = table.occupancy(5000.0)
    assert counts.finished + counts.open <= 256
    assert 0.6 < counts.finished / counts.open < 1.7
    for key in range(0, 4000, 2):
        table.update(final(key * 8, arrival=1.0 + key), 5000.0)
    for key in range(4000, 5000):
        table.update(final(key * 8, arrival=1000.0 + key), 1001.0 + key)
    assert table.level < 3


def test_settings_refuse_what_cannot_work() -> None:
    """Each wrong size is named."""
    for wrong in ({"window": 1}, {"arrivals": 10}, {"horizon": 0}, {"settle": 1.0}, {"progress_ttl": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            QualitySettings(**wrong)
