"""Two scores of every request: what is taken of one is as if there had never been the other one."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from rankd.quality import Guard, GuardEvidence, OutcomeReport, QualityEstimate, QualitySettings, QualityTracker
from rankd.quality.guard_state import GuardReason, GuardSettings, GuardStanding
from rankd.quality.prompt_judgement import PromptStanding
from rankd.quality.serialise import restore_tracker, save_tracker
from rankd.quality.statistics.cohort_sums import CohortTau
from rankd.quality.statistics.interval import Interval
from rankd.types import GuardMode

SMALL = QualitySettings(
    window=40, pair_window=8, cohort=60, guard_cohort=30, arrivals=400, dedupe=400, min_cohort=10, guard_every=20
)
_OF_THE_TABLE = ("finished", "censored", "open", "expired", "duplicates", "stale", "invalid", "learned")


def reports(seed: int, count: int) -> list[tuple[OutcomeReport, float]]:
    """Requests that report progress, end or are cut short; every fifth or so has no learned score."""
    rng, found = np.random.default_rng(seed), []
    for key in range(1, count + 1):
        tokens = int(rng.lognormal(3.0, 1.0)) + 1
        base, learned = np.log(tokens) * 0.3 + rng.normal(size=2)
        report = OutcomeReport(
            key,
            round(float(base), 1),
            tokens,
            final=True,
            complete=bool(rng.random() < 0.8),
            arrival=1000.0 + key,
            prompt=int(rng.integers(0, 50)),
            learned=math.nan if rng.random() < 0.2 else round(float(learned), 1),
        )
        if rng.random() < 0.3:
            found.append((replace(report, tokens=0, final=False, complete=False), 1000.0 + key))
        if rng.random() < 0.9:
            found.append((report, 1000.0 + key + tokens / 50))
    return sorted(found, key=lambda pair: pair[1])


def of_column(tracker: QualityTracker, now: float) -> dict[str, object]:
    """What is estimated of the column in use, and what its guard would decide on."""
    estimate, guard = tracker.snapshot(now).evaluate(), tracker.guard_snapshot(now).evaluate().tau
    found: dict[str, object] = {}
    values = [(name, getattr(estimate, name)) for name in QualityEstimate.__slots__ if name not in _OF_THE_TABLE]
    for name, value in [*values, ("guard_tau", guard.tau), ("guard_size", guard.size), ("guard_known", guard.known)]:
        bounds = (value.value, value.low, value.high) if isinstance(value, Interval) else (value,)
        found |= {f"{name} {n}": x for n, x in enumerate(bounds)}
    return found


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    """Whether two are the same, but for the order in which numbers were summed up."""
    return one.keys() == other.keys() and all(
        one[name] is other[name] or one[name] == pytest.approx(other[name], abs=1e-9) for name in one
    )


@settings(max_examples=examples(40), deadline=None)
@given(seed=st.integers(0, 2**31), flips=st.lists(st.integers(1, 60), min_size=1, max_size=8), back=st.booleans())
def test_flipping_back_and_forth_gives_what_a_tracker_of_that_column_alone_has(
    seed: int, flips: list[int], back: bool
) -> None:
    """Tau, plain window, gain and the guard's cohort are the same, whenever and however often it was flipped."""
    both, alone = QualityTracker(SMALL), {False: QualityTracker(SMALL), True: QualityTracker(SMALL)}
    flip_at, now = set(np.cumsum(flips).tolist()), 0.0
    for n, (report, now) in enumerate(reports(seed, 160)):
        both.add(report, now)
        alone[False].add(replace(report, learned=math.nan), now)
        if not math.isnan(report.learned):
            alone[True].add(replace(report, score=report.learned, learned=math.nan), now)
        if n in flip_at:
            both.use_learned(not both.learned_in_use)
    both.use_learned(back)
    assert same(of_column(both, now), of_column(alone[back], now))
    assert np.array_equal(both.lengths(learned=True).score, alone[True].lengths().score)
    assert np.array_equal(both.lengths().score, alone[False].lengths().score)


