"""What was learned: from nothing into use, over a restart, forgotten, and following the fleet."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau
from support.learned_traffic import LearnedTraffic, serve

from rankd.adaptation import Adaptation, AdaptationState, ImplausibleError, LearnedCompletion

MOST_BYTES = 4_000_000


def tau(scores: np.ndarray, completions: list[LearnedCompletion]) -> float:
    """Kendall's tau of scores and lengths."""
    return float(kendalltau(scores, [one.tokens for one in completions]).statistic)


def base(completions: list[LearnedCompletion]) -> np.ndarray:
    """The ranker's own scores."""
    return np.array([one.score for one in completions])


def test_it_learns_what_the_score_does_not_know_and_comes_into_use() -> None:
    adaptation, completions = Adaptation(), LearnedTraffic(1).completions(700)
    assert np.isnan(adaptation.scores(np.array([0.0]), [completions[0].features])).all()
    predicted = serve(adaptation, completions)
    assert tau(predicted[500:], completions[500:]) > tau(base(completions[500:]), completions[500:]) + 0.15
    status = adaptation.status
    assert adaptation.in_use
    assert status.state is AdaptationState.IN_USE
    assert status.completions == 672  # the last 28 wait for the next look
    assert status.difference is not None
    assert status.difference.low > 0
    assert status.left_out == 0


def test_what_was_learned_is_about_the_expected_logarithm_of_lengths() -> None:
    adaptation, completions = Adaptation(), LearnedTraffic(2).completions(600)
    predicted = serve(adaptation, completions)[400:]
    assert abs(float(np.mean(predicted - np.log([one.tokens + 4.0 for one in completions[400:]])))) < 0.15


def test_a_sudden_change_of_traffic_does_little_harm() -> None:
    adaptation, after = Adaptation(), LearnedTraffic(4).completions(1000)
    serve(adaptation, LearnedTraffic(3).completions(1000))
    predicted = serve(adaptation, after)
    differences = [
        tau(predicted[at : at + 100], after[at : at + 100]) - tau(base(after[at : at + 100]), after[at : at + 100])
        for at in range(0, 1000, 100)
    ]
    assert np.mean(differences) > 0
    assert np.mean(differences[-3:]) > 0.1


def test_a_tenants_lengths_are_learned_without_any_text() -> None:
    traffic = LearnedTraffic(5, text=0.0)
    both = [traffic.completion(tenant=f"t{i % 2}", worth=2.0 * (i % 2)) for i in range(400)]
    stripped = [replace(one, features=_without_text(one.features)) for one in both]
    predicted = serve(Adaptation(), stripped)
    assert np.mean(predicted[301::2]) - np.mean(predicted[300::2]) > 1.2


def test_memory_is_bounded_at_the_defaults() -> None:
    traffic, adaptation = LearnedTraffic(6), Adaptation()
    one = traffic.completion()
    # As large as features can be: 384 dense numbers and 128 words each.
    rng = np.random.default_rng(0)
    from rankd.adaptation.features import BUCKETS, pack, pack_text

    def large() -> LearnedCompletion:
        words = np.sort(rng.choice(BUCKETS, 128, replace=False)).astype(np.uint16)
        text = pack_text(words, rng.integers(-127, 128, 384).astype(np.int8), 0.01)
        return replace(one, features=pack(text, shape=tuple(rng.integers(0, BUCKETS, 12).tolist())))

    serve(adaptation, [large() for _ in range(4300)])
    assert adaptation.status.completions == 4096
    assert adaptation.nbytes <= MOST_BYTES


def test_a_restart_predicts_at_once_and_learns_on() -> None:
    traffic = LearnedTraffic(7)
    adaptation, restarted = Adaptation(), Adaptation()
    serve(adaptation, traffic.completions(800))
    saved = adaptation.save(ahead=100.0)
    assert all(column.dtype == np.float64 for column in saved.columns.values())
    restarted.restore(saved, now=2000.0, ahead=100.0)
    after = traffic.completions(300)
    features = [one.features for one in after]
    np.testing.assert_allclose(
        restarted.scores(base(after), features), adaptation.scores(base(after), features), atol=1e-5
    )
    assert restarted.status.since == adaptation.status.since
    assert restarted.in_use
    went_on, went_down = serve(adaptation, after), serve(restarted, after)
    assert tau(went_down, after) > tau(went_on, after) - 0.03
    assert tau(went_down, after) > tau(base(after), after) + 0.1


