"""The pure ordering code, against a reference that sorts one item at a time."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rankd_client.ordering import ClassPolicy, OrderColumns, Policy, Rules, order_queue
from support.repository import CONTRACT

NAN = math.nan
VECTORS = sorted((CONTRACT / "ordering").glob("*.json"))


def run(policy, rows, *, patience=0.2, prior=None, comparable=True):
    """Order rows of (id, arrival, score, expected, generated, max_tokens)."""
    columns = [np.array(c, dtype=float) for c in list(zip(*rows, strict=True))[1:]] if rows else [np.empty(0)] * 5
    arrival, score, expected, generated, max_tokens = columns
    queue = OrderColumns([r[0] for r in rows], arrival, score, expected, generated=generated, max_tokens=max_tokens)
    return order_queue(queue, Rules(policy, patience=patience, prior_expected=prior), scores_comparable=comparable)


number = st.one_of(st.floats(0, 1e5), st.just(NAN))
rows_of = st.lists(
    st.tuples(
        st.integers(0, 30).map(float), st.one_of(st.floats(-9, 9), st.just(NAN)), number,
        st.sampled_from([0.0, 0.0, 7.0, 900.0]), st.sampled_from([0.0, 0.0, 16.0, 512.0]),
    ),
    max_size=30,
).map(lambda rows: [(f"r{n:02}", *r) for n, r in enumerate(rows)])  # fmt: skip


def reference_due(rows, patience, prior):
    """DUE by its definition, one item at a time, with Python's own sort."""

    def bounded(length, generated, cap):
        return max(generated, min(length, cap) if cap > 0 else length)

    known = sorted(bounded(e, g, m) for _, _, _, e, g, m in rows if not math.isnan(e))
    if not known:
        return Policy.FCFS, [r[0] for r in sorted(rows, key=lambda r: (r[1], r[0]))]
    typical = prior if prior is not None else float(np.median(known))

    def key(row):
        name, arrival, _, expected, generated, cap = row
        length = bounded(typical if math.isnan(expected) else expected, generated, cap)
        return math.floor((arrival + patience * length) * 1000), arrival, name

    return Policy.DUE, [r[0] for r in sorted(rows, key=key)]


@given(rows_of, st.floats(0, 50), st.one_of(st.none(), st.floats(0, 1000)))
def test_due_is_its_definition(rows, patience, prior):
    """Equal to the reference, partly scored queues, caps and progress included."""
    got = run(Policy.DUE, rows, patience=patience, prior=prior)
    assert (got.policy, [rows[i][0] for i in got.order]) == reference_due(rows, patience, prior)


@given(rows_of, st.sampled_from(list(Policy)), st.booleans(), st.randoms(use_true_random=False))
def test_every_request_once_and_any_input_order_will_do(rows, policy, comparable, random):
    """The order is a permutation that rises by key, and shuffling the input changes nothing."""
    got = run(policy, rows, comparable=comparable)
    assert sorted(got.order.tolist()) == list(range(len(rows)))
    keys = got.serving_key[got.order]
    assert (np.diff(keys) >= 0).all()
    shuffled = rows[:]
    random.shuffle(shuffled)
    again = run(policy, shuffled, comparable=comparable)
    assert [shuffled[i][0] for i in again.order] == [rows[i][0] for i in got.order]


@given(rows_of, st.floats(0, 50))
def test_overtaking_is_bounded_by_construction(rows, patience):
    """Under DUE, j goes before i though it came later only if it came within patience * (E_i - E_j)."""
    rows = [(n, a, s, e, 0.0, 0.0) for n, a, s, e, _, _ in rows if not math.isnan(e)]
    order = run(Policy.DUE, rows, patience=patience).order.tolist()
    for place, j in enumerate(order):
        for i in order[place + 1 :]:
            late = rows[j][1] - rows[i][1]
            assert late <= patience * (rows[i][3] - rows[j][3]) + 0.0011


@given(
    st.sampled_from(list(Policy)),
    st.lists(st.tuples(st.floats(), st.floats(), st.floats(), st.floats(), st.floats()), max_size=12),
    st.floats(),
    st.one_of(st.none(), st.floats()),
)
def test_no_number_breaks_it(policy, numbers, patience, prior):
    """NaN, infinite and huge values anywhere give a whole order with int64 keys, without a warning of overflow."""
    rows = [(str(n), *r) for n, r in enumerate(numbers)]
    with np.errstate(over="raise", invalid="raise"):
        got = run(policy, rows, patience=patience, prior=prior)
    assert sorted(got.order.tolist()) == list(range(len(rows)))
    assert got.serving_key.dtype == np.int64


