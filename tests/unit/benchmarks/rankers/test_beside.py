"""Two rankers side by side: what differs, and by how much more than chance."""

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs rankd[train]")

from benchmarks.rankers.beside import side_by_side
from rankd.training.data.dataset import Row

PROMPTS = [f"p{i}" for i in range(400)]


def answers(noise, models=("a", "b"), seed=0):
    """Lengths that follow a prompt's number, of each model."""
    random = np.random.default_rng(seed)
    return [
        Row(p, max(1, round(100 + i + noise * random.normal())), complete=i % 50 != 0, source="s", model=m)
        for m in models
        for i, p in enumerate(PROMPTS)
    ]


def test_a_ranker_beside_itself_differs_by_nothing():
    """The same scores: no difference, no error, tau of one between them."""
    scores = np.arange(400.0)
    found = side_by_side((scores, scores), PROMPTS, answers(100))
    assert found.taus[0] == found.taus[1] > 0.4
    assert (found.difference, found.error) == (0.0, 0.0)
    assert found.alike == pytest.approx(1.0)


def test_the_error_is_that_of_drawing_prompts_again():
    """The difference's standard error is what a bootstrap over prompts, the same for both, gives."""
    random, rows = np.random.default_rng(1), answers(150)
    good = np.arange(400.0) + 20 * random.normal(size=400)
    bad = np.arange(400.0) + 120 * random.normal(size=400)
    found = side_by_side((good, bad), PROMPTS, rows)
    assert found.difference < -3 * found.error < 0
    drawn = []
    for _ in range(60):
        chosen = random.integers(0, 400, 400)
        again = [
            Row(f"{j}", r.tokens, r.complete, "s", r.model)
            for m in (0, 400)
            for j, i in enumerate(chosen)
            for r in [rows[m + i]]
        ]
        drawn.append(side_by_side((good[chosen], bad[chosen]), [f"{j}" for j in range(400)], again).difference)
    assert found.error == pytest.approx(np.std(drawn), rel=0.35)


def test_models_with_few_answers_are_left_out():
    """They say nothing, of either ranker."""
    rows = answers(100, models=("a",))
    few = [Row(p, 1000 - i, complete=True, source="s", model="few") for i, p in enumerate(PROMPTS[:20])]
    scores = (np.arange(400.0), np.arange(400.0)[::-1].copy())
    assert side_by_side(scores, PROMPTS, rows + few) == side_by_side(scores, PROMPTS, rows)
