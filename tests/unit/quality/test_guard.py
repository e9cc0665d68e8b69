"""The guard: a machine that changes its mind slowly, and for reasons."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import SOAK, examples

from benchmarks.guard_days import rho_of, simulate
from rankd.quality import CohortTau, Guard, GuardEvidence, GuardReason, GuardSettings, HealthEvidence, Interval
from rankd.types import GuardMode

WARMING, RANKED, FALLBACK = GuardMode.WARMING_UP, GuardMode.RANKED, GuardMode.FALLBACK
GOOD, BAD, MIDDLE = (0.3, 0.4), (-0.1, 0.05), (0.1, 0.2)


def look(bounds: tuple[float, float] | None, known: int = 300) -> GuardEvidence:
    """Evidence with these bounds."""
    tau = Interval(sum(bounds) / 2, *bounds) if bounds else None
    return GuardEvidence(0.0, 0, CohortTau(tau, 384, known, 1, 1.0, 100))


def show(guard: Guard, bounds, start: float, count: int = 2, step: float = 1.0):
    """Show the same evidence some times; the changes that it makes."""
    changes = [guard.observe_quality(look(bounds), start + k * step) for k in range(count)]
    return [change for change in changes if change]


def ranked(now: float = 0.0) -> Guard:
    """Bring a guard to ranking."""
    guard = Guard(measured=True)
    show(guard, GOOD, now)
    assert guard.mode is RANKED
    return guard


def test_warming_up_trusts_a_measured_ranker_only() -> None:
    """It ranks while warming up where the manifest carries a tau, else not; and leaves once quality is known."""
    assert Guard(measured=True).ranks
    unmeasured = Guard(measured=False)
    assert not unmeasured.ranks
    assert show(unmeasured, MIDDLE, 0.0, 5) == []
    (change,) = show(unmeasured, GOOD, 10.0)
    assert (change.origin, change.to, change.reason) == (WARMING, RANKED, GuardReason.WARMED_UP)
    measured = Guard(measured=True)
    assert show(measured, None, 0.0, 5) == []
    assert [change.to for change in show(measured, MIDDLE, 10.0)] == [RANKED]
    poor = Guard(measured=True)
    assert [change.reason for change in show(poor, BAD, 0.0)] == [GuardReason.QUALITY]
    assert not poor.ranks


def test_quality_has_hysteresis_confirmation_and_dwell() -> None:
    """Falling needs the upper bound below the floor twice, recovering the lower one above floor + margin."""
    guard = ranked()
    assert show(guard, MIDDLE, 100.0, 10) == []
    assert show(guard, BAD, 200.0, 1) == []
    assert show(guard, MIDDLE, 201.0, 1) == []
    (fall,) = show(guard, BAD, 202.0, 2)
    assert (fall.reason, fall.evidence.tau.tau.high, guard.cause) == (GuardReason.QUALITY, 0.05, GuardReason.QUALITY)
    assert show(guard, MIDDLE, 500.0, 10) == []
    (back,) = show(guard, GOOD, 600.0)
    assert (back.origin, back.to, back.reason) == (FALLBACK, RANKED, GuardReason.RECOVERED)
    assert guard.cause is None


def test_thin_evidence_decides_nothing() -> None:
    """Too few known lengths or no tau at all keep the mode and break a run of confirmations."""
    guard = ranked()
    guard.observe_quality(look(BAD), 100.0)
    guard.observe_quality(look(BAD, known=199), 101.0)
    guard.observe_quality(look(None), 102.0)
    assert guard.observe_quality(look(BAD), 103.0) is None
    assert guard.mode is RANKED


def test_relapses_lengthen_the_stay() -> None:
    """Each fallback soon after a recovery doubles the next stay, up to a limit; a calm day forgets it."""
    guard, now, stays = ranked(), 1000.0, []
    for _ in range(12):
        now += 100
        show(guard, BAD, now)
        since = guard.since
        while guard.mode is FALLBACK:
            now += 10
            show(guard, GOOD, now)
        stays.append(guard.since - since)
    assert stays[:4] == pytest.approx([60, 120, 240, 480], abs=15)
    assert stays[-1] == pytest.approx(14400, abs=15)
    now += 2 * 86400
    show(guard, BAD, now)
    show(guard, GOOD, now + 61)
    assert guard.mode is RANKED


def test_errors_end_ranking_at_once_and_success_in_the_shadow_resumes_it() -> None:
    """Consecutive failures or a large share of them; recovery needs a run of successes and the dwell."""
    guard = ranked()
    change = guard.observe_health(HealthEvidence(batches=5, failures=5, consecutive_failures=5), 3.0)
    assert (change.to, change.reason) == (FALLBACK, GuardReason.ERRORS)
    well = HealthEvidence(batches=30, failures=5, consecutive_successes=25, latency=0.01)
    assert guard.observe_health(well, 30.0) is None
    assert show(guard, GOOD, 40.0, 100) == []
    assert guard.observe_health(well, 140.0).reason is GuardReason.RECOVERED
    share = HealthEvidence(batches=40, failures=20, consecutive_failures=1)
    assert guard.observe_health(share, 141.0).reason is GuardReason.ERRORS


def test_latency_must_persist() -> None:
    """One slow report is no reason, three in a row are; a latency that is not a number is slow."""
    guard = ranked()
    slow, fast = HealthEvidence(latency=2.0), HealthEvidence(latency=0.1)
    for evidence in (slow, slow, fast, slow, slow):
        assert guard.observe_health(evidence, 100.0) is None
    assert guard.observe_health(HealthEvidence(latency=math.nan), 101.0).reason is GuardReason.LATENCY
    assert guard.observe_health(HealthEvidence(latency=0.1, consecutive_successes=20), 165.0).to is RANKED


def test_bad_quality_found_in_the_shadow_keeps_a_recovered_ranker_out() -> None:
    """Errors are gone but tau is nil: it stays in fallback, now for its quality."""
    guard = ranked()
    guard.observe_health(HealthEvidence(consecutive_failures=5), 100.0)
    show(guard, BAD, 150.0, 3)
    assert guard.observe_health(HealthEvidence(consecutive_successes=50), 200.0) is None
    assert (guard.mode, guard.cause) == (FALLBACK, GuardReason.QUALITY)
    assert [change.reason for change in show(guard, GOOD, 300.0)] == [GuardReason.RECOVERED]


def test_a_pin_wins_and_ends_by_itself() -> None:
    """Under a pin nothing shows; when it ends the machine's own mode is back."""
    guard = ranked()
    pinned = guard.pin(FALLBACK, 1000.0, 100.0)
    assert (pinned.origin, pinned.to, pinned.reason) == (RANKED, FALLBACK, GuardReason.PINNED)
    assert show(guard, GOOD, 200.0, 10) == []
    assert not guard.ranks
    assert guard.tick(999.0) is None
    ended = guard.tick(1000.0)
    assert (ended.to, ended.reason, guard.pinned_until) == (RANKED, GuardReason.UNPINNED, None)
    guard.pin(RANKED, 3000.0, 1100.0)
    assert show(guard, BAD, 1200.0, 10) == []
    assert guard.ranks
    assert guard.unpin(1300.0).to is FALLBACK
    with pytest.raises(ValueError, match="pinned"):
        guard.pin(WARMING, 2000.0, 1400.0)
    with pytest.raises(ValueError, match="finite"):
        guard.pin(RANKED, math.inf, 1400.0)
    assert guard.pin(RANKED, 1.0, 1400.0) is None
    assert guard.mode is FALLBACK


