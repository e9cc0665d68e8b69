"""What is cached of a prompt changes while it waits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rankd_client.ordering import OrderColumns, Policy, Rules, WaitingQueue, order_queue

ROWS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 99), st.integers(0, 900)), min_size=1, max_size=30)
POLICIES = st.sampled_from([Policy.SCORE, Policy.BOOST, Policy.DUE, Policy.LONGEST])


@given(ROWS, st.lists(st.tuples(st.integers(0, 99), st.integers(0, 900)), max_size=20), POLICIES, st.booleans())
def test_the_order_is_that_of_what_is_cached_now(rows, changes, policy, known):
    """Whenever it is said, and whatever was looked at before: as if it had been said on arrival."""
    rules = Rules(policy, patience=0.1, prompt_cost=0.2, prior_expected=40.0 if known else None, mean_work=60.0)
    queue, cached = WaitingQueue(rules), np.zeros(len(rows))
    for number, (arrival, length, prompt) in enumerate(rows):
        queue.add(str(number), float(arrival), score=float(length), expected=float(length), prompt_tokens=float(prompt))
    queue.peek(9.0)
    for place, tokens in changes:
        cached[place % len(rows)] = tokens
        queue.cache(str(place % len(rows)), float(tokens))
    arrival, length, prompt = np.array(rows, dtype=float).T
    columns = OrderColumns(
        [str(n) for n in range(len(rows))], arrival, length, length, prompt_tokens=prompt, cached_prompt_tokens=cached
    )
    order = order_queue(columns, rules, now=9.0).order
    assert [queue.pop(9.0) for _ in rows] == [str(row) for row in order]


def test_who_does_not_wait_has_nothing_cached():
    """It is an error, as with predictions."""
    with pytest.raises(KeyError):
        WaitingQueue(Rules()).cache("nobody", 3.0)