def test_what_is_saved_holds_no_completion() -> None:
    adaptation = Adaptation()
    serve(adaptation, LearnedTraffic(8).completions(320))
    learned = {name: len(c) for name, c in adaptation.save().columns.items() if not name.startswith("proof_")}
    assert learned == {"linear": 10, "dense": 16, "buckets": 2 * 16381, "losses": 6}


@pytest.mark.parametrize("name", ["linear", "dense", "buckets", "losses"])
@pytest.mark.parametrize("value", [np.array([math.nan]), np.zeros((2, 2)), np.zeros(9999), np.zeros(3, np.int64)])
def test_a_hostile_snapshot_is_refused_and_changes_nothing(name: str, value: np.ndarray) -> None:
    adaptation, restarted = Adaptation(), Adaptation()
    serve(adaptation, LearnedTraffic(9).completions(200))
    saved = adaptation.save()
    saved.columns[name] = value
    with pytest.raises(ValueError, match=r"expected|in use|proof"):
        restarted.restore(saved, now=1.0)
    assert restarted.status == Adaptation().status


def test_all_is_forgotten_and_work_that_is_out_changes_nothing() -> None:
    adaptation, completions = Adaptation(), LearnedTraffic(10).completions(700)
    serve(adaptation, completions)
    for one in completions[:64]:
        adaptation.completed(one)
    job = adaptation.job(1.0)
    assert job is not None
    assert adaptation.forget()
    assert not adaptation.take(job(), 2.0)
    assert adaptation.status == Adaptation().status
    assert adaptation.head() is None
    serve(adaptation, completions[:64])
    assert adaptation.status.completions == 64


def test_completions_of_long_ago_are_not_learned_from() -> None:
    adaptation = Adaptation(forget_after=60.0)
    first, second = LearnedTraffic(11), LearnedTraffic(12)
    serve(adaptation, [replace(one, at=0.0) for one in first.completions(500)])
    fresh = Adaptation(forget_after=60.0)
    later = [replace(one, at=1000.0) for one in second.completions(512)]
    serve(adaptation, later, start=1000.0)
    serve(fresh, later, start=1000.0)
    after = second.completions(200)
    features = [one.features for one in after]
    forgot, never_knew = adaptation.scores(base(after), features), fresh.scores(base(after), features)
    assert tau(forgot, after) > tau(never_knew, after) - 0.03


def test_looks_are_rarer_once_enough_was_compared_and_not_where_it_did_worse_of_late() -> None:
    """And a change for the worse is still found within 200 completions."""
    adaptation, traffic, inverted = Adaptation(), LearnedTraffic(17), LearnedTraffic(17, text=-0.8)
    looks = looks_of(adaptation, traffic.completions(400))
    assert set(np.diff(looks)) == {32}
    assert set(np.diff(looks_of(adaptation, traffic.completions(1200))[12:])) == {64}
    assert adaptation.in_use
    looks = looks_of(adaptation, inverted.completions(200))
    assert 32 in np.diff(looks)
    assert adaptation.state is AdaptationState.STEPPED_BACK


def looks_of(adaptation: Adaptation, completions: list[LearnedCompletion]) -> list[int]:
    """After which completions there was work."""
    looks = []
    for i, one in enumerate(completions):
        before = adaptation._looks
        serve(adaptation, [one], start=float(i))
        if adaptation._looks > before:
            looks.append(i)
    return looks


def test_after_a_restart_the_figures_of_before_are_shown_at_once() -> None:
    """Of what was saved; nothing is decided on them anew."""
    adaptation, restarted = Adaptation(), Adaptation()
    serve(adaptation, LearnedTraffic(18).completions(800))
    restarted.restore(adaptation.save(), now=2000.0)
    before, status = adaptation.status, restarted.status
    assert (status.state, status.switches, status.since) == (before.state, before.switches, before.since)
    assert abs(status.compared - before.compared) < 64
    assert status.difference is not None
    assert before.difference is not None
    assert status.difference.value == pytest.approx(before.difference.value, abs=0.03)
    assert Adaptation().status.compared == 0


