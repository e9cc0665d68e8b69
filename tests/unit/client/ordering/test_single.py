"""A queue of one in plain numbers, against the order of columns: the same key and policy, to the last bit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.ordering import OrderColumns, Policy, Rules, order_queue, order_single

NUMBERS = st.one_of(
    st.floats(),
    st.floats(-1e3, 1e6),
    st.sampled_from([0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 2.0**62, 2.0**63, 1e308]),
)
LENGTHS = st.one_of(NUMBERS, st.floats(0, 1e5))
RULES = st.builds(
    Rules,
    policy=st.sampled_from([p for p in Policy if p is not Policy.AGED]),
    patience=NUMBERS,
    risk=NUMBERS,
    wait_cap=NUMBERS,
    overtake_cap=st.integers(0, 3),
    class_step=st.none() | NUMBERS,
    prior_expected=st.none() | LENGTHS,
    prompt_cost=NUMBERS,
    mean_work=st.none() | LENGTHS,
    ignore_lengths=st.booleans(),
    fair_tenants=st.booleans(),
    running_first=st.booleans(),
)


@settings(max_examples=2000, deadline=None)
@given(
    rules=RULES,
    arrival=st.one_of(NUMBERS, st.floats(1.6e9, 1.9e9)),
    score=NUMBERS,
    expected=LENGTHS,
    p90=st.none() | LENGTHS,
    generated=st.none() | LENGTHS,
    max_tokens=st.none() | LENGTHS,
    learned=st.none() | NUMBERS,
    comparable=st.booleans(),
    now=st.floats(1.6e9, 1.9e9),
)
def test_it_is_what_the_order_of_columns_gives(
    rules, arrival, score, expected, p90, generated, max_tokens, learned, comparable, now
):
    """Whatever the numbers, those that are none included."""

    def column(value):
        return None if value is None else np.array([value])

    with np.errstate(all="ignore"):
        columns = OrderColumns(
            ["a"], np.array([arrival]), np.array([score]), np.array([expected]), p90=column(p90),
            generated=column(generated), max_tokens=column(max_tokens), learned=column(learned),
            running=np.array([True]), overtaken=np.array([2]), tenant=["t"],
        )  # fmt: skip
        wanted = order_queue(columns, rules, now=now, scores_comparable=comparable)
        found = order_single(
            arrival, rules, score=score, expected=expected, p90=p90, generated=generated, max_tokens=max_tokens,
            learned=learned, scores_comparable=comparable,
        )  # fmt: skip
    assert found == (int(wanted.serving_key[0]), wanted.policy)
    assert wanted.order.tolist() == [0]


def test_aged_is_left_to_columns():
    """Powers are numpy's own."""
    assert order_single(0.0, Rules(policy=Policy.AGED), expected=3.0) is None


@pytest.mark.parametrize("policy", [Policy.BOOST, Policy.SCORE])
def test_what_is_not_known_comes_by_its_score_or_in_order_of_arrival(policy):
    """As in longer queues: BOOST asks for lengths, SCORE does with scores."""
    found = order_single(12.5, Rules(policy=policy), score=0.25)
    assert found == ((250_000, Policy.SCORE) if policy is Policy.SCORE else (12_500, Policy.FCFS))
