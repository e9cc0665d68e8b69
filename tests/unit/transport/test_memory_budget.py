"""The budget: what one connection, one caller and all may hold, and that it adds up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankd.errors import QuotaError
from rankd.transport.memory_budget import MemoryBudget

LIMIT = 2**26
LITTLE = 2**18


def most(budget, caller, connection):
    """As much as a call may hold, in steps; the call holds it."""
    hold = budget.hold(caller, connection)
    step = LIMIT
    while step >= 1024:
        try:
            hold.resize(hold.size + step)
        except QuotaError:
            step //= 2
    return hold


def test_one_connection_gets_a_third_and_one_caller_half():
    """Whatever they ask for; of the others each still gets something."""
    budget = MemoryBudget(LIMIT)
    first = most(budget, "a", "a:1")
    assert 0.25 * LIMIT < first.size < LIMIT / 3
    for port in range(2, 50):
        most(budget, "a", f"a:{port}")
    assert budget.used < LIMIT / 2 + 50 * LITTLE
    other = most(budget, "b", "b:1")
    assert other.size > LIMIT / 20


def test_little_is_left_for_those_who_hold_little():
    """Many callers take what they can: a newcomer with a small call is not refused."""
    budget = MemoryBudget(LIMIT)
    for caller in range(20):
        hold = budget.hold(f"{caller}", f"{caller}:1")
        most(budget, f"{caller}", f"{caller}:1")
        with pytest.raises(QuotaError, match=r"limits\.memory_bytes"):
            hold.resize(LIMIT // 2)
    assert budget.used <= LIMIT - LIMIT // 8 + 20 * LITTLE
    budget.hold("new", "new:1").resize(LITTLE)


def test_what_is_refused_leaves_what_was_held():
    """A hold that cannot grow is as before; less always can be."""
    budget = MemoryBudget(LIMIT)
    hold = budget.hold("a", "a:1")
    hold.resize(1000)
    with pytest.raises(QuotaError):
        hold.resize(LIMIT)
    assert (hold.size, budget.used, budget.refused) == (1000, 1000, 1)
    hold.resize(500)
    hold.release()
    hold.release()
    assert budget.used == 0


def test_most_of_a_peak_freed_is_told_once():
    """That is when memory is given back to the system."""
    budget = MemoryBudget(2**30)
    hold = budget.hold("a", "a:1")
    hold.resize(2**20)
    hold.release()
    assert not budget.freed_much(), "a megabyte is not much"
    hold.resize(2**26)
    assert not budget.freed_much()
    hold.release()
    assert budget.freed_much()
    assert not budget.freed_much()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**25)), max_size=60))
def test_it_adds_up_and_forgets_who_holds_nothing(steps):
    """Any order of growing, shrinking and being refused."""
    budget = MemoryBudget(LIMIT)
    holds = [budget.hold(f"{n % 2}", f"{n % 2}:{n}") for n in range(4)]
    for number, size in steps:
        try:
            holds[number].resize(size)
        except QuotaError:
            assert size > holds[number].size
        assert budget.used == sum(h.size for h in holds) <= LIMIT
    for hold in holds:
        hold.release()
    assert budget.used == 0
    assert not budget._callers
    assert not budget._connections
