"""Every rule of an order: against its definition, as a theorem, and the same whether sorted or served one by one."""

import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from rankd_client.ordering import (
    AdaptiveRules,
    LearnedCosts,
    Objective,
    OrderColumns,
    Policy,
    Rules,
    WaitingQueue,
    order_queue,
)
from rankd_client.ordering.order import PLACES, overtakes
from support.examples import examples
from support.order_by_definition import (
    BY_SCORE,
    NAN,
    bounded,
    columns,
    length_of,
    policies_of,
    rows,
    rules,
    serve,
    uncached,
)

SERVED = {"a": 30.0}
EMPTY = {
    "score": 0.0,
    "p90": NAN,
    "generated": 0.0,
    "max_tokens": 0.0,
    "deadline": math.inf,
    "overtaken": 0,
    "tenant": "",
    "prompt_tokens": 0.0,
    "cached_prompt_tokens": 0.0,
}


def work_of(row, rules):
    """W of a request of known length."""
    return length_of(row, rules) + rules.prompt_cost * uncached(row)


def order_of(some, rules, now=15.0, **more):
    """Ids in serving order."""
    queue = columns(some, **more)
    return [queue.request_ids[i] for i in order_queue(queue, rules, now=now, served=SERVED).order]


@settings(max_examples=examples(600))
@given(rows(), rules())
def test_the_order_is_its_definition(some, rules):
    """Sorting by columns gives what serving one request at a time by the written rules gives."""
    assert order_of(some, rules) == serve(some, rules, 15.0, SERVED)


@settings(max_examples=examples(400))
@given(rows(known=True), rules(), st.data())
def test_serving_one_by_one_is_the_same_order(some, rules, data):
    """WaitingQueue pops what order_queue lists, whatever joined, left or changed before."""
    queue = WaitingQueue(replace(rules, policy=Policy.SCORE), served=SERVED)
    gone = data.draw(rows(known=True, most=4))
    for row in gone:
        queue.add(**{**row, "request_id": "gone" + row["request_id"]})
    for row in some:
        queue.add(**row)
        if data.draw(st.booleans()):
            queue.peek(15.0)
    for row in gone:
        queue.remove("gone" + row["request_id"])
    queue.rules = rules
    popped = []
    while len(queue):
        assert queue.peek(15.0) not in popped
        popped.append(queue.pop(15.0))
    assert popped == order_of(some, rules)


@given(rows(), rules(), st.randoms(use_true_random=False))
def test_the_input_order_does_not_matter(some, rules, shuffler):
    """The same queue gives the same order in any permutation."""
    mixed = list(some)
    shuffler.shuffle(mixed)
    assert order_of(mixed, rules) == order_of(some, rules)


@given(rows(), rules(), st.floats(0, 20))
def test_nobody_waits_beyond_the_cap_while_a_later_one_is_served(some, rules, cap):
    """The theorem of wait_cap: whoever waited longer is only preceded by who came no later."""
    order = order_of(some, replace(rules, wait_cap=cap))
    arrival = {r["request_id"]: r["arrival"] for r in some}
    for place, name in enumerate(order):
        if 15.0 - arrival[name] > cap:
            assert all(arrival[before] <= arrival[name] for before in order[:place])


@given(rows(), rules(), st.integers(1, 5))
def test_nobody_is_overtaken_more_often_than_the_cap(some, rules, cap):
    """The theorem of overtake_cap, counting what happened before and what this order does."""
    order = order_of(some, replace(rules, overtake_cap=cap))
    by_id = {r["request_id"]: r for r in some}
    for place, name in enumerate(order):
        arrival = by_id[name]["arrival"]
        more = sum(by_id[before]["arrival"] > arrival for before in order[:place])
        assert by_id[name]["overtaken"] + more <= max(cap, by_id[name]["overtaken"])


def test_a_cap_that_binds_is_exact_where_an_engine_looks():
    """In the first 256 places of 2,000; the places beyond follow by their keys alone."""
    n, cap = 2000, 3
    rng = np.random.default_rng(0)
    arrival, expected = np.sort(rng.uniform(0, 100, n)), rng.lognormal(4, 1, n)
    queue = OrderColumns([f"{i:04d}" for i in range(n)], arrival, expected, expected)
    order = order_queue(queue, Rules(Policy.SCORE, overtake_cap=cap)).order
    assert sorted(order.tolist()) == list(range(n))
    for place, row in enumerate(order[:PLACES]):
        assert (arrival[order[:place]] > arrival[row]).sum() <= cap
    left = order[PLACES:]
    assert (np.diff(np.floor(1000 * expected[left])) >= 0).all()


