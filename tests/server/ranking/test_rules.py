"""Rules on top of a policy over the wire: classes, tenants, deadlines, caps, running requests, patience."""

import itertools
import math
import time

import grpc
import numpy as np
import pytest
from rankd_client import Completed, Item, RankClient
from rankd_client.ordering import (
    AdaptiveRules,
    Objective,
    OrderColumns,
    Policy,
    Rules,
    order_queue,
)
from rankd_client.ordering.objectives import IMPATIENCE
from rankd_client.v1 import prediction_pb2 as pb
from rankd_client.v1 import rank_pb2
from support.wire import T0, details, ids, item, rank_stub, request

VERSION = "tiny@1.0.0"
SHORT, LONG = "short", "long " * 5
serial = itertools.count()


def rank(daemon, *items, **fields):
    """A queue's ids in serving order."""
    with daemon.channel() as channel:
        return rank_stub(channel).Rank(request(*items, **fields), timeout=30)


def with_deadline(ranked, seconds):
    ranked.deadline.seconds = seconds
    return ranked


def test_classes_are_strict_by_default(daemon):
    """A lower class goes first however long its answer, and its key says so to an engine that asks one by one."""
    answer = rank(
        daemon, item("bulk", SHORT, priority_class=1), item("a", LONG), item("urgent", LONG, priority_class=-3)
    )
    assert ids(answer) == ["urgent", "a", "bulk"]
    alone = rank(daemon, item("bulk", SHORT, priority_class=1))
    assert alone.items[0].serving_key == answer.items[2].serving_key > answer.items[1].serving_key


def test_weighted_classes_have_a_head_start(start_daemon):
    """A class is worth order.class_step seconds; in FCFS too."""
    daemon = start_daemon(order={"classes": "weighted", "class_step": 30})
    rows = item("bulk", SHORT, at=T0, priority_class=1), item("late", SHORT, at=T0 + 40), item("a", SHORT, at=T0 + 20)
    assert ids(rank(daemon, *rows, policy=pb.POLICY_FCFS)) == ["a", "bulk", "late"]


def test_tenants_share_by_what_they_were_served(daemon):
    """The tenant that was served least goes first; one that floods the queue waits behind itself."""
    flood = [item(f"a{n}", SHORT, tenant="a") for n in range(3)]
    answer = rank(daemon, *flood, item("b0", LONG, at=T0 + 9, tenant="b"))
    assert ids(answer) == ["a0", "b0", "a1", "a2"]
    served = [rank_pb2.TenantService(tenant="b", served_token_count=1e6)]
    assert ids(rank(daemon, *flood, item("b0", SHORT, tenant="b"), tenants=served))[-1] == "b0"
    heavy = [rank_pb2.TenantService(tenant="a", weight=50.0)]
    assert ids(rank(daemon, *flood, item("b0", SHORT, tenant="b"), tenants=heavy))[2:] == ["a1", "a2"]


def test_deadlines_move_forward_who_can_make_it(start_daemon):
    """Under DUE a deadline pulls a long request forward; one that is missed already goes last; FCFS knows none."""
    daemon = start_daemon(order={"policy": "due", "pace_per_token": 0.01})
    rows = [
        item("short", SHORT, at=T0 + 990),
        with_deadline(item("pressed", LONG, at=T0 + 990), T0 + 1005),
        with_deadline(item("missed", SHORT, at=T0), T0 + 999),
    ]
    assert ids(rank(daemon, *rows)) == ["pressed", "short", "missed"]
    assert ids(rank(daemon, *rows, policy=pb.POLICY_FCFS)) == ["missed", "pressed", "short"]


def test_caps_bound_waiting_and_overtaking(start_daemon):
    """Under SCORE, which bounds nothing, both caps hold."""
    daemon = start_daemon(order={"policy": "score", "wait_cap": 500, "overtake_cap": 2})
    rows = [item("old", LONG, at=T0 + 400), item("new", SHORT, at=T0 + 990)]
    assert ids(rank(daemon, *rows)) == ["old", "new"]
    fresh = [item("long", LONG, at=T0 + 980, overtaken_count=1)]
    fresh += [item(f"s{n}", SHORT, at=T0 + 985 + n) for n in range(3)]
    assert ids(rank(daemon, *fresh)) == ["s0", "long", "s1", "s2"]


def test_running_requests_stay_in_front(daemon):
    """By default no waiting request goes before one that runs."""
    rows = [item("w", SHORT), item("r", LONG, running=True, generated_token_count=40)]
    assert ids(rank(daemon, *rows)) == ["r", "w"]


