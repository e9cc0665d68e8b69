"""Who may hold how much of the memory for requests under way."""

from rankd.proxy.body_budget import REQUEST, BodyBudget, default_budget

LIMIT = 48 * 2**20
MUCH = 2**20


def fill(budget, address, credential=b"", size=MUCH):
    """How many requests of a size fit."""
    count = 0
    while budget.hold(address, credential).take(size):
        count += 1
        assert count < 10**5
    return count


def test_one_credential_gets_a_third_and_one_address_half():
    """Of seven eighths, where it is much; others have the rest."""
    budget = BodyBudget(LIMIT)
    assert fill(budget, "a", b"k") == 14
    assert fill(budget, "a", b"k") == 0
    assert sum(fill(budget, "a", b"%d" % at) for at in range(100)) == 6
    assert fill(budget, "b") > 0
    assert budget.used <= LIMIT


def test_made_up_credentials_gain_nothing_over_an_address():
    """Each is another credential of the same address."""
    budget = BodyBudget(LIMIT)
    assert sum(fill(budget, "a", b"%d" % at) for at in range(1000)) == 20


def test_little_requests_are_bounded_in_all():
    """They need no share; but the last of it is for addresses that have little."""
    budget = BodyBudget(LIMIT)
    many = fill(budget, "a", size=REQUEST)
    assert many == LIMIT * 15 // 16 // REQUEST
    assert fill(budget, "b", size=REQUEST) == LIMIT // 16 // REQUEST
    assert fill(budget, "c", size=REQUEST) == 0
    assert budget.used == LIMIT


def test_what_is_released_can_be_taken_again():
    """And nobody is remembered who holds nothing."""
    budget = BodyBudget(LIMIT)
    holds = [budget.hold(f"{at}", b"") for at in range(100)]
    taken = [hold for hold in holds if hold.take(MUCH)]
    assert len(taken) < 100
    for hold in holds:
        hold.release()
        hold.release()
    assert (budget.used, len(budget._addresses), len(budget._credentials)) == (0, 0, 0)
    assert budget.freed_much()
    assert not budget.freed_much()
    assert fill(budget, "a") == 14


def test_a_request_covers_what_it_has_come_to():
    """Less than it holds needs no more; what does not fit is not taken."""
    budget = BodyBudget(LIMIT)
    hold = budget.hold("a", b"")
    assert hold.cover(2 * MUCH)
    assert hold.cover(MUCH)
    assert hold.size == 2 * MUCH
    assert not hold.cover(LIMIT)
    assert hold.size == budget.used == 2 * MUCH


def test_the_budget_is_below_what_the_process_may_have():
    """Half of what is left, and never nothing."""
    assert 2**24 <= default_budget() < 2**50