@given(rows(known=True), rules(), st.floats(0.5, 4))
def test_tenants_are_never_further_apart_than_the_largest_cost(some, rules, weight):
    """The theorem of fair_tenants: at any time, for tenants with requests waiting that no cap or class moves."""
    rules = replace(rules, fair_tenants=True, wait_cap=math.inf, overtake_cap=0, class_step=3.0)
    assume(not any(policy in BY_SCORE for policy in policies_of(rules)))
    queue = columns(some)
    weights = {"a": weight}
    order = order_queue(queue, rules, now=15.0, served=SERVED, weights=weights).order.tolist()
    counters = {"": 0.0, "a": 30.0 / weight, "b": 0.0}
    lengths = [bounded(20.0, r) if rules.ignore_lengths else length_of(r, rules) for r in some]
    costs = [max(e + rules.prompt_weight * r["prompt_tokens"], 1.0) for e, r in zip(lengths, some, strict=True)]
    costs = [c / weights.get(r["tenant"], 1.0) for c, r in zip(costs, some, strict=True)]
    first_gap = 30.0 / weight
    bound = max([first_gap, *costs])
    for place, row in enumerate(order):
        waiting = {some[i]["tenant"] for i in order[place:]}
        if len(waiting) > 1:
            shown = [counters[t] for t in waiting]
            assert max(shown) - min(shown) <= bound + 1e-9
        counters[some[row]["tenant"]] += costs[row]


@given(rows(known=True), st.floats(0, 10), st.floats(1, 50), st.sampled_from([0.0, 0.05, 2.0]))
def test_boost_is_overtaken_by_ratios_only(some, patience, average, cost):
    """The bound of BOOST: j goes before i though it came later only within patience * M * ln(W_i / W_j) after it."""
    rules = Rules(Policy.BOOST, patience=patience, mean_work=average, fair_tenants=False, prompt_cost=cost)
    some = [{**r, "priority_class": 0, "deadline": math.inf} for r in some]
    by_id = {r["request_id"]: r for r in some}
    order = [by_id[name] for name in order_of(some, rules)]
    for place, early in enumerate(order):
        for late in order[place + 1 :]:
            ratio = max(work_of(late, rules), 1.0) / max(work_of(early, rules), 1.0)
            assert early["arrival"] - late["arrival"] <= patience * average * math.log(ratio) + 0.0011


@given(rows(known=True), rules(), st.floats(0, 10))
def test_nobody_is_starved_by_who_comes_later(some, rules, patience):
    """Under BOOST and DUE, whatever is known or ignored, a request goes before all that come late enough after it."""
    policy = rules.policy if rules.policy in (Policy.BOOST, Policy.DUE) else Policy.BOOST
    rules = replace(rules, policy=policy, patience=patience, fair_tenants=False, class_policies=(), overtake_cap=0)
    largest = [1.0, rules.prior_expected, *(bounded(e, r) for r in some if not math.isnan(e := r["expected"]))]
    largest += [r["p90"] for r in some if not math.isnan(r["p90"])]
    most = max(largest) + 9.0 + rules.prompt_cost * 20.0
    average = rules.prior_expected if rules.mean_work is None else rules.mean_work
    bound = patience * (average * math.log(most) if policy is Policy.BOOST else most) + 0.01
    newcomer = {**EMPTY, "request_id": "zz", "arrival": 12.0 + bound, "expected": 0.0, "priority_class": 0}
    some = [{**r, "priority_class": 0, "deadline": math.inf} for r in some]
    assert order_of([*some, newcomer], rules, now=12.0 + bound)[-1] == "zz"


_LEARNED = st.builds(
    LearnedCosts,
    mean_length=st.floats(1, 100),
    mean_work=st.one_of(st.none(), st.floats(1, 100)),
    prompt_cost=st.sampled_from([0.0, 0.05, 1e6]),
    patience=st.fixed_dictionaries({Objective.MEAN: st.floats(0, 1e12)}),
)


