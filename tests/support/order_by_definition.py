"""Random queues with every rule on them, and the order of one by its definition: one request at a time."""

import math

import numpy as np
from hypothesis import strategies as st
from rankd_client.ordering import OrderColumns, Policy, Rules

NAN = math.nan
TENANTS = ["", "a", "b"]


@st.composite
def rows(draw, *, most=14, known=False):
    """Requests as dictionaries; whole numbers, so that equal keys are common."""
    length = st.integers(0, 40).map(float)
    return [
        {
            "request_id": f"r{n:02}",
            "arrival": float(draw(st.integers(0, 12))),
            "score": draw(length),
            "expected": draw(length if known else st.one_of(length, st.just(NAN))),
            "p90": draw(st.one_of(length, st.just(NAN))),
            "generated": draw(st.sampled_from([0.0, 0.0, 9.0])),
            "max_tokens": draw(st.sampled_from([0.0, 0.0, 16.0])),
            "deadline": draw(st.one_of(st.just(math.inf), st.integers(5, 60).map(float))),
            "overtaken": draw(st.integers(0, 3)),
            "priority_class": draw(st.integers(-1, 1)),
            "tenant": draw(st.sampled_from(TENANTS)),
            "prompt_tokens": draw(st.integers(0, 20).map(float)),
        }
        for n in range(draw(st.integers(0, most)))
    ]


@st.composite
def rules(draw):
    """Rules of every kind."""
    return Rules(
        policy=draw(st.sampled_from(Policy)),
        patience=draw(st.sampled_from([0.0, 0.25, 4.0])),
        age_exponent=draw(st.sampled_from([0.0, 1.0, 3.0])),
        risk=draw(st.sampled_from([0.0, 0.5])),
        wait_cap=draw(st.sampled_from([math.inf, math.inf, 8.0])),
        overtake_cap=draw(st.sampled_from([0, 0, 1, 4])),
        class_step=draw(st.sampled_from([None, 3.0])),
        pace=draw(st.sampled_from([0.0, 0.5])),
        fair_tenants=draw(st.booleans()),
        prompt_weight=draw(st.sampled_from([0.0, 0.5])),
        prior_expected=20.0,
    )


def columns(rows, *, running=None):
    """Rows as columns."""
    ints = ("overtaken", "priority_class")
    texts = ("request_id", "tenant")
    table = {
        name: np.array([r[name] for r in rows], dtype=np.int64 if name in ints else float)
        for name in (
            "arrival",
            "score",
            "expected",
            "p90",
            "generated",
            "max_tokens",
            "deadline",
            "prompt_tokens",
            *ints,
        )
        if name not in texts
    }
    return OrderColumns(
        request_ids=[r["request_id"] for r in rows],
        tenant=[r["tenant"] for r in rows],
        running=None if running is None else np.array(running, dtype=bool),
        **table,
    )


def length_of(row, rules):
    """E within what is certain; None where nothing is known."""
    length = row["expected"]
    if rules.risk and not math.isnan(row["p90"]):
        length = (1 - rules.risk) * length + rules.risk * row["p90"]
    if math.isnan(length):
        return None
    return bounded(length, row)


def bounded(length, row):
    """Between what was produced and what may be."""
    return max(row["generated"], min(length, row["max_tokens"]) if row["max_tokens"] > 0 else length)


def due(row, arrival, length, policy, rules):
    """When a request of a length is due under boost or due."""
    if policy is Policy.BOOST:
        average = max(rules.prior_expected, 1.0)
        at = arrival + rules.patience * average * math.log(max(length, 1.0) / average)
    else:
        at = arrival + rules.patience * length
    return min(at, row["deadline"] - rules.pace * length) if math.isfinite(row["deadline"]) else at


def serve(rows, rules, now, served):  # noqa: C901 - all rules in one place, as they are written
    """Serve one by one by the definition; gives ids."""
    left = [dict(r) for r in rows]
    counters = {r["tenant"]: served.get(r["tenant"], 0.0) for r in rows}
    nothing = all(length_of(r, rules) is None for r in rows)
    policy = rules.policy
    if nothing:
        policy = Policy.SCORE if policy is Policy.SCORE else Policy.FCFS
    by_length = policy is not Policy.SCORE or all(length_of(r, rules) is not None for r in rows)
    out = []

    def size(r):
        length = length_of(r, rules)
        return length if length is not None else bounded(rules.prior_expected, r)

    def key(r):
        step = 0.0 if rules.class_step is None else rules.class_step * r["priority_class"]
        arrival = r["arrival"] + step
        if policy is Policy.FCFS:
            return arrival
        if policy is Policy.SCORE:
            return math.floor(size(r) * 1000) if by_length else r["score"]
        if policy is Policy.AGED:
            return math.floor(-max(now - arrival, 0.0) / max(size(r), 1.0) ** rules.age_exponent * 1e6)
        return math.floor(due(r, arrival, size(r), policy, rules) * 1000)

    def place(r):
        takes = 0.0 if nothing else rules.pace * max(size(r) - r["generated"], 0.0)
        late = policy is not Policy.FCFS and now + takes > r["deadline"]
        strict = rules.class_step is None or policy is Policy.SCORE
        counter = counters[r["tenant"]] if rules.fair_tenants else 0.0
        return (r["priority_class"] if strict else 0, counter, late, key(r), r["arrival"], r["request_id"])

    while left:
        oldest = min(left, key=lambda r: (r["arrival"], r["request_id"]))
        if now - oldest["arrival"] > rules.wait_cap:
            best = oldest
        else:
            blocked = [r["arrival"] for r in left if rules.overtake_cap and r["overtaken"] >= rules.overtake_cap]
            allowed = [r for r in left if not blocked or r["arrival"] <= min(blocked)]
            best = min(allowed, key=place)
        left.remove(best)
        out.append(best["request_id"])
        for r in left:
            r["overtaken"] += r["arrival"] < best["arrival"]
        cost = (1.0 if nothing else size(best)) + rules.prompt_weight * best["prompt_tokens"]
        counters[best["tenant"]] += max(cost, 1.0)
    return out
