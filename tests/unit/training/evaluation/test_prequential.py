"""What learning the traffic would bring: rows predicted before they are learned from, per served model, in words."""

import json

import numpy as np
import pytest
from support.tiny_ranker import make_artifact

from rankd.adaptation import FeatureHasher
from rankd.settings import AdaptSection
from rankd.training.data.dataset import Row
from rankd.training.evaluation.evaluate import evaluate
from rankd.training.evaluation.json_report import as_json
from rankd.training.evaluation.learning_card import model_text, verdict
from rankd.training.evaluation.page import page
from rankd.training.evaluation.prequential import evaluate_adaptation

HASHER = FeatureHasher(b"", "r@1")
WORDS = np.arange(3, 33)


def stream(count, *, model="m", taught=True, seed=0, turn=None, complete=1.0):
    """Rows, scores and texts: a score that tells a little, and words that tell much where ``taught``.

    From row ``turn`` on words mean the opposite.
    """
    rng = np.random.default_rng(seed)
    worth = dict(zip(WORDS.tolist(), rng.standard_normal(len(WORDS)).tolist(), strict=True))
    rows, scores, ids = [], [], []
    for i in range(count):
        words = rng.choice(WORDS, 4, replace=False)
        score = float(rng.standard_normal())
        known = sum(worth[w] for w in words.tolist()) * (-1 if turn is not None and i >= turn else 1)
        log = 4.5 + 0.3 * score + (0.5 * known if taught else 0.0) + 0.5 * rng.standard_normal()
        rows.append(Row(f"{i}", max(1, round(np.exp(log))), complete=bool(rng.random() < complete), model=model))
        scores.append(score)
        ids.append(np.concatenate([[1], words, [2]]))
    return rows, np.array(scores), HASHER.text(ids)


def learned(rows, scores, texts, **settings):
    """The evaluation."""
    return evaluate_adaptation(rows, scores, texts, HASHER, AdaptSection(**settings))


def test_what_words_tell_is_learned_and_pays():
    """Figures stand at 200, 500, 1,000 ..., over the next 500 or what is left; with learning tau is far higher."""
    found = learned(*stream(1200))
    assert [(p.completions, p.rows) for p in found.points] == [(200, 500), (500, 500), (1000, 200)]
    assert found.points[-1].adapted_tau.value > found.points[-1].base_tau.value + 0.2
    assert all(p.difference.low > 0 for p in found.points)
    assert found.pays_from == 200
    (one,) = found.models
    assert one.in_use_after < 500
    assert found.points[-1].in_use == 1.0
    assert verdict(found) == "Learning pays from 200 completions on."
    assert model_text(one).startswith("m: learned from 1,200 completions, in use after ")


def test_where_nothing_can_be_learned_it_does_not_pay():
    """Scores that tell all there is stay in use, and the words say so."""
    found = learned(*stream(800, taught=False))
    assert found.pays_from is None
    assert [p.in_use for p in found.points] == [0.0, 0.0]
    assert "does not pay" in verdict(found)
    assert model_text(found.models[0]) == "m: learned from 800 completions, never in use"


def test_no_row_is_learned_from_before_it_is_predicted():
    """Where words turn to the opposite, the rows right after it are ordered wrongly by what was learned before."""
    rows, scores, texts = stream(560, turn=500)
    (first, second) = learned(rows, scores, texts).points
    assert first.adapted_tau.value > 0.4
    assert (second.completions, second.rows) == (500, 60)
    assert second.adapted_tau.value < first.adapted_tau.value - 0.3


def test_served_models_are_learned_apart_and_pairs_count_within_one():
    """Of two models mixed in one file each has its own figures; a constant that lies between them changes nothing."""
    first, second = stream(600, model="a"), stream(400, model="b", seed=1)
    longer = [Row(r.prompt, r.tokens * 50, r.complete, model=r.model) for r in second[0]]
    order = np.random.default_rng(2).permutation(1000)
    rows = [(first[0] + longer)[i] for i in order.tolist()]
    texts = [(first[2] + second[2])[i] for i in order.tolist()]
    found = learned(rows, np.concatenate([first[1], second[1]])[order], texts)
    assert [(m.model, m.completions) for m in found.models] == [("a", 600), ("b", 400)]
    assert [(p.completions, p.rows) for p in found.points] == [(200, 600), (500, 100)]
    assert found.points[0].base_tau.value < 0.4


@pytest.mark.parametrize(("count", "points"), [(60, 0), (249, 0), (250, 1)])
def test_few_rows_give_no_figure_and_say_so(count, points):
    """The first figure needs 200 completions and 50 after them."""
    found = learned(*stream(count))
    assert len(found.points) == points
    assert ("Too few rows" in verdict(found)) is (points == 0)


def test_cut_answers_one_prompt_and_constant_lengths_do_no_harm():
    """Lower bounds count as such; equal prompts and equal lengths give figures or none, and no error."""
    rows, scores, texts = stream(700, complete=0.7)
    assert learned(rows, scores, texts).points[0].difference.low > 0
    none_ended = [Row(r.prompt, r.tokens, complete=False) for r in rows]
    assert all(p.difference is None for p in learned(none_ended, scores, texts).points)
    same = [Row("same", r.tokens, complete=True) for r in rows]
    alike = learned(same, np.zeros(700), texts[:1] * 700)
    assert alike.pays_from is None
    assert all(p.base_tau.value == 0 for p in alike.points)
    constant = [Row(r.prompt, 7, complete=True) for r in rows]
    assert all(p.base_tau is None for p in learned(constant, scores, texts).points)
    assert learned(rows, scores, [b""] * 700).points[0].base_tau is not None


def test_times_of_rows_forget():
    """What lies further back than adapt.forget_after is not learned from; rows without times are a second apart."""
    rows, scores, texts = stream(600)
    days = [Row(r.prompt, r.tokens, r.complete, at=86400.0 * i) for i, r in enumerate(rows)]
    slow = learned(days, scores, texts, forget_after=3600.0).points[0]
    assert slow.adapted_tau is None or slow.adapted_tau.value < learned(rows, scores, texts).points[0].adapted_tau.value


def test_json_and_page_of_a_ranker_without_pooled_features(tmp_path):
    """From files to figures: keys as documented, null where undefined, a picture on the page, none without --adapt."""
    rng = np.random.default_rng(3)
    words = [f"w{i}" for i in range(58)]
    rows = []
    for _ in range(420):
        chosen = rng.choice(words, 5).tolist()
        tokens = 20 + 400 * chosen.count("w7") + 300 * chosen.count("w3") + int(rng.integers(0, 20))
        rows.append(Row(" ".join(chosen), tokens, complete=True, model="m"))
    ranker = make_artifact(tmp_path / "tiny")
    found = evaluate(ranker, rows, adapt=AdaptSection())
    told = json.loads(json.dumps(as_json(found)))
    (point,) = told["adapt"]
    assert {"completions", "base_tau", "adapted_tau", "difference_low", "difference_high", "in_use"} <= set(point)
    assert (point["completions"], point["rows"]) == (200, 220)
    assert "Learning the traffic" in page(found)
    plain = evaluate(ranker, rows)
    assert "adapt" not in as_json(plain)
    assert "Learning the traffic" not in page(plain)