def test_aged_goes_by_waiting_over_length(daemon):
    """AGED: of two that waited equally the shorter; who waited much longer goes before it."""
    rows = [item("long", LONG, at=T0), item("short", SHORT, at=T0)]
    answer = rank(daemon, *rows, policy=pb.POLICY_AGED)
    assert (ids(answer), answer.policy) == (["short", "long"], pb.POLICY_AGED)
    assert not answer.HasField("patience_per_token")
    assert ids(rank(daemon, rows[0], item("short", SHORT, at=T0 + 999), policy=pb.POLICY_AGED)) == ["long", "short"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"tenant": "t" * 300}, "items[0].tenant"),
        ({"deadline": {"seconds": 1, "nanos": -5}}, "items[0].deadline"),
        ({"prediction": {"score": 1, "ranker_version": "x", "p90_token_count": math.inf}}, "items[0].prediction.p90"),
    ],
)
def test_wrong_fields_are_named(daemon, wrong, field):
    """What cannot be is refused with the field's path, and nothing of the value."""
    with daemon.channel() as channel, pytest.raises(grpc.RpcError) as error:
        rank_stub(channel).Rank(rank_pb2.RankRequest(items=[rank_pb2.RankItem(request_id="a", **wrong)]), timeout=30)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    [violation] = details(error.value)["BadRequest"].field_violations
    assert violation.field.startswith(field)
    assert "ttt" not in error.value.details()


@pytest.mark.parametrize(
    ("share", "field"),
    [
        ({"served_token_count": -1}, "tenants[0].served_token_count"),
        ({"served_token_count": math.nan}, "tenants[0].served_token_count"),
        ({"weight": -2}, "tenants[0].weight"),
        ({"tenant": "t" * 300}, "tenants[0].tenant"),
    ],
)
def test_wrong_shares_are_named(daemon, share, field):
    """The same of what tenants were served; on a stream it ends the stream."""
    tenants = [rank_pb2.TenantService(**share)]
    with daemon.channel() as channel:
        with pytest.raises(grpc.RpcError) as error:
            rank_stub(channel).Rank(rank_pb2.RankRequest(tenants=tenants), timeout=30)
        assert details(error.value)["BadRequest"].field_violations[0].field == field
        with pytest.raises(grpc.RpcError) as error:
            list(rank_stub(channel).RankStream(iter([rank_pb2.RankStreamRequest(tenants=tenants)]), timeout=30))
        assert details(error.value)["BadRequest"].field_violations[0].field == field


def test_a_stream_follows_tenants_running_and_time(start_daemon):
    """On a stream shares can be told anew, progress says what runs, and a wait cap acts though nothing changes."""
    daemon = start_daemon(order={"wait_cap": 100})
    messages = [
        rank_pb2.RankStreamRequest(
            now={"seconds": T0 + 10},
            max_wait={"seconds": 3},
            arrived=[item("b", SHORT, at=T0 + 5, tenant="b"), item("a", LONG, at=T0, tenant="a")],
            tenants=[rank_pb2.TenantService(tenant="a", served_token_count=9e9)],
        ),
        rank_pb2.RankStreamRequest(
            now={"seconds": T0 + 10}, tenants=[rank_pb2.TenantService(tenant="b", served_token_count=9e10)]
        ),
        rank_pb2.RankStreamRequest(
            now={"seconds": T0 + 10},
            progressed=[rank_pb2.RankStreamProgress(request_id="b", generated_token_count=3, running=True)],
        ),
        rank_pb2.RankStreamRequest(
            now={"seconds": T0 + 11},
            progressed=[rank_pb2.RankStreamProgress(request_id="b", generated_token_count=3, running=False)],
            tenants=[rank_pb2.TenantService(tenant="b")],
        ),
        rank_pb2.RankStreamRequest(now={"seconds": T0 + 101}),
    ]
    with daemon.channel() as channel:
        answers = list(rank_stub(channel).RankStream(iter(messages), timeout=10))
    assert [list(a.request_ids) for a in answers] == [["b", "a"], ["a", "b"], ["b", "a"], ["b", "a"], ["a", "b"]]


