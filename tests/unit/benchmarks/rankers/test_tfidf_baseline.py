"""The baseline that rankers are held against."""

import numpy as np
import pytest

from benchmarks.rankers.tfidf_baseline import tfidf_ridge
from rankd.errors import ConfigError
from rankd.quality.statistics.kendall import tau_b
from rankd.training.data.dataset import Row

pytest.importorskip("sklearn")

WORTH = {"essay": 500, "word": 3, "list": 90, "story": 700, "number": 2, "诗": 60, "论": 800}


def rows_of(count, *, seed=0, scale=1.0, model="m"):
    """Prompts in which one word decides the length."""
    rng = np.random.default_rng(seed)
    words = list(WORTH)
    picked = [words[i] for i in rng.integers(0, len(words), count)]
    joined = [f"请写一{w}吧" if len(w) == 1 else f"please give me one {w} about w{i % 9}" for i, w in enumerate(picked)]
    return [
        Row(p, int(scale * WORTH[w] * rng.uniform(0.7, 1.4)) + 1, complete=True, model=model)
        for p, w in zip(joined, picked, strict=True)
    ]


def test_it_learns_which_words_mean_long_answers():
    """On prompts whose words decide, also in a script without spaces, its order on new rows is nearly right."""
    test = rows_of(200, seed=1)
    scores = tfidf_ridge(rows_of(400), test)
    assert tau_b(scores, np.array([float(r.tokens) for r in test])) > 0.7


def test_the_level_of_a_model_is_not_learned_as_a_word():
    """A model that answers everything 50 times longer, to other prompts, does not bend the order of words."""
    short = [r for r in rows_of(300) if "essay" in r.prompt or "word" in r.prompt]
    long = [r for r in rows_of(300, scale=50.0, model="wordy") if "word" in r.prompt or "number" in r.prompt]
    essay, word = tfidf_ridge([*short, *long], [Row("one essay", 1, complete=True), Row("one word", 1, complete=True)])
    assert essay > word


@pytest.mark.parametrize(
    "rows", [[], [Row("a", 1, complete=True)], [Row("", 1, complete=True), Row(" ", 2, complete=True)]]
)
def test_too_little_to_learn_from_is_an_error(rows):
    """No rows, one row, or no words: named, rather than scikit-learn's own trace."""
    with pytest.raises(ConfigError, match="TF-IDF"):
        tfidf_ridge(rows, [Row("a", 1, complete=True)])
