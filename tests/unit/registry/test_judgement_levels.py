"""Many judgements on the same completions share one error."""

import numpy as np
import pytest

from rankd.registry.judgement_levels import SHARED, JudgementLevels, level_of

OLD, NEW = list(np.arange(0.0, 1000.0)), list(np.arange(2000.0, 3000.0))


def test_all_levels_together_are_the_shared_error():
    """Whatever the number of candidates."""
    total = sum(level_of(k).error for k in range(1, 100_000))
    assert SHARED * 0.9999 < total < SHARED


@pytest.mark.parametrize(("tries", "quantile"), [(1, 2.165), (2, 2.669), (10, 3.611), (50, 4.371)])
def test_the_quantile_is_that_of_the_error(tries, quantile):
    """Of the normal distribution, one-sided."""
    assert level_of(tries).quantile == pytest.approx(quantile, abs=0.01)


def test_other_candidates_on_the_same_completions_count():
    """Each by one."""
    levels = JudgementLevels()
    assert [levels.next("s@1", f"c@{i}", OLD).tries for i in range(5)] == [1, 2, 3, 4, 5]


def test_the_same_candidate_on_much_the_same_completions_does_not():
    """As where a promotion follows a judgement; after more traffic it is a further try."""
    levels = JudgementLevels()
    assert levels.next("s@1", "c@1", OLD).tries == 1
    assert levels.next("s@1", "c@1", OLD[50:] + NEW[:50]).tries == 1
    assert levels.next("s@1", "c@1", OLD[500:] + NEW[:500]).tries == 2
    assert levels.next("s@1", "d@1", OLD).tries == 3


def test_completions_that_all_ended_later_begin_anew():
    """They hold other luck; an overlap does not."""
    levels = JudgementLevels()
    for i in range(10):
        levels.next("s@1", f"c@{i}", OLD)
    assert levels.next("s@1", "d@1", OLD[-1:] + NEW).tries == 11
    assert levels.next("s@1", "e@1", [t + 5000 for t in NEW]).tries == 1


def test_another_ranker_in_service_begins_anew():
    """What was tried against the one before says nothing of this one."""
    levels = JudgementLevels()
    levels.next("s@1", "c@1", OLD)
    assert levels.next("c@1", "d@1", OLD).tries == 1
