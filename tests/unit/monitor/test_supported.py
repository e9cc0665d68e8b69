"""What one tenant can do to what is learned of all: waits, rates, patience, calibration, the age of the cohort."""

import numpy as np
import pytest
from rankd_client.calibration import fit_monotone
from rankd_client.ordering import Objective, ObjectiveOutcome, Policy, ServedRequest, tune
from rankd_client.ordering.service_replay import Workload, replayed

from rankd.monitor.load import ServiceLengths, WaitingTimes
from rankd.monitor.supported import LEVERAGE, ServedHistory, supported_calibration, supported_outcomes
from rankd.quality import Cohort, OutcomeReport, QualitySettings, QualityTracker

YEARS = 3e8
HONEST, LIAR = 7, 13


def waits(rows):
    found = WaitingTimes()
    for seconds, tenant in rows:
        found.add(seconds, tenant)
    return found.mean


@pytest.mark.parametrize("lie", [YEARS, 1e308, 600.0, 0.0])
@pytest.mark.parametrize("honest", ["a", ""])
def test_one_tenant_moves_the_mean_wait_only_a_little(lie, honest):
    """Half of all reports are its, the most that are learned from: the mean stays within the leverage."""
    rows = [(2.0 + n % 3, honest) for n in range(128)] + [(lie, "liar") for _ in range(128)]
    np.random.default_rng(1).shuffle(rows)
    mean = waits([(float(seconds), str(tenant)) for seconds, tenant in rows])
    assert 0.4 * 3 <= mean <= (1 + LEVERAGE) / 2 * 4, "its share of nothing, or of four times the longest"


def test_waits_count_as_they_come_where_there_are_no_others():
    """One tenant, none, or too few reports of others: what it always was."""
    values = [float(n % 40) for n in range(256)]
    plain = sum(sorted(values)[: 256 - 12]) / 244
    assert waits([(v, "") for v in values]) == pytest.approx(plain)
    assert waits([(v, "a") for v in values]) == pytest.approx(plain)
    assert waits([(v, "b" if n < 5 else "a") for n, v in enumerate(values)]) == pytest.approx(plain)
    assert WaitingTimes().mean is None


def test_tenants_that_are_alike_count_as_they_come():
    """Nobody is beyond four times what the others report."""
    generator = np.random.default_rng(2)
    values = generator.exponential(10.0, 256).clip(max=40)
    names = [f"t{n % 4}" for n in range(256)]
    mixed = waits([(float(v), t) for v, t in zip(values, names, strict=True)])
    assert mixed == pytest.approx(waits([(float(v), "") for v in values]))


def test_one_tenant_moves_the_rate_only_a_little():
    """Answers of ten million tokens that never were do not make the others' backlog drain at once."""
    lengths = ServiceLengths()
    counted = [lengths.counted(10e6 if n % 2 else 100.0, "liar" if n % 2 else "a") for n in range(1000)]
    assert sum(counted[256:]) / 744 <= 0.5 * (100 + LEVERAGE * 100) * 1.01
    assert [lengths.counted(100.0, "a") for _ in range(3)] == [100.0] * 3


def history(rows):
    out = ServedHistory(2000)
    for *row, tenant in rows:
        out.add(ServedRequest(*row), tenant)
    return out


def served_rows(count=900, seed=1):
    """Completions of an engine with two slots, under load, whose lengths are predicted well."""
    rng = np.random.default_rng(seed)
    expected = 200 * np.exp(0.6 * rng.normal(size=count))
    ran = np.exp(0.4 * rng.normal(size=count)) * expected / 200
    arrival = np.sort(rng.uniform(0, count, count))
    waited = np.maximum(replayed(Workload(arrival, ran, np.zeros(count), 2), arrival).whole - ran, 0)
    return [
        (float(a), float(w), float(r), float(e), "a" if n % 2 else "b")
        for n, (a, w, r, e) in enumerate(zip(arrival, waited, ran, expected, strict=True))
    ]


def tuned(served):
    return tune(served, Policy.BOOST, None)


@pytest.mark.parametrize(
    "lie",
    [
        lambda row: (row[0], 1e6, 1.0, row[3], "liar"),
        lambda row: (row[0], row[1], 1e6, row[3], "liar"),
        lambda row: (row[0], 0.0, 1e-6, 1e7, "liar"),
        lambda row: (0.0, 1e5, row[2], 1.0, "liar"),
    ],
    ids=["waits", "run times", "nothing waits", "one arrival"],
)
def test_one_tenant_does_not_set_patience(lie):
    """What was found before stays within what is found without it; without a past it raises nothing."""
    honest = served_rows()
    found = tuned(history(honest).served())
    assert found[Objective.TAIL].patience > 0
    rows = [row for row in honest if row[4] != "b"] + [lie(row) for row in honest if row[4] == "b"]
    rows += [(*row[:4], "c") for row in honest[::3]]
    for before in ({}, found):
        moved = supported_outcomes(history(rows).views(), tuned, before)
        for objective in (Objective.TAIL, Objective.BALANCED):
            one, honestly = moved[objective], found[objective]
            assert 0 <= one.patience <= 4 * honestly.patience, (before, one, honestly)
            assert 0 <= one.backlog_share <= 4 * honestly.backlog_share, (before, one, honestly)