@given(
    rows(known=True),
    st.sampled_from([Policy.BOOST, Policy.DUE]),
    st.floats(0, 10),
    *[st.tuples(st.floats(0, 1), st.one_of(st.none(), st.floats(0, 1e9)), _LEARNED)] * 2,
)
def test_keys_that_are_kept_are_overtaken_within_the_most_patience(some, policy, most, before, after):
    """An engine keeps the keys that it was given: however trust, drain and costs change, who comes late goes after."""
    adaptive = AdaptiveRules(Rules(policy), Objective.MEAN, backlog_share=0.5, most_patience=most)
    some = [{**r, "priority_class": 0, "deadline": math.inf} for r in some]
    first, later = adaptive.at(*before), adaptive.at(*after)
    kept = order_queue(columns(some), first, now=15.0).serving_key
    average = later.mean_work or later.prior_expected or 1.0
    reach = most * average * math.log(average) if policy is Policy.BOOST else 0.0
    arrival = max(max(kept.tolist(), default=0) / 1000, 0.0) + reach + 0.01
    newcomer = {**EMPTY, "request_id": "zz", "arrival": arrival, "expected": 0.0, "priority_class": 0}
    assert order_queue(columns([newcomer]), later, now=arrival).serving_key[0] >= max(kept.tolist(), default=0)


def test_boost_is_due_for_requests_of_nearly_average_length():
    """The same patience means the same to a request of average length: DUE is the tangent of BOOST."""
    queue = OrderColumns(["a", "b"], np.zeros(2), np.zeros(2), np.array([200.0, 201.0]))
    boost, due = (
        order_queue(queue, Rules(policy, patience=8.0, prior_expected=200.0)).serving_key
        for policy in (Policy.BOOST, Policy.DUE)
    )
    assert boost[0] == 0
    assert np.diff(boost)[0] == pytest.approx(np.diff(due)[0], rel=0.01) == 8000


@given(rows(), rules(), st.data())
def test_running_requests_go_first(some, rules, data):
    """Running requests stand before all waiting ones, unless preemption is allowed."""
    running = data.draw(st.lists(st.booleans(), min_size=len(some), max_size=len(some)))
    order = order_of(some, rules, running=running)
    state = {r["request_id"]: run for r, run in zip(some, running, strict=True)}
    states = [state[name] for name in order]
    assert states == sorted(states, reverse=True)


@given(rows())
def test_no_trust_is_arrival_order_exactly(some):
    """Without trust the order is FCFS, whatever the base policy."""
    for policy in Policy:
        adaptive = AdaptiveRules(Rules(policy, fair_tenants=False), backlog_share=1.0)
        some_plain = [{**r, "priority_class": 0} for r in some]
        got = order_of(some_plain, adaptive.at(0.0, 50.0, LearnedCosts(mean_length=20.0, prompt_cost=0.5)))
        assert got == [r["request_id"] for r in sorted(some, key=lambda r: (r["arrival"], r["request_id"]))]


@given(rows(known=True), st.sampled_from([Policy.DUE, Policy.AGED]))
def test_little_trust_is_nearly_arrival_order(some, policy):
    """There is no cliff: as trust goes to 0, DUE and AGED go to FCFS."""
    plain = [{**r, "priority_class": 0, "deadline": math.inf, "generated": 0.0} for r in some]
    learned = LearnedCosts(mean_length=20.0, prompt_cost=0.5)
    rules = AdaptiveRules(Rules(policy, fair_tenants=False), backlog_share=1.0).at(1e-9, 50.0, learned)
    times = [r["arrival"] for name in order_of(plain, rules) for r in some if r["request_id"] == name]
    assert times == sorted(times)


def test_the_rules_follow_trust_and_backlog():
    """Patience is the trusted share of the drain time per average token; the cap grows with the backlog."""
    adaptive = AdaptiveRules(Rules(patience=0.2, wait_cap=10.0), backlog_share=0.5, most_patience=3.0, cap_share=2.0)
    adaptive = replace(adaptive, objective=Objective.TAIL)
    ten = LearnedCosts(mean_length=10.0)
    assert adaptive.at(1.0, None, LearnedCosts(100.0)) == Rules(patience=0.2, wait_cap=10.0, prior_expected=100.0)
    at_half = Rules(patience=1.0, age_exponent=0.5, wait_cap=80.0, prior_expected=10.0)
    assert adaptive.at(0.5, 40.0, ten) == at_half
    assert adaptive.at(1.0, 40.0).patience == 0.2, "of an average request nothing is known"
    assert adaptive.at(1.0, 1e6, ten).patience == 3.0
    assert adaptive.at(1.0, 1.0, ten).wait_cap == 10.0
    assert adaptive.at(NAN, 1.0, ten).policy is Policy.FCFS
    assert AdaptiveRules(Rules(), cap_share=2.0).at(0.0, 4.0, ten) == Rules(
        Policy.FCFS, wait_cap=8.0, prior_expected=10.0
    )


