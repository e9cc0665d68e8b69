"""The counters that an engine keeps of its tenants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rankd_client.ordering import Rules, TenantCounters, WaitingQueue


def test_being_away_saves_up_nothing():
    """Who comes back starts at the least of those served meanwhile, weights counted; who is ahead stays so."""
    counters = TenantCounters({"b": 2.0}, prompt_weight=0.5)
    counters.arrived("a")
    counters.produced("a", 100, prompt_tokens=40)
    counters.arrived("b")
    assert counters.served == {"a": 120.0, "b": 240.0}
    counters.produced("b", 1000)
    counters.left("b")
    counters.arrived("b")
    assert counters.served["b"] == 1240.0
    with pytest.raises(KeyError):
        counters.left("c")


def test_having_been_alone_costs_nothing():
    """Who was served for long while nobody else came waits for no newcomer to catch up; and no name is kept."""
    counters = TenantCounters({"new": 2.0})
    for tenant in ["old", *map(str, range(99)), "old"]:
        counters.arrived(tenant)
        counters.produced(tenant, 1000)
        counters.left(tenant)
    assert len(counters.served) == 1
    counters.arrived("new")
    counters.arrived("old")
    assert counters.served["new"] == 2 * counters.served["old"]


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 50), st.booleans()), max_size=200))
def test_memory_is_bounded_by_who_is_there_or_ahead(events):
    """Nobody is remembered who would be lifted to no less than what they have."""
    counters, waiting = TenantCounters(), []
    for tenant, tokens, comes in events:
        if comes:
            counters.arrived(tenant)
            waiting.append(tenant)
        elif tenant in waiting:
            counters.produced(tenant, tokens)
            counters.left(tenant)
            waiting.remove(tenant)
    counters.arrived("z")
    there = {*waiting, "z"}
    least = min(counters.served[t] for t in there)
    assert all(t in there or served >= least for t, served in counters.served.items())


def test_a_flood_does_not_delay_another_tenant():
    """One tenant sends 200 requests, another comes late with one: it is served next."""
    counters = TenantCounters()
    queue = WaitingQueue(Rules(prior_expected=10.0), served=counters.served)
    for n in range(200):
        counters.arrived("flood")
        queue.add(f"f{n:03}", n / 100, expected=10.0, tenant="flood")
    for _ in range(50):
        queue.pop(3.0)
        counters.produced("flood", 10)
    counters.arrived("late")
    queue.add("late", 3.0, expected=400.0, tenant="late")
    assert "late" in [queue.pop(3.0) for _ in range(2)]


def test_who_was_served_little_and_comes_back_does_not_go_first_for_ever():
    """A waiting queue by itself: a tenant that had nothing waiting shares from its return on, with no credit."""
    queue = WaitingQueue(Rules(prior_expected=10.0))
    queue.add("b0", 0.0, expected=10.0, tenant="b")
    queue.pop(0.0)
    for n in range(40):
        queue.add(f"a{n:02}", 1.0, expected=10.0, tenant="a")
    for _ in range(20):
        queue.pop(1.0)
    for n in range(10):
        queue.add(f"b{n + 1}", 2.0, expected=10.0, tenant="b")
    next_ten = [queue.pop(2.0)[0] for _ in range(10)]
    assert sorted(next_ten) == ["a"] * 5 + ["b"] * 5