def test_pair_counters_only_grow_and_never_pair_two_columns() -> None:
    """Learned scores are all above the ranker's: a pair of one with the other would be concordant or not by chance."""
    tracker = QualityTracker(SMALL)
    before = tracker.compared.totals
    for key in range(1, 200):
        tracker.use_learned(key // 20 % 2 == 1)
        # Longer later. Within a column each pair is concordant; between columns half of them would not be.
        report = OutcomeReport(key, float(key), key, final=True, complete=True, arrival=1.0, learned=key - 1000.0)
        tracker.add(report, 1000.0)
        assert (tracker.compared.totals >= before).all()
        before = tracker.compared.totals
    reported, concordant, discordant = before[:3]
    assert reported == 198
    assert concordant == sum(min(n, 8) for n in range(199))
    assert discordant == 0


def test_too_few_learned_scores_are_no_evidence() -> None:
    """Right after a switch that nothing was learned before: no tau, no cohort, and a guard that keeps its mode."""
    tracker = QualityTracker(SMALL)
    for key in range(1, 200):
        tracker.add(OutcomeReport(key, float(key % 7), key, final=True, complete=True, arrival=float(key)), 1000.0)
    tracker.guard_snapshot(1000.0)
    assert not tracker.guard_due
    tracker.use_learned(True)
    assert tracker.guard_due
    assert tracker.guard_stale
    snapshot = tracker.guard_snapshot(1000.0)
    evidence = snapshot.evaluate()
    assert evidence.learned
    assert evidence.tau.tau is None
    estimate = tracker.snapshot(1000.0).evaluate()
    assert (estimate.learned, estimate.tau, estimate.tau_b, estimate.window_size) == (True, None, None, 0)
    assert estimate.finished == 199
    guard = Guard(GuardSettings(dwell=0.0), measured=True)
    guard.adopt(GuardStanding(GuardMode.RANKED, 0.0, None, 60.0, 0.0, 0, 0.2), 1.0)
    for _ in range(5):
        assert guard.observe_quality(evidence, 1000.0) is None
    assert guard.mode is GuardMode.RANKED


def test_both_columns_are_saved_and_restored() -> None:
    """Whichever is in use; who restores it begins with the ranker's own scores and flips."""
    before = QualityTracker(SMALL)
    for report, now in reports(7, 200):
        before.add(report, now)
    before.use_learned(True)
    saved = save_tracker(before, 50.0)
    after = restore_tracker(SMALL, saved, now, 50.0)
    assert not after.learned_in_use
    for learned in (False, True, False):
        before.use_learned(learned)
        after.use_learned(learned)
        assert same(of_column(after, now), of_column(before, now))
    none = restore_tracker(SMALL, saved, now, 50.0, learned=False)
    assert len(none.lengths(learned=True).score) == 0
    assert len(none.lengths().score) == len(before.lengths().score)
    none.use_learned(True)
    assert none.snapshot(now).evaluate().window_size == 0


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("arrivals/learned", lambda column: np.where(np.isnan(column), np.inf, column)),
        ("arrivals/learned", lambda column: column[:-1]),
        ("arrivals/learned", lambda column: column.astype(np.float32)),
        ("learned_plain/score", lambda column: column * np.nan),
        ("learned_plain/tokens", lambda column: column - 10**6),
        ("learned_compared/tokens", lambda column: column[1:]),
    ],
)
def test_learned_columns_that_cannot_be_are_refused(name: str, change) -> None:
    """A file was written to by somebody else."""
    tracker = QualityTracker(SMALL)
    for report, now in reports(3, 100):
        tracker.add(report, now)
    saved = save_tracker(tracker)
    saved.columns[name] = change(saved.columns[name])
    with pytest.raises(ValueError, match=name.split("/", maxsplit=1)[0]):
        restore_tracker(SMALL, saved, now)


def evidence(low: float, high: float) -> GuardEvidence:
    """A look at 300 requests."""
    return GuardEvidence(0.0, 0, CohortTau(Interval((low + high) / 2, low, high), 384, 300, 1, 1.0, 100))


def fallen(relapses: int = 4) -> Guard:
    """A guard that fell back because of quality at 1000, several times before too."""
    guard = Guard(GuardSettings(dwell=60.0, dwell_max=14400.0))
    stay = 60.0 * 2**relapses
    guard.adopt(
        GuardStanding(GuardMode.FALLBACK, 1000.0, GuardReason.QUALITY, stay, 900.0, relapses, 0.01, PromptStanding()),
        1000.0,
    )
    return guard


def test_what_was_confirmed_of_other_scores_confirms_nothing_of_these() -> None:
    """One good look at each of two scores is not two good looks; and the other way round with bad ones."""
    guard = fallen(0)
    guard.observe_quality(evidence(0.3, 0.5), 2000.0)
    guard.scores_changed(better=True)
    assert guard.observe_quality(evidence(0.3, 0.5), 2001.0) is None
    assert guard.observe_quality(evidence(0.3, 0.5), 2002.0).to is GuardMode.RANKED
    guard.observe_quality(evidence(-0.1, 0.05), 3000.0)
    guard.scores_changed(better=False)
    assert guard.observe_quality(evidence(-0.1, 0.05), 3001.0) is None
    assert guard.observe_quality(evidence(-0.1, 0.05), 3002.0).to is GuardMode.FALLBACK


def test_better_scores_are_not_held_back_by_relapses_of_the_ones_before() -> None:
    """A fallback of 16 minutes ends after the plain dwell where other scores came to order; else it does not."""
    held, freed = fallen(), fallen()
    freed.scores_changed(better=True)
    held.scores_changed(better=False)
    for now in (1070.0, 1071.0):
        held.observe_quality(evidence(0.3, 0.5), now)
        freed.observe_quality(evidence(0.3, 0.5), now)
    assert freed.mode is GuardMode.RANKED
    assert held.mode is GuardMode.FALLBACK


def test_the_bound_of_tau_is_not_held_near_that_of_other_scores() -> None:
    """It moves only as far as without any one tenant too, but at the first look at others: as a new guard's does."""
    guard = fallen()
    alone = replace(evidence(0.4, 0.5), without=(-0.2,))
    guard.observe_quality(alone, 1001.0)
    assert guard.tau_low == pytest.approx(0.01)
    guard.scores_changed(better=True)
    assert guard.tau_low == pytest.approx(0.01)
    guard.observe_quality(alone, 1002.0)
    assert guard.tau_low == pytest.approx(0.4)