@pytest.mark.parametrize(
    ("patience", "order"),
    [(NAN, [1, 2, 0]), (-1.0, [1, 2, 0]), (0.0, [1, 2, 0]), (math.inf, [0, 1, 2]), (1e308, [0, 1, 2])],
)
def test_any_patience_is_one(patience, order):
    """None, or less, is FCFS's order; without bound is shortest first, and a length of 0 is due on arrival."""
    rows = [("none", 3.0, 0.0, 0.0, 0, 0), ("short", 1.0, 0.0, 5.0, 0, 0), ("long", 2.0, 0.0, 50.0, 0, 0)]
    got = run(Policy.DUE, rows, patience=patience)
    assert got.order.tolist() == order
    assert got.serving_key[0] == 3000


@pytest.mark.parametrize("prior", [NAN, math.inf, -50.0])
def test_a_prior_that_is_no_length_counts_as_none(prior):
    """The queue's median stands in, so that an unscored request is never due before it arrived."""
    rows = [("a", 0.0, 0.0, 4.0, 0, 0), ("b", 0.0, 0.0, 6.0, 0, 0), ("u", 0.0, NAN, NAN, 0, 0)]
    assert run(Policy.DUE, rows, patience=1.0, prior=prior).serving_key.tolist() == [4000, 6000, 5000]


@given(st.lists(st.text(max_size=3), unique=True, max_size=12))
def test_ties_go_by_the_bytes_of_the_ids(ids):
    """By UTF-8, as a client in any language can: what Python does with text is the same."""
    order = run(Policy.FCFS, [(i, 1.0, NAN, NAN, 0, 0) for i in ids]).order.tolist()
    assert [ids[i] for i in order] == sorted(ids, key=lambda i: i.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("together", [1, 2, 50, 10_000])
def test_ten_thousand_requests_go_by_arrival_and_id(together):
    """Whether arrivals differ, come in pairs, in bursts, or all at once."""
    n = 10_000
    rng = np.random.default_rng(0)
    ids = [f"{v:016x}" for v in rng.integers(1 << 62, size=n).tolist()]
    nothing = np.full(n, NAN)
    arrival = 1.7e9 + np.arange(n) // together
    order = order_queue(OrderColumns(ids, arrival, nothing, nothing), Rules(Policy.FCFS)).order
    assert order.tolist() == sorted(range(n), key=lambda row: (arrival[row], ids[row]))


def test_score_order_of_mixed_rankers_compares_lengths():
    """Scores of two rankers are not compared; their expected lengths are."""
    rows = [("a", 0, 100.0, 5.0, 0, 0), ("b", 0, -100.0, 50.0, 0, 0)]
    assert run(Policy.SCORE, rows, comparable=False).order.tolist() == [0, 1]
    bare = [("a", 1, 100.0, NAN, 0, 0), ("b", 0, -100.0, NAN, 0, 0)]
    assert run(Policy.SCORE, bare, comparable=True).order.tolist() == [1, 0]
    assert run(Policy.SCORE, bare, comparable=False).policy is Policy.FCFS


def column(items, name, absent, kind=float):
    """One column of a vector's items."""
    values = [i.get(name) for i in items]
    return np.array([absent if v is None else v for v in values], dtype=kind)


def queue_of(items):
    """A vector's items as columns; what an item leaves out is not known of it."""
    return OrderColumns(
        request_ids=[i["request_id"] for i in items],
        arrival=column(items, "arrival", 0),
        score=column(items, "score", NAN),
        expected=column(items, "expected", NAN),
        p90=column(items, "p90", NAN),
        generated=column(items, "generated", 0),
        max_tokens=column(items, "max_tokens", 0),
        deadline=column(items, "deadline", math.inf),
        overtaken=column(items, "overtaken", 0, np.int64),
        priority_class=column(items, "priority_class", 0, np.int64),
        prompt_tokens=column(items, "prompt_tokens", 0),
        cached_prompt_tokens=column(items, "cached_prompt_tokens", 0),
        learned=column(items, "learned", NAN),
        running=column(items, "running", False, bool),
        tenant=[i.get("tenant", "") for i in items],
    )


def rules_of(vector):
    """A vector's rules."""
    own = vector["rules"].get("class_policies", [])
    classes = tuple(ClassPolicy(c["priority_class"], Policy(c["policy"]), c["patience"]) for c in own)
    return Rules(Policy(vector["policy"]), **(vector["rules"] | {"class_policies": classes}))


@pytest.mark.parametrize("path", VECTORS, ids=lambda p: p.stem)
def test_conformance_vectors(path):
    """The rules as data, for clients in any language."""
    vector = json.loads(path.read_text())
    got = order_queue(
        queue_of(vector["items"]),
        rules_of(vector),
        now=vector.get("now", 0),
        served=vector.get("served", {}),
        weights=vector.get("weights", {}),
        scores_comparable=vector.get("scores_comparable", True),
    )
    assert [vector["items"][i]["request_id"] for i in got.order] == vector["order"]
    assert [int(got.serving_key[i]) for i in got.order] == vector["serving_keys"]
    assert got.policy.value == vector["policy_in_force"]


def test_there_are_vectors():
    """An empty folder would pass everything."""
    assert len(VECTORS) >= 40
