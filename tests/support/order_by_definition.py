"""Random queues with every rule on them, and the order of one by its definition: one request at a time."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from rankd_client.ordering import ClassPolicy, OrderColumns, Policy, Rules

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
            "cached_prompt_tokens": draw(st.sampled_from([0.0, 0.0, 5.0, 50.0])),
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
        prompt_cost=draw(st.sampled_from([0.0, 0.0, 0.5, 2.0])),
        mean_work=draw(st.sampled_from([None, 30.0])),
        ignore_lengths=draw(st.sampled_from([False, False, True])),
        prompt_pace=draw(st.sampled_from([0.0, 0.25])),
        class_policies=draw(class_policies()),
    )


@st.composite
def class_policies(draw):
    """Classes with a policy of their own: often none."""
    policies = st.sampled_from([Policy.BOOST, Policy.DUE, Policy.SCORE, Policy.LONGEST])
    return tuple(
        ClassPolicy(number, draw(policies), draw(st.sampled_from([0.0, 2.0])))
        for number in draw(st.sampled_from([(), (), (1,), (-1, 1)]))
    )


def policies_of(rules):
    """All that are followed."""
    return [rules.policy, *(own.policy for own in rules.class_policies)]


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
            "cached_prompt_tokens",
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
    """E within what is certain; None where nothing is known, or it is not to be looked at."""
    if rules.ignore_lengths:
        return None
    length = row["expected"]
    if rules.risk and not math.isnan(row["p90"]):
        length = (1 - rules.risk) * length + rules.risk * row["p90"]
    if math.isnan(length):
        return None
    return bounded(length, row)


def bounded(length, row):
    """Between what was produced and what may be."""
    return max(row["generated"], min(length, row["max_tokens"]) if row["max_tokens"] > 0 else length)


def uncached(row):
    """Prompt tokens that the engine has to read."""
    return max(row["prompt_tokens"] - row["cached_prompt_tokens"], 0.0)


def takes(row, length, rules):
    """Seconds that a request of a length takes from now on."""
    return rules.pace * length + (rules.prompt_pace * uncached(row) if row["generated"] == 0 else 0.0)


def due(row, arrival, length, rules):
    """When a request of a length is due under boost or due."""
    work = length + rules.prompt_cost * uncached(row)
    if rules.policy is Policy.BOOST:
        average = max(rules.prior_expected if rules.mean_work is None else rules.mean_work, 1.0)
        at = arrival + rules.patience * average * math.log(max(work, 1.0) / average)
    else:
        at = arrival + rules.patience * work
    return min(at, row["deadline"] - takes(row, length, rules)) if math.isfinite(row["deadline"]) else at


BY_SCORE = (Policy.SCORE, Policy.LONGEST)


class Definition:
    """Keys and places of one queue by the written rules."""

    def __init__(self, rows, rules, now):
        self.rules, self.now = rules, now
        self.known = [length_of(r, rules) is not None for r in rows]
        self.prompts = rules.prompt_cost > 0 and any(uncached(r) > 0 for r in rows)
        self.strict = rules.class_step is None or any(p in BY_SCORE for p in policies_of(rules))
        self.base = self.in_force(rules.policy)

    def in_force(self, policy):
        """The policy that can be followed."""
        if policy is Policy.FCFS or any(self.known) or self.prompts:
            return policy
        return policy if policy in BY_SCORE and not self.rules.ignore_lengths else Policy.FCFS

    def size(self, r):
        """Its length, or the prior."""
        length = length_of(r, self.rules)
        return length if length is not None else bounded(self.rules.prior_expected, r)

    def key(self, r):
        """Its serving key, in any unit that orders alike."""
        rules, own = self.rules, [c for c in self.rules.class_policies if c.priority_class == r["priority_class"]]
        if own and self.base is not Policy.FCFS:
            rules = replace(rules, policy=own[0].policy, patience=own[0].patience)
        policy = self.in_force(rules.policy)
        arrival = r["arrival"] + (0.0 if self.strict else rules.class_step * r["priority_class"])
        work = self.size(r) + rules.prompt_cost * uncached(r)
        if policy is Policy.FCFS:
            return math.floor(arrival * 1000)
        if policy in BY_SCORE:
            value = math.floor(work * 1000) if all(self.known) or rules.ignore_lengths else r["score"]
            return value if policy is Policy.SCORE else -value
        if policy is Policy.AGED:
            return math.floor(-max(self.now - arrival, 0.0) / max(work, 1.0) ** rules.age_exponent * 1e6)
        return math.floor(due(r, arrival, self.size(r), rules) * 1000)

    def place(self, r, counter):
        """What to sort by, below the caps."""
        left = takes(r, max(self.size(r) - r["generated"], 0.0), self.rules)
        late = self.base is not Policy.FCFS and self.now + left > r["deadline"]
        return r["priority_class"] if self.strict else 0, counter, late, self.key(r), r["arrival"], r["request_id"]

    def cost(self, r):
        """What it costs its tenant."""
        length = self.size(r) if any(self.known) or self.rules.ignore_lengths else 1.0
        return max(length + self.rules.prompt_weight * r["prompt_tokens"], 1.0)


def serve(rows, rules, now, served):
    """Serve one by one by the definition; gives ids."""
    left, rule = [dict(r) for r in rows], Definition(rows, rules, now)
    counters = {r["tenant"]: served.get(r["tenant"], 0.0) for r in rows}
    out = []
    while left:
        oldest = min(left, key=lambda r: (r["arrival"], r["request_id"]))
        if now - oldest["arrival"] > rules.wait_cap:
            best = oldest
        else:
            blocked = [r["arrival"] for r in left if rules.overtake_cap and r["overtaken"] >= rules.overtake_cap]
            allowed = [r for r in left if not blocked or r["arrival"] <= min(blocked)]
            best = min(allowed, key=lambda r: rule.place(r, counters[r["tenant"]] if rules.fair_tenants else 0.0))
        left.remove(best)
        out.append(best["request_id"])
        for r in left:
            r["overtaken"] += r["arrival"] < best["arrival"]
        counters[best["tenant"]] += rule.cost(best)
    return out
