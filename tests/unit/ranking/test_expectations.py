"""What is expected of a queue's items where something was learned of its traffic, and where not."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from rankd_client.calibration import Calibration, Knot
from rankd_client.shape import RequestShape

from rankd.adaptation import Adaptation, FeatureHasher, LearnedCompletion, unpack
from rankd.adaptation.features import pack_text
from rankd.monitor.load import ModelLoad
from rankd.monitor.trust import Trust
from rankd.ranking.expectations import FreshScores, expectation_steps
from rankd.types import Constraints, RankQueue, Reason, TenantService

NAN = math.nan
VERSION = "r@1"
HASHER = FeatureHasher(b"key", VERSION)
BASE = Calibration(tuple(Knot(float(s), 100.0 + s, 80.0 + s, 200.0 + s) for s in range(-10, 11)), 100.0)
LEARNED = Calibration(tuple(Knot(float(s), math.exp(s), math.exp(s), math.exp(s) + 1) for s in range(9)), 100.0)
RANKER = SimpleNamespace(version=VERSION, hasher=HASHER)
"""As much of a loaded ranker as is asked for; the rest is files and a model."""


def queue_of(score, *, learned=None, expected=None, versions=None, **more):
    """A queue whose items bring these predictions; NaN for none."""
    count = len(score)
    nothing = np.full(count, NAN)
    constraints = Constraints.of(
        deadline=[math.inf] * count, overtaken=[0] * count, priority_class=[0] * count,
        tenant=more.pop("tenant", [""] * count), prompt_tokens=more.pop("prompt_tokens", [0] * count),
        cached_prompt_tokens=[0] * count, running=[False] * count,
    )  # fmt: skip
    versions = versions or [None if math.isnan(s) else VERSION for s in score]
    return RankQueue(
        model="m", now=0.0, policy=None, ranker_version="", request_ids=[str(i) for i in range(count)],
        prompts=[None] * count, arrival=np.zeros(count), max_tokens=more.pop("max_tokens", np.zeros(count)),
        generated=np.zeros(count), score=np.array(score), score_versions=versions,
        expected=nothing if expected is None else np.array(expected), p90=nothing,
        echoes=not np.isnan(score).all(), constraints=constraints, tenant_service=TenantService(),
        learned=None if learned is None else np.array(learned), **more,
    )  # fmt: skip


def trust_of(adaptation=None, **more):
    calibration = LEARNED if more.get("learned_in_use") else BASE
    base = BASE if more.get("learned_in_use") else None
    return Trust(
        ranks=True, worth_waiting=True, calibration=calibration, level=1.0, load=ModelLoad(), adaptation=adaptation,
        base_calibration=base, **more,
    )  # fmt: skip


def fresh_of(count, texts, scores, missing=()):
    """What a ranker said: by item, the text's part of features and the score."""
    found = FreshScores(np.full(count, NAN), texts, dict.fromkeys(missing, Reason.OVERLOADED))
    for i, score in scores.items():
        found.score[i] = score
    return found


def expected_of(queue, trust, fresh, ranker=RANKER):
    steps = expectation_steps(queue, ranker, trust, fresh)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def text(ids=(1, 5, 6, 2), dense=(0.5, -1.0)):
    (packed,) = HASHER.text([np.array(ids)], np.array([dense], dtype=np.float32))
    return packed


@pytest.fixture(scope="module")
def learner():
    """One that learned of 600 completions that what its features say counts, and the score does not."""
    made, rng = Adaptation(), np.random.default_rng(0)
    for number in range(600):
        dense = rng.normal(size=2)
        features = HASHER.pack(text(dense=dense))
        tokens = round(math.exp(4 + dense[0]))
        score, at = rng.normal(), float(number)
        (learned,) = made.scores(np.array([score]), [features]).tolist()
        made.completed(LearnedCompletion(score, features, tokens, complete=True, at=at, learned=learned))
        if (job := made.job(float(number))) is not None:
            made.take(job(), float(number))
    assert np.isfinite(made.scores(np.zeros(1), [HASHER.pack(text())])).all()
    return made


