"""A tracker and a guard as columns and scalars, and back."""

import json

import numpy as np
import pytest

from rankd.quality import UNKNOWN_PROMPT, GuardSettings, OutcomeReport, QualitySettings, QualityTracker, WorkModel
from rankd.quality.guard import Guard
from rankd.quality.guard_state import GuardReason, GuardStanding
from rankd.quality.prompt_judgement import PromptStanding
from rankd.quality.serialise import restore_guard, restore_tracker, save_guard, save_tracker
from rankd.types import GuardMode

SMALL = QualitySettings(window=64, pair_window=16, cohort=64, guard_cohort=32, arrivals=128, dedupe=100)


def feed(tracker, numbers, now=1e6):
    """Reports of requests that finish, wait, run, are cut short, or come twice."""
    for n in numbers:
        kind = n % 7
        report = OutcomeReport(
            key=n * 7919 + 1,
            score=float(np.sin(n)) if n % 5 else 0.0,
            tokens=(n * 37) % 50,
            final=kind < 5,
            complete=kind < 4,
            arrival=now + n - 3 * kind,
            prompt=(n * 53) % 900 if n % 3 else UNKNOWN_PROMPT,
        )
        tracker.add(report, now + n)
        if kind == 3:
            tracker.add(report, now + n)


def test_a_restored_tracker_is_the_one_that_was_saved_and_goes_on_like_it():
    """Same estimates, to the last bit, then and after further reports; a report known before is still a duplicate."""
    before = QualityTracker(SMALL)
    feed(before, range(500))
    after = restore_tracker(SMALL, save_tracker(before), now=1e6 + 500)
    for numbers in (range(500, 500), range(500, 620)):
        feed(before, numbers)
        feed(after, numbers)
        work = WorkModel(0.1, lambda score: 20 + 10 * score)
        old, new = (tracker.snapshot(1e6 + 700, work).evaluate() for tracker in (before, after))
        for name in (
            "tau",
            "tau_b",
            "realised_gain",
            "work_tau",
            "prompt_work_tau",
            "realised_work_gain",
            "head_tau",
            "tail_tau",
            "open",
            "finished",
            "censored",
            "expired",
        ):
            assert getattr(old, name) == getattr(new, name)
        found, again = (t.guard_snapshot(1e6 + 700, work).evaluate() for t in (before, after))
        assert found.prompts is not None
        assert (found.tau, found.prompts) == (again.tau, again.prompts)
        assert before.completions == after.completions
    assert after.compared.totals[0] == 120 * 4 // 7 + 1  # counted from the restart on, each against those before it


def test_a_smaller_window_keeps_the_latest():
    """Settings may change between two starts."""
    before = QualityTracker(SMALL)
    feed(before, range(500))
    smaller = QualitySettings(window=10, pair_window=4, cohort=20, guard_cohort=20, arrivals=30, dedupe=5)
    after = restore_tracker(smaller, save_tracker(before), now=1e6 + 500)
    assert after.contents()["plain"]["tokens"].tolist() == before.contents()["plain"]["tokens"].tolist()[-10:]
    assert len(after.contents()["arrivals"]["key"]) == 30
    feed(after, range(500, 600))
    assert after.snapshot(1e6 + 600).evaluate().window_size == 10


@pytest.mark.parametrize("mode", [GuardMode.RANKED, GuardMode.FALLBACK])
def test_a_guard_goes_on_where_it_was_with_its_dwell_its_relapses_and_its_pin(mode):
    """A fallback is neither shortened nor forgotten by a restart."""
    guard = Guard(GuardSettings())
    cause = GuardReason.QUALITY if mode is GuardMode.FALLBACK else None
    guard.adopt(GuardStanding(mode, 90.0, cause, 480.0, 50.0, 3, 0.1, PromptStanding(True, True, 0.3)), 100.0)
    guard.pin(GuardMode.RANKED, 500.0, 100.0)
    after = Guard(GuardSettings())
    assert restore_guard(after, json.loads(json.dumps(save_guard(guard))), 110.0)
    assert (after.standing, after.pinned) == (guard.standing, guard.pinned)


def test_a_fallback_because_scoring_failed_ends_with_its_process():
    """A new process has a new model; what quality said before is kept."""
    guard = Guard(GuardSettings())
    guard.adopt(GuardStanding(GuardMode.RANKED, 90.0, None, 120.0, 50.0, 1, 0.1), 100.0)
    guard._go(GuardMode.FALLBACK, GuardReason.ERRORS, None)
    after = Guard(GuardSettings(), measured=True)
    assert not restore_guard(after, save_guard(guard), 110.0)
    assert after.ranks
    assert after.standing.recovered_at == 50.0