def test_a_plug_in_orders_as_the_daemon_does(start_daemon):
    """From what the daemon publishes, and the predictions it gave, the shared code gives the daemon's own order."""
    order = {
        "patience_backlog_share": 0.25, "risk": 0.25, "wait_cap": 900, "wait_cap_backlog_share": 2,
        "classes": "weighted", "pace_per_token": 0.01, "overtake_cap": 50,
    }  # fmt: skip
    daemon = start_daemon(order=order, guard={"enabled": False})
    rng = np.random.default_rng(5)
    now = time.time()
    items = [
        Item(
            f"{'long ' * int(rng.integers(6))}w{n}",
            request_id=f"q{n:03}",
            arrival=now - float(rng.uniform(0, 1000)),
            max_tokens=int(rng.choice([0, 120])),
            prompt_tokens=int(rng.integers(1, 50)),
            deadline=now + float(rng.uniform(-5, 500)) if n % 3 == 0 else None,
            priority_class=int(rng.integers(-1, 2)),
            tenant=str(rng.choice(["a", "b"])),
        )
        for n in range(60)
    ]
    with RankClient(daemon.target, model="llm", timeout=10) as client:
        first = client.rank(items)
        done = [Completed(f"d{n}", first[n].prediction, 50 + n, queue_seconds=30.0) for n in range(60)]
        assert client.report(done).accepted == 60
        ranked = client.rank(items, served={"a": 200.0}, weights={"b": 2.0})
        policy = next(p for p in client.quality().policies if p.model == "llm")
    by_index = sorted(ranked, key=lambda r: r.index)
    queue = OrderColumns(
        [i.request_id for i in items],
        np.array([i.arrival for i in items]),
        np.array([r.score for r in by_index]),
        np.array([r.expected_tokens for r in by_index]),
        p90=np.array([r.prediction.p90_token_count for r in by_index]),
        max_tokens=np.array([i.max_tokens for i in items], dtype=float),
        deadline=np.array([math.inf if i.deadline is None else i.deadline for i in items]),
        overtaken=np.zeros(60, dtype=np.int64),
        priority_class=np.array([i.priority_class for i in items]),
        tenant=[i.tenant for i in items],
        prompt_tokens=np.array([i.prompt_tokens for i in items], dtype=float),
    )
    rules = policy.rules(float(np.minimum(queue.expected, np.where(queue.max_tokens > 0, queue.max_tokens, 1e9)).sum()))
    assert isinstance(policy.adaptive_rules, AdaptiveRules)
    wait = 0.25 * IMPATIENCE[Objective.BALANCED] * policy.mean_wait
    assert rules.patience == pytest.approx(wait / policy.calibration.mean_expected, rel=1e-3)
    got = order_queue(queue, rules, now=time.time(), served={"a": 200.0}, weights={"b": 2.0})
    assert got.order.tolist() == ranked.order
    assert policy.rules().policy is Policy.BOOST
    assert isinstance(rules, Rules)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prompt_tokens", -1),
        ("overtaken", 2**32),
        ("priority_class", 2**31),
        ("deadline", math.nan),
        ("tenant", "t" * 300),
    ],
)
def test_the_client_refuses_what_cannot_be(daemon, field, value):
    """Before anything is sent, naming the field."""
    with RankClient(daemon.target) as client, pytest.raises(ValueError, match=field):
        client.rank([Item("x", **{field: value})])


def test_the_client_refuses_shares_that_cannot_be(daemon):
    """The same of what tenants were served, and of their weights."""
    with RankClient(daemon.target) as client:
        with pytest.raises(ValueError, match="served"):
            client.rank(["x"], served={"a": -1.0})
        with pytest.raises(ValueError, match="weights"):
            client.rank(["x"], weights={"a": 0.0})


def test_without_a_daemon_the_users_own_word_holds_all_the_same(daemon):
    """Running requests, classes and shares rest on no prediction: order and keys as the daemon's under FCFS."""
    items = [
        Item("x", "bulk", arrival=T0, priority_class=1),
        Item("x", "a1", arrival=T0 + 1, tenant="a"),
        Item("x", "a2", arrival=T0 + 2, tenant="a"),
        Item("x", "b", arrival=T0 + 3, tenant="b"),
        Item("x", "urgent", arrival=T0 + 4, priority_class=-1),
        Item("x", "runs", arrival=T0 + 5, running=True),
    ]
    served = {"b": 0.5}
    with RankClient(daemon.target, policy=Policy.FCFS) as client, RankClient("127.0.0.1:1", timeout=0.5) as alone:
        told = client.rank(items, served=served)
        made_up = alone.rank(items, served=served)
        assert (made_up.failed, made_up.policy) == (True, Policy.FCFS)
        assert [(r.request_id, r.serving_key) for r in made_up] == [(r.request_id, r.serving_key) for r in told]
        assert [r.request_id for r in told] == ["runs", "urgent", "a1", "b", "a2", "bulk"]
        with alone.stream() as stream:
            assert stream.step(items) == ["runs", "urgent", "a1", "b", "a2", "bulk"]
