"""Predictions that come while a request waits already, and looking at several of those that wait."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.ordering import Policy, Rules, WaitingQueue
from support.examples import examples
from support.order_by_definition import rows, rules

LENGTH = st.sampled_from([math.nan, 0.0, 1.0, 30.0, 500.0])


@given(
    st.sampled_from(Policy),
    st.sampled_from([0.0, 0.5]),
    st.lists(st.tuples(st.integers(0, 5), LENGTH, LENGTH, LENGTH, LENGTH, LENGTH), min_size=1, max_size=12),
    st.booleans(),
)
def test_a_late_prediction_is_as_good_as_an_early_one(policy, risk, rows, prior):
    """Told while waiting, in any order of calls, the queue pops what it would have popped had it been told at first."""
    rules = Rules(policy, risk=risk, prior_expected=50.0 if prior else None)
    early, late = WaitingQueue(rules), WaitingQueue(rules)
    for number, (arrival, score, expected, p90, old, _) in enumerate(rows):
        early.add(str(number), arrival, score=score, expected=expected, p90=p90)
        late.add(str(number), arrival, expected=old)
    late.peek(7.0)
    for number, (_, score, expected, p90, _, look) in enumerate(rows):
        late.predict(str(number), score=score, expected=expected, p90=p90)
        if look:
            late.lengths()
    assert sorted(late.lengths()) == pytest.approx(sorted(early.lengths()))
    while len(early):
        assert late.pop(7.0) == early.pop(7.0)


@settings(max_examples=examples(300))
@given(rows(known=True), rules(), st.integers(1, 16))
def test_the_first_are_those_that_pop_gives(some, rules, most):
    """Looking at several says who is popped next, and changes nothing; to serve them by name is to pop them."""
    looked, popped = WaitingQueue(rules), WaitingQueue(rules)
    for row in some:
        looked.add(**row)
        popped.add(**row)
    while len(popped):
        first = looked.first(15.0, most)
        assert first == looked.first(15.0, most)
        assert len(first) == min(most, len(popped))
        for name in first:
            assert popped.pop(15.0) == name
            looked.serve(name)
    assert looked.first(15.0, most) == []


def test_only_who_waits_is_predicted():
    """An id that is gone is told so."""
    with pytest.raises(KeyError):
        WaitingQueue(Rules()).predict("gone", expected=1.0)
