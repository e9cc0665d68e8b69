"""TF-IDF and ridge regression on log length: what a ranker has to beat to be worth its weights.

Needs scikit-learn, which is a development dependency: it is measured against, never shipped.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rankd.errors import ConfigError
from rankd.training.data.dataset import Row

MOST_TERMS = 200_000
TOKENS = r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|\w+|[^\w\s]"
"""Words and signs; in scripts without spaces every character is a word, so that bigrams are short words."""
ALPHA = 1.0
"""Of the ridge. From .3 to 3, tau on held-out prompts of three files moves by .02 at most."""


def tfidf_ridge(train_rows: Sequence[Row], test_rows: Sequence[Row]) -> NDArray[np.float64]:
    """Learn on some rows, score others: higher = longer.

    The target is log length less its mean in the row's source and model, as the rankers learn within those too; of
    one source and model that makes no difference. A row that was cut counts as its bound.

    Args:
        train_rows: two or more.
        test_rows: any number; only their prompts are read.

    Returns:
        Scores, [test_rows].

    Raises:
        ConfigError: scikit-learn is missing, or there is nothing to learn from.
    """
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import Ridge
    except ImportError:
        raise ConfigError("the TF-IDF baseline needs scikit-learn: pip install 'rankd[dev]'") from None
    if len(train_rows) < 2:
        raise ConfigError(f"the TF-IDF baseline needs two rows or more to learn from, not {len(train_rows)}")
    vectoriser = TfidfVectorizer(
        token_pattern=TOKENS, ngram_range=(1, 2), min_df=2 if len(train_rows) > 100 else 1, max_features=MOST_TERMS,
        sublinear_tf=True, dtype=np.float32,
    )  # fmt: skip
    try:
        terms = vectoriser.fit_transform([r.prompt for r in train_rows])
    except ValueError:
        raise ConfigError("the TF-IDF baseline found no word in the prompts to learn from") from None
    model = Ridge(alpha=ALPHA, solver="sparse_cg").fit(terms, _targets(train_rows))
    return np.asarray(model.predict(vectoriser.transform([r.prompt for r in test_rows])), dtype=np.float64)


def _targets(rows: Sequence[Row]) -> NDArray[np.float64]:
    logs = np.log([max(1, r.tokens) for r in rows])
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        places[row.group].append(place)
    for group in places.values():
        logs[group] -= logs[group].mean()
    return np.asarray(logs, dtype=np.float64)