def test_fresh_predictions_carry_features_of_text_and_shape():
    """Those that are echoed, and those without a score, get none."""
    queue = queue_of(
        [NAN, 1.0, NAN, NAN], max_tokens=np.array([64.0, 0, 0, 0]), tenant=["t", "", "u", ""],
        prompt_tokens=[7, 0, 0, 0], shapes=[RequestShape(messages=3, tools=1, step="plan"), None, None, None],
    )  # fmt: skip
    known = expected_of(queue, trust_of(), fresh_of(4, {0: text(), 2: text()}, {0: 2.0, 2: 3.0}, missing=[3]))
    assert list(known.features) == [0, 2]
    first, second = (unpack(known.features[i]) for i in (0, 2))
    np.testing.assert_allclose(first.numbers, np.log1p([7, 64, 3, 1]), rtol=1e-3)
    assert second.numbers == (0, 0, 0, 0)
    assert {HASHER.bucket("tenant", "t"), HASHER.bucket("step", "plan")} <= set(first.shape.tolist())
    assert second.shape.tolist() == [HASHER.bucket("tenant", "u")]
    assert first.words.tolist() == second.words.tolist()
    assert known.features[0] == HASHER.pack(
        text(), queue.shapes[0], prompt_tokens=7, max_tokens=64, tenant="t"
    )  # fmt: skip


def test_a_ranker_without_a_hasher_gives_no_features():
    """Where nothing is learned."""
    bare = SimpleNamespace(version=VERSION, hasher=None)
    known = expected_of(queue_of([NAN]), trust_of(), fresh_of(1, {0: b""}, {0: 2.0}), bare)
    assert known.features == {}
    assert known.expected.tolist() == [102.0]


def test_base_scores_order_while_nothing_is_in_use(learner):
    """Whatever was learned, and whatever predictions of another time carry."""
    queue = queue_of([NAN, 1.0], learned=[NAN, 7.0])
    known = expected_of(queue, trust_of(learner), fresh_of(2, {0: text()}, {0: 2.0}))
    assert known.learned is None
    assert known.score.tolist() == [2.0, 1.0]
    assert known.expected.tolist() == [102.0, 101.0]
    np.testing.assert_array_equal(known.p90, [202.0, NAN])


def test_learned_scores_and_their_calibration_are_used_where_they_are_in_use(learner):
    """Of fresh items, and of echoes that carry one; the ranker's own scores stay what they are."""
    queue = queue_of([NAN, 1.0, NAN, 1.0], learned=[NAN, 2.0, NAN, 5.0], expected=[NAN, NAN, NAN, 33.0])
    parts = {0: text(dense=(1.0, 0.0)), 2: text(dense=(-1.0, 0.0))}
    known = expected_of(
        queue, trust_of(learner, learned_in_use=True), fresh_of(4, parts, {0: -3.0, 2: 3.0})
    )  # fmt: skip
    assert known.score.tolist() == [-3.0, 1.0, 3.0, 1.0]
    assert known.learned[0] > known.learned[2] + 1
    assert known.learned[[1, 3]].tolist() == [2.0, 5.0]
    alone = learner.scores(np.array([-3.0]), [HASHER.pack(parts[0])])
    assert known.learned[0] == pytest.approx(alone[0])
    np.testing.assert_allclose(known.expected[:3], LEARNED.expected(known.learned[:3]))
    assert known.expected[3] == 33.0, "an echoed expectation is kept"
    np.testing.assert_allclose(known.p90[[0, 2]], LEARNED.p90(known.learned[[0, 2]]))
    assert np.isnan(known.p50[[1, 3]]).all()


def test_what_has_no_learned_score_is_expected_by_its_own():
    """Such as an echo of before the switch; another ranker's keeps what it says, and says nothing here."""
    queue = queue_of([4.0, 5.0, NAN], versions=[VERSION, "other@1", None])
    unlearned = Adaptation()
    known = expected_of(queue, trust_of(unlearned, learned_in_use=True), fresh_of(3, {2: text()}, {2: 2.0}))
    np.testing.assert_array_equal(known.expected, [104.0, NAN, 102.0])
    np.testing.assert_array_equal(known.p50, [NAN, NAN, 82.0])
    assert np.isnan(known.learned).all()


def test_long_queues_are_worked_on_in_turns(learner):
    """Others may come between some items and the next."""
    count = 1000
    fresh = fresh_of(count, dict.fromkeys(range(count), pack_text(np.zeros(0), np.zeros(0), 0.0)), {})
    fresh.score[:] = 1.0
    steps = expectation_steps(queue_of([NAN] * count), RANKER, trust_of(learner, learned_in_use=True), fresh)
    assert sum(1 for _ in steps) > 30