@given(st.lists(st.integers(0, 9).map(float), max_size=40), st.integers(0, 700))
def test_overtakes_are_inversions(arrival, more):
    """Counted by blocks as by hand."""
    rng = random.Random(more)
    arrival = np.array(arrival + [float(rng.randrange(50)) for _ in range(more)])
    counted = overtakes(arrival)
    for place in [*range(min(40, len(arrival))), *range(max(len(arrival) - 5, 0), len(arrival))]:
        assert counted[place] == (arrival[:place] > arrival[place]).sum()


@given(st.lists(st.tuples(*[st.floats(allow_nan=True, allow_infinity=True)] * 8), max_size=8), rules(), st.floats())
@example([(t, *[0.0] * 7) for t in (-9.9e291, 0.0, 1.79e308)], Rules(), 1.79e308)
def test_no_number_breaks_any_rule(numbers, rules, now):
    """Whatever floats come in, every request comes out once."""
    names = ("arrival", "score", "expected", "p90", "generated", "max_tokens", "deadline", "prompt_tokens")
    rules = replace(rules, prompt_cost=abs(now), mean_work=now, prompt_pace=now)
    some = [
        {
            **dict(zip(names, values, strict=True)),
            "request_id": str(n),
            "cached_prompt_tokens": values[n % 8],
            "tenant": str(n % 2),
            "overtaken": -n,
            "priority_class": 10**6 * n,
        }
        for n, values in enumerate(numbers)
    ]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        order = order_queue(columns(some), replace(rules, prior_expected=NAN, patience=now, pace=now), now=now).order
    assert sorted(order.tolist()) == list(range(len(some)))


@pytest.mark.timeout(60)  # a sort takes a tenth of a second, going through all pairs minutes
def test_neither_ties_nor_as_many_tenants_as_requests_hold_up_the_daemon():
    """What a caller can send at worst: a cap that binds among 16,384 that differ by their ids alone, each its own."""
    n = 16_384
    ids = [f"{v:016x}" for v in np.random.default_rng(0).permutation(n).tolist()]
    arrival, expected = np.full(n, 50.0), np.full(n, 10.0)
    arrival[0], expected[0] = 0.0, 1e6
    for tenant in (None, ids):
        queue = OrderColumns(ids, arrival, expected, expected, tenant=tenant)
        for cap in (0, 3000):
            order = order_queue(queue, Rules(patience=10.0, overtake_cap=cap), now=100.0).order
            assert [ids[row] for row in order[:9]] == sorted(ids[1:] if tenant is None else ids)[:9]


@pytest.mark.parametrize(
    "odd", [{"priority_class": 60_000}, {"priority_class": -60_000}, {"deadline": -math.inf}, {"deadline": NAN}]
)
def test_what_is_out_of_range_is_the_same_one_by_one(odd):
    """Classes beyond the widest are one class, and a deadline that is no time is none: sorted or served one by one."""
    some = [
        {"request_id": "a", "arrival": 1.0, "expected": 5.0, **odd},
        {"request_id": "b", "arrival": 2.0, "expected": 5.0, **{k: v * 2 / 3 for k, v in odd.items() if k[0] == "p"}},
    ]
    queue = WaitingQueue(Rules(prior_expected=10.0))
    for row in some:
        queue.add(**{k: int(v) if k == "priority_class" else v for k, v in row.items()})
    full = OrderColumns(
        ["a", "b"],
        np.array([1.0, 2.0]),
        np.full(2, NAN),
        np.full(2, 5.0),
        deadline=np.array([r.get("deadline", math.inf) for r in some]),
        priority_class=np.array([r.get("priority_class", 0) for r in some], dtype=np.int64),
    )
    assert order_queue(full, Rules(prior_expected=10.0), now=9.0).order.tolist() == [0, 1]
    assert [queue.pop(9.0), queue.pop(9.0)] == ["a", "b"]


def test_a_waiting_queue_takes_any_time():
    """Arrivals that are no number, or beyond all numbers, are served like any other, by id where they are the same."""
    for time_ in (NAN, math.inf, -math.inf, 1e308):
        queue = WaitingQueue(Rules(prior_expected=10.0, wait_cap=5.0))
        queue.add("b", time_, expected=5.0)
        queue.add("a", time_, expected=5.0)
        assert [queue.pop(1e308), queue.pop(NAN)] == ["a", "b"]
