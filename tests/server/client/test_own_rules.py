"""Rules that a client makes of the policy in force, for what it orders for: those of the daemon."""

import time

import numpy as np
import pytest
from rankd_client import Item, RankClient
from rankd_client.integration import IntegrationSettings
from rankd_client.integration.background_scores import ArrivedRequest, BackgroundScores
from rankd_client.ordering import Objective, OrderColumns, Policy, order_queue

POLICIES = {Objective.FIRST: Policy.SCORE, Objective.MAKESPAN: Policy.LONGEST}
NOW = time.time()


def items():
    """Prompts of all lengths, of which some are cached."""
    return [
        Item(
            f"{'long ' * (n % 7)}w{n % 50}", f"r{n}", arrival=NOW - 20 + n / 3, prompt_tokens=1 + 37 * n % 900,
            cached_prompt_tokens=30 * (n % 3),
        )
        for n in range(60)
    ]  # fmt: skip


def columns(items, ranked):
    """What was asked, with what was answered of lengths."""
    by_index = sorted(ranked, key=lambda one: one.index)
    return OrderColumns(
        [item.request_id for item in items],
        np.array([item.arrival for item in items]),
        np.array([one.score for one in by_index]),
        np.array([one.expected_tokens for one in by_index]),
        prompt_tokens=np.array([float(item.prompt_tokens) for item in items]),
        cached_prompt_tokens=np.array([float(item.cached_prompt_tokens) for item in items]),
    )


@pytest.mark.parametrize("configured", ["boost", "due", "aged"])
@pytest.mark.parametrize("objective", [None, *Objective])
def test_they_give_the_order_of_the_daemon(start_daemon, objective, configured):
    """For every objective that is asked for, whatever is configured."""
    daemon = start_daemon(order={"policy": configured, "slo": "99 % within 30 s", "prompt_cost": 0.3})
    with RankClient(daemon.target, timeout=10) as client:
        asked = items()
        ranked = client.rank(asked, objective=objective)
        policy = next(iter(client.quality().policies))
    queue = columns(asked, ranked)
    rules = policy.rules(float(queue.expected.sum()), objective=objective)
    assert order_queue(queue, rules, now=time.time()).order.tolist() == ranked.order
    expected = Policy(configured) if objective is None else POLICIES.get(objective)
    assert rules.policy is (expected or (Policy.DUE if configured == "due" else Policy.BOOST))


@pytest.mark.parametrize("objective", [None, Objective.MAKESPAN, Objective.FIRST])
def test_an_engine_orders_for_what_it_is_set_to(start_daemon, wait_until, objective):
    """RANKD_OBJECTIVE; without one it is the daemon's."""
    settings = IntegrationSettings(target=start_daemon().target, objective=objective)
    fetched = BackgroundScores(settings, lambda: lambda _: "short")
    fetched.add("a", [1], time.time(), 1)
    wait_until(lambda: fetched.rules(time.monotonic()).policy is POLICIES.get(objective, Policy.BOOST))
    fetched.close()


def test_the_daemon_is_told_of_prompts():
    """How long one is and what of it is cached, beside its text."""
    item = ArrivedRequest("e", [1, 2, 3], 5.0, 9, "ranked", cached_prompt_tokens=2).item("a b c")
    assert item == Item(
        "a b c", "ranked", arrival=5.0, max_tokens=9, prompt_tokens=3, cached_prompt_tokens=2
    )  # fmt: skip
