"""How much each expert counts: by its merits, of late above all."""

from __future__ import annotations

import numpy as np

from rankd.adaptation.experts import Expert, Shares


def judged(shares: Shares, noise: list[float], size: int, seed: int = 0, level: float = 0.0) -> Shares:
    """Experts predicted ``size`` completions with these deviations."""
    rng = np.random.default_rng(seed)
    for _ in range(size // 32):
        target = rng.standard_normal(32) + level
        predicted = (target - level)[:, None] + rng.standard_normal((32, 4)) * noise
        shares = shares.after(predicted, target)
    return shares


def test_at_first_the_score_alone_counts() -> None:
    assert Shares.start().values.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_the_best_of_late_counts_most_soon_after_a_change() -> None:
    shares = judged(Shares.start(), [1.0, 1.0, 0.7, 0.8], 1024)
    assert shares.values[Expert.LONG] > 0.8
    shares = judged(shares, [0.8, 0.9, 1.4, 1.2], 192, seed=1)
    assert shares.values[Expert.SCORE] > 0.7


def test_a_level_that_all_have_wrong_says_nothing() -> None:
    alone = judged(Shares.start(), [1.0, 1.0, 0.9, 0.8], 320).values
    shifted = judged(Shares.start(), [1.0, 1.0, 0.9, 0.8], 320, level=3.0).values
    np.testing.assert_allclose(alone, shifted, atol=1e-9)


def test_one_absurd_length_does_not_decide() -> None:
    rng = np.random.default_rng(2)
    target = rng.standard_normal(64)
    predicted = target[:, None] + rng.standard_normal((64, 4)) * [1.0, 1.0, 0.5, 0.5]
    hostile = target.copy()
    hostile[5] = 14.0
    shares = Shares.start().after(predicted, hostile)
    assert shares.values[Expert.LONG] + shares.values[Expert.SHORT] > 0.9