def test_patience_moves_only_as_far_as_all_would_have_it():
    """What each of the views says moves it; what one alone says does not, be it more or less."""

    def outcome(patience):
        return {Objective.MEAN: ObjectiveOutcome(patience, 0.5, 1.2, 0.4, backlog_share=10 * patience)}

    for said, before, wanted in [
        ([9.0, 1.0, 9.0], 2.0, 2.0),
        ([9.0, 3.0, 9.0], 2.0, 3.0),
        ([0.1, 1.0, 0.1], 2.0, 1.0),
        ([9.0, 1.0, 9.0], None, 1.0),
        ([9.0], 2.0, 9.0),
    ]:
        answers = iter(map(outcome, said))
        moved = supported_outcomes(
            history([]).views() * len(said),
            lambda _, answers=answers: next(answers),
            {} if before is None else outcome(before),
        )
        assert (moved[Objective.MEAN].patience, moved[Objective.MEAN].backlog_share) == (wanted, 10 * wanted)


def test_patience_without_tenants_is_what_it_was():
    """The whole is the only view; the copy is the same to the last bit."""
    rows = [(*row[:4], "") for row in served_rows()]
    views = history(rows).views()
    assert len(views) == 1
    before = {Objective.TAIL: ObjectiveOutcome(123.0, 1.0, 1.0, 1.0)}
    assert supported_outcomes(views, tuned, before) == tuned(history(rows).served())


def cohort(seed=0, count=900, liar=None):
    """Completions of two honest tenants, and in place of a third the liar."""
    rng = np.random.default_rng(seed)
    score = rng.uniform(-1, 1, count)
    tokens = (100 * np.exp(0.8 * score) * np.exp(0.2 * rng.normal(size=count))).astype(np.int64)
    source = np.array([HONEST, HONEST + 1, LIAR], dtype=np.uint64)[np.arange(count) % 3]
    if liar is not None:
        mine = source == LIAR
        tokens[mine] = liar(score[mine], tokens[mine])
    return Cohort(score, tokens, np.ones(count, dtype=np.bool_), source)


def fit(part):
    return fit_monotone(part.score, part.tokens, part.complete)


@pytest.mark.parametrize(
    "lie",
    [
        lambda score, _: (100 * np.exp(-0.8 * score)).astype(np.int64),
        lambda score, _: np.full(len(score), 10_000_000),
        lambda score, _: np.zeros(len(score), dtype=np.int64),
        lambda _, tokens: tokens * 20,
    ],
    ids=["turned round", "the longest", "nothing", "times 20"],
)
def test_one_tenant_does_not_move_the_calibration(lie):
    """A third of what is known is invented: long and short keep their lengths."""
    scores = np.array([-0.8, 0.0, 0.8])
    honest = fit(cohort())
    poisoned = cohort(seed=3, liar=lie)
    assert not np.allclose(fit(poisoned).expected(scores), honest.expected(scores), rtol=0.15)
    calibration = honest
    for seed in range(3, 8):
        calibration = supported_calibration(cohort(seed, liar=lie), fit, calibration)
    assert calibration.expected(scores) == pytest.approx(honest.expected(scores), rel=0.15)
    assert calibration.p50(scores) == pytest.approx(honest.p50(scores), rel=0.2)
    assert calibration.mean_expected == pytest.approx(honest.mean_expected, rel=0.15)


def test_what_all_tenants_say_is_learned():
    """Lengths that doubled for everybody are believed at once, to within what chance does."""
    before = fit(cohort())
    doubled = cohort(seed=4)
    doubled = Cohort(doubled.score, doubled.tokens * 2, doubled.complete, doubled.source)
    scores = np.array([-0.8, 0.0, 0.8])
    learned = supported_calibration(doubled, fit, before)
    assert learned.expected(scores) == pytest.approx(2 * before.expected(scores), rel=0.15)


@pytest.mark.parametrize("source", [None, np.zeros(900, dtype=np.uint64), np.full(900, HONEST, dtype=np.uint64)])
def test_without_several_tenants_the_calibration_is_the_fit(source):
    """To the last bit, whatever it was before."""
    plain = cohort()
    known = Cohort(plain.score, plain.tokens, plain.complete, source)
    assert supported_calibration(known, fit, fit(cohort(seed=9))) == fit(known)
    assert supported_calibration(plain, fit, None) == fit(plain)


def tracked(stays, liar_stays, count=600):
    """A tracker of requests of three tenants that stay so long, the third as long as it says."""
    tracker = QualityTracker(QualitySettings())
    for n in range(count):
        source = (HONEST, HONEST + 1, LIAR)[n % 3]
        stay = liar_stays if source == LIAR else stays
        now = 1e6 + n
        tracker.add(OutcomeReport(n, float(n % 9), n % 50, True, True, now - stay, source), now)
    return tracker, 1e6 + count


def test_reports_that_are_held_back_do_not_hold_back_the_guard():
    """A tenant that ends its requests after a day leaves the others' in the cohort."""
    tracker, now = tracked(10.0, 86_000.0)
    later = now + 400
    assert tracker.guard_snapshot(later).cohort.without(LIAR).score.size >= 200
    alike, now = tracked(10.0, 10.0)
    assert alike.guard_snapshot(now + 20).cohort.score.size == 320