numbers = st.floats() | st.floats(-1, 1)
steps = st.one_of(
    st.tuples(st.just("quality"), st.none() | st.tuples(numbers, numbers), st.integers(-5, 500)),
    st.tuples(
        st.just("health"),
        st.builds(
            HealthEvidence,
            batches=st.integers(-1, 60),
            failures=st.integers(-1, 60),
            consecutive_failures=st.integers(0, 9),
            consecutive_successes=st.integers(0, 40),
            latency=st.none() | st.floats(),
        ),
        st.just(0),
    ),
    st.tuples(st.just("pin"), st.sampled_from([RANKED, FALLBACK]), st.integers(-100, 400)),
    st.tuples(st.just("unpin"), st.none(), st.just(0)),
    st.tuples(st.just("tick"), st.none(), st.just(0)),
)


def take(guard: Guard, what: str, value, extra: int, now: float):
    """Take one step of a random sequence."""
    if what == "quality":
        return guard.observe_quality(look(value, extra), now)
    if what == "health":
        return guard.observe_health(value, now)
    if what == "pin":
        return guard.pin(value, now + extra, now)
    return guard.unpin(now) if what == "unpin" else guard.tick(now)


@given(st.lists(st.tuples(steps, st.floats(-50, 200)), max_size=120), st.booleans())
@settings(max_examples=examples(300), deadline=None)
def test_any_evidence_in_any_order_keeps_the_promises(sequence, measured) -> None:
    """No exception; changes are real and chained; a pin wins; a stay in fallback is never cut short."""
    guard, now, mode = Guard(measured=measured), 1000.0, WARMING
    entered, pinned = -math.inf, False
    for (what, value, extra), gap in sequence:
        now += gap
        latest = max(now, guard._now)
        own = guard._mode
        change = take(guard, what, value, extra, now)
        if change:
            assert change.origin is mode
            assert change.to is not mode
            assert change.to is guard.mode
            mode = change.to
        assert guard.mode is mode
        if guard.pinned_until is not None and pinned and change:
            assert change.reason is GuardReason.PINNED
        pinned = guard.pinned_until is not None
        if guard._mode is not own:
            if own is FALLBACK:
                assert latest - entered >= guard.settings.dwell
            entered = latest


