"""The new ranker against the old one on rows kept back: the same figures as the daemon's own comparison has."""

import json

import numpy as np
import pytest
from support.retraining import append_rows
from support.tiny_ranker import make_artifact

from rankd.quality.statistics.kendall import tau_b
from rankd.registry.artifact import load_artifact
from rankd.retraining.judgement import find_ranker, judge, unseen
from rankd.training.data.row import Row
from rankd.training.evaluation.offline_ranker import OfflineRanker

CHOICES = {"margin": 0.0, "min_completions": 50, "min_decided_share": 0.8, "threads": 1}


@pytest.fixture
def held_back(tmp_path):
    append_rows(tmp_path / "rows.jsonl", 120)
    found = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    return [Row(r["prompt"], r["output_token_count"], complete=True, at=r["ended_at"]) for r in found]


@pytest.fixture
def rankers(tmp_path):
    return {
        name: load_artifact(make_artifact(tmp_path / name, name=name, scale=scale, long=long))
        for name, scale, long in (("good", 1.0, 1.0), ("wrong", -1.0, 1.0), ("same", 1.0, 1.0))
    }


def judged(candidate, incumbent, rows, excluded=0, **more):
    return judge(candidate, incumbent, rows, excluded, on_progress=lambda _done, _total: None, **(CHOICES | more))


def test_tau_is_that_of_the_scores_and_the_difference_has_an_interval(rankers, held_back):
    found = judged(rankers["good"], rankers["wrong"], held_back)
    scores = OfflineRanker(rankers["good"]).scores([r.prompt for r in held_back])
    expected = tau_b(scores, np.array([float(r.tokens) for r in held_back]))
    assert found.verdict == "better"
    assert found.tau[0] == pytest.approx(expected)
    assert found.tau_difference[0] == pytest.approx(found.tau[0] - found.incumbent_tau[0])
    assert found.tau_difference[1] < found.tau_difference[0] < found.tau_difference[2]


def test_a_ranker_that_is_no_better_or_worse_is_not_better(rankers, held_back):
    assert judged(rankers["same"], rankers["good"], held_back).verdict == "not_better"
    assert judged(rankers["wrong"], rankers["good"], held_back).verdict == "not_better"
    assert judged(rankers["same"], rankers["good"], held_back, margin=-0.01).verdict == "better"


def test_what_cannot_be_told_is_not_told(rankers, held_back):
    assert judged(rankers["good"], rankers["wrong"], held_back[:40]).verdict == "too_few_completions"
    assert judged(rankers["good"], rankers["wrong"], [], 7).verdict == "too_few_completions"
    assert judged(rankers["good"], None, held_back).verdict == "no_incumbent"
    cut = [Row(r.prompt, 10, complete=False, at=r.at) for r in held_back]
    assert judged(rankers["good"], rankers["wrong"], cut).verdict.startswith("too_few")


def test_a_prompt_that_was_trained_on_is_not_judged_by(held_back):
    kept = unseen(held_back, [Row(held_back[0].prompt.upper() + " ", 1, complete=True)], [])
    assert kept == held_back[1:]


def test_the_files_of_the_ranker_in_service_are_looked_for_where_it_is_said_then_in_the_registry(tmp_path, rankers):
    good = rankers["good"]
    version = good.ranker_version
    assert find_ranker(version, str(good.path), tmp_path / "none", []).path == good.path
    assert find_ranker(version, "/of/another/machine", tmp_path, []).path == good.path
    assert find_ranker(version, "", tmp_path / "none", [good.path]).path == good.path
    assert find_ranker("other@1", str(good.path), tmp_path, [good.path]) is None
