"""Who sends the traffic: names are a caller's to choose, memory and work are not."""

import random

import numpy as np

from rankd.ranking.tenant_counts import TenantCounts, TenantTally


def count(tenants, names, fresh=None, missing=()):
    fresh = np.ones(len(names), dtype=np.bool_) if fresh is None else np.array(fresh)
    tenants.count(names, len(names), fresh, missing)


def test_each_tenant_is_told_its_own():
    """Answers, items, new predictions and items without a score, by tenant; the largest comes first."""
    tenants = TenantCounts(5)
    count(tenants, ["a", "b", "b", "b"], fresh=[True, True, False, False], missing=[2])
    count(tenants, ["b"], fresh=[False])
    named, others = tenants.tallies()
    assert named == [("b", TenantTally(2, 4, 1, 1)), ("a", TenantTally(1, 1, 1, 0))]
    assert others == TenantTally()


def test_items_that_name_none_are_one_unnamed_tenants():
    """Most callers have no tenants; an empty queue is nobody's."""
    tenants = TenantCounts(5)
    tenants.count(None, 3, np.array([True, False, False]), [1])
    tenants.count(None, 0, np.zeros(0, dtype=np.bool_), [])
    assert tenants.tallies()[0] == [("", TenantTally(1, 3, 1, 1))]


def test_made_up_names_do_not_push_out_who_sends_much_and_nothing_is_lost():
    """Under a flood of names those with the most items stay, with all but their very first; the rest is with others."""
    tenants, rng = TenantCounts(20), random.Random(1)
    large = [f"team-{i}" for i in range(10)]
    sent = dict.fromkeys(large, 0)
    for i in range(500):
        names = [rng.choice(large) for _ in range(20)] + [f"made-up-{i}-{k}" for k in range(30)]
        for name in names[:20]:
            sent[name] += 1
        count(tenants, names)
    named, others = tenants.tallies()
    assert len(named) == 20
    assert [name for name, _ in named[:10]] == sorted(sent, key=sent.get, reverse=True)
    assert all(sent[name] - 5 <= t.items <= sent[name] for name, t in named[:10])
    assert sum(t.items for _, t in named) + others.items == 500 * 50


def test_queues_of_sixteen_thousand_tenants_leave_a_thousand_names():
    """What is kept is bounded by the setting, not by the names; nothing that was counted is lost."""
    tenants = TenantCounts(1000)
    for i in range(3):
        count(tenants, [f"{i}-{k}" for k in range(16384)])
    named, others = tenants.tallies()
    assert len(named) == 1000
    assert sum(t.items for _, t in named) + others.items == 3 * 16384


def test_none_is_named_where_the_setting_says_so():
    """page.tenants = 0 keeps no name."""
    tenants = TenantCounts(0)
    count(tenants, ["a", "b"])
    tenants.count(None, 1, np.array([True]), [])
    assert tenants.tallies() == ([], TenantTally(3, 3, 3, 0))