@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=30))
def test_clocks_that_jump_do_no_harm(times) -> None:
    """Times that are not numbers or run backwards neither raise nor end a pin early."""
    guard = ranked()
    guard.pin(FALLBACK, 1e300, 10.0)
    for now in times:
        guard.tick(now)
        guard.observe_quality(look(GOOD), now)
    assert guard.mode is FALLBACK or max(t for t in times if math.isfinite(t)) >= 1e300


def test_settings_refuse_what_cannot_work() -> None:
    """Each threshold that makes no sense is named."""
    for wrong in ({"floor": 2.0}, {"dwell": -1.0}, {"max_failure_share": 0.0}, {"confirm": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            GuardSettings(**wrong)


@pytest.mark.parametrize("tau", [0.3, 0.5])
def test_a_broken_ranker_is_caught_and_a_healed_one_trusted(tau: float) -> None:
    """Tau to 0 within 500 completions, back within 1,000, with tracker and guard as they are by default."""
    for seed in range(4):
        story = simulate([(900, rho_of(tau)), (1200, 0.0), (1200, rho_of(tau))], seed)
        assert len(story.falls()) == 1
        assert story.falls()[0] - 900 <= 500
        assert len(story.recoveries()) == 1
        assert story.recoveries()[0] - 2100 <= 1000


HOURS = 12 if SOAK else 4
"""Of a completion a second, by the tracker's clock. The 30 days of the bar are run by benchmarks/guard_days.py."""


def test_hours_of_health_have_no_false_fallback() -> None:
    """At the weakest healthy tau."""
    assert simulate([(3600 * HOURS, rho_of(0.3))], 5).falls() == []


def test_no_flapping_at_the_threshold() -> None:
    """With the true tau between falling and recovering, hours see a change or two."""
    assert len(simulate([(3600 * HOURS, rho_of(0.165))], 6).falls()) <= HOURS / 4