def test_old_completions_are_forgotten_though_no_new_ones_come() -> None:
    """Rows and what waits; the weights that rest on them stay."""
    adaptation, completions = Adaptation(forget_after=100.0), LearnedTraffic(16).completions(90)
    serve(adaptation, completions)  # a second apart; 26 of them wait
    before = adaptation.scores(base(completions), [one.features for one in completions])
    assert (adaptation.status.completions, len(adaptation._waiting)) == (64, 26)
    assert adaptation.job(130.0) is None
    assert (adaptation.status.completions, len(adaptation._waiting)) == (34, 26)
    assert adaptation.job(175.0) is None
    assert (adaptation.status.completions, len(adaptation._waiting)) == (0, 15)
    assert adaptation.job(200.0) is None
    assert (adaptation.status.completions, len(adaptation._waiting)) == (0, 0)
    assert (adaptation.scores(base(completions), [one.features for one in completions]) == before).all()
    serve(adaptation, [replace(one, at=300.0) for one in completions[:64]], start=300.0)
    assert adaptation.status.completions == 64


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("steps_back", wrong) for wrong in (65, -1, 1.0)),
        *(("entered", wrong) for wrong in (-5, 2**31 + 1, True)),
        ("switches", -1),
        ("stay", 2**31 + 1),
    ],
)
def test_counts_that_cannot_be_are_refused(name: str, value: object) -> None:
    adaptation, restarted = Adaptation(), Adaptation()
    serve(adaptation, LearnedTraffic(9).completions(200))
    saved = adaptation.save()
    saved.scalars["proof"][name] = value
    with pytest.raises(ImplausibleError):
        restarted.restore(saved, now=1.0)
    assert restarted.status == Adaptation().status


@pytest.mark.parametrize("name", ["linear", "dense", "buckets", "proof_tokens"])
@pytest.mark.parametrize("value", [1e300, -1e300, 1e12])
def test_numbers_that_cannot_be_are_refused(name: str, value: float) -> None:
    """1e300 is infinite as a weight in single precision."""
    adaptation, restarted = Adaptation(), Adaptation()
    serve(adaptation, LearnedTraffic(9).completions(200))
    saved = adaptation.save()
    saved.columns[name][0] = value
    with pytest.raises(ImplausibleError):
        restarted.restore(saved, now=1.0)
    assert restarted.status == Adaptation().status


def test_one_job_at_a_time_and_a_failed_one_does_not_end_learning() -> None:
    adaptation, completions = Adaptation(), LearnedTraffic(13).completions(96)
    for one in completions[:32]:
        adaptation.completed(one)
    job = adaptation.job(0.0)
    assert job is not None
    for one in completions[32:64]:
        adaptation.completed(one)
    assert adaptation.job(0.0) is None
    adaptation.take(job(), 0.0)
    broken = adaptation.job(math.nan)
    assert broken is not None
    adaptation._learner.learn = None  # type: ignore[method-assign, assignment]
    with pytest.raises(TypeError):
        broken()
    for one in completions[64:]:
        adaptation.completed(one)
    assert adaptation.job(0.0) is not None


def test_what_waits_is_bounded_and_what_cannot_be_learned_from_is_counted() -> None:
    adaptation, one = Adaptation(), LearnedTraffic(14).completion()
    for bad in (replace(one, features=b"\xff"), replace(one, score=math.nan), replace(one, score=1e300)):
        adaptation.completed(bad)
    for _ in range(600):
        adaptation.completed(one)
    job = adaptation.job(0.0)
    assert job is not None
    adaptation.take(job(), 0.0)
    assert adaptation.status.left_out == 3 + 603 - 512
    assert adaptation.status.completions == 509


def test_it_follows_the_fleet_but_not_before_it_knows_anything() -> None:
    adaptation, completions = Adaptation(), LearnedTraffic(15).completions(320)
    assert not adaptation.follow(True, 0.0)
    assert not adaptation.in_use
    serve(adaptation, completions[:64])
    assert adaptation.in_use  # the leader's word, taken as soon as there was something to use
    assert adaptation.follow(False, 5.0)
    serve(adaptation, completions)
    assert not adaptation.in_use
    assert not adaptation.follow(None, 6.0)


def _without_text(features: bytes) -> bytes:
    from rankd.adaptation.features import pack, unpack

    found = unpack(features)
    assert found is not None
    return pack(b"", found.numbers, tuple(found.shape.tolist()))
