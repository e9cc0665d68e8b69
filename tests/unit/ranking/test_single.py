"""A queue of one in plain numbers, against the steps for columns: the same expectations, to the last bit."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rankd_client.calibration import Calibration, Knot
from rankd_client.shape import RequestShape

from rankd.adaptation import Adaptation, FeatureHasher, LearnedCompletion
from rankd.monitor.load import ModelLoad
from rankd.monitor.trust import Trust
from rankd.ranking.expectations import FreshScores, expectation_steps
from rankd.ranking.ranker import finish
from rankd.ranking.single import expect_single, is_single, single_of
from rankd.types import Constraints, RankQueue, Reason, Scored, TenantService

NAN = math.nan
VERSION = "r@1"
HASHER = FeatureHasher(b"key", VERSION)
BASE = Calibration(tuple(Knot(float(s), 100.0 + s, 80.0 + s, 200.0 + s) for s in range(-10, 11)), 100.0)
PLAIN = Calibration(tuple(Knot(float(s), 100.0 + s) for s in range(-10, 11)), 100.0)
LEARNED = Calibration(tuple(Knot(float(s), math.exp(s), math.exp(s), math.exp(s) + 1) for s in range(9)), 100.0)
(TEXT,) = HASHER.text([np.array((1, 5, 6, 2))], np.array([(0.5, -1.0)], dtype=np.float32))
SCORES = st.floats(-30, 30) | st.just(NAN)


def queue_of(*, score=NAN, expected=NAN, version=None, learned=None, tenant="", shape=None, max_tokens=0.0, **more):
    """A queue of one request that brings this prediction."""
    constraints = Constraints.of(
        deadline=[more.get("deadline", math.inf)], overtaken=[0], priority_class=[more.get("priority_class", 0)],
        tenant=[tenant], prompt_tokens=[more.get("prompt_tokens", 0)], cached_prompt_tokens=[0], running=[False],
    )  # fmt: skip
    return RankQueue(
        model="m", now=0.0, policy=None, ranker_version="", request_ids=["0"], prompts=[None], arrival=np.zeros(1),
        max_tokens=np.array([max_tokens]), generated=np.zeros(1), score=np.array([score]), score_versions=[version],
        expected=np.array([expected]), p90=np.full(1, NAN), echoes=version is not None, constraints=constraints,
        tenant_service=TenantService(), backlog=more.get("backlog", 0),
        learned=None if learned is None else np.array([learned]), shapes=None if shape is None else [shape],
    )  # fmt: skip


@pytest.fixture(scope="module")
def learner():
    """One that learned of 600 completions that what its features say counts."""
    made, rng = Adaptation(), np.random.default_rng(0)
    for number in range(600):
        dense = rng.normal(size=2)
        (text,) = HASHER.text([np.array((1, 5, 6, 2))], np.array([dense], dtype=np.float32))
        features, score, at = HASHER.pack(text), rng.normal(), float(number)
        (learned,) = made.scores(np.array([score]), [features]).tolist()
        tokens = round(math.exp(4 + dense[0]))
        made.completed(LearnedCompletion(score, features, tokens, complete=True, at=at, learned=learned))
        if (job := made.job(at)) is not None:
            made.take(job(), at)
    return made


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_it_is_what_the_steps_for_columns_give(learner, data):
    """Fresh and echoed, of this ranker and of another, learned and not, with every kind of calibration."""
    fresh, draw = data.draw(SCORES), data.draw
    version = draw(st.sampled_from([None, VERSION, "other@1"]))
    echoed = version is not None
    queue = queue_of(
        score=draw(st.floats(-30, 30)) if echoed else NAN,
        expected=draw(st.floats(0, 1e4) | st.just(NAN)) if echoed else NAN,
        version=version,
        learned=draw(st.none() | SCORES) if echoed else None,
        tenant=draw(st.sampled_from(["", "t"])),
        shape=draw(st.none() | st.just(RequestShape(messages=3, step="plan"))),
        max_tokens=draw(st.sampled_from([0.0, 64.0])),
    )
    scored = None if math.isnan(fresh) else Scored(fresh, TEXT)
    missing = Reason.OVERLOADED if scored is None and draw(st.booleans()) else None
    in_use = draw(st.booleans())
    trust = Trust(
        ranks=True, worth_waiting=True, calibration=draw(st.sampled_from([None, BASE, PLAIN, LEARNED])), level=1.0,
        load=ModelLoad(), adaptation=draw(st.sampled_from([None, learner, Adaptation()])), learned_in_use=in_use,
        base_calibration=draw(st.sampled_from([None, BASE])) if in_use else None,
    )  # fmt: skip
    ranker = SimpleNamespace(version=VERSION, hasher=draw(st.sampled_from([None, HASHER])))
    wanted = finish(expectation_steps(queue, ranker, trust, FreshScores.of_one(scored, missing)))
    found = expect_single(single_of(queue), ranker, trust, scored, missing)
    assert found.fresh is (not math.isnan(fresh))
    assert found.features == wanted.features.get(0)
    for name in ("score", "expected", "p50", "p90", "learned"):
        column, value = getattr(wanted, name), getattr(found, name)
        np.testing.assert_array_equal(NAN if column is None else column[0], NAN if value is None else value, name)


@pytest.mark.parametrize(
    "more",
    [{"deadline": 5.0}, {"priority_class": 1}, {"prompt_tokens": 7}, {"backlog": 3}],
    ids=lambda m: next(iter(m)),
)
def test_what_takes_all_columns_is_left_to_them(more):
    """Rules on top of a policy, prompts that cost something, and what waits beside."""
    assert not is_single(queue_of(**more))
    assert is_single(queue_of(tenant="t", version=VERSION, score=1.0))
