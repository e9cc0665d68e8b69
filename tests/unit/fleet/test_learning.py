"""Replicas that learn from each other, without a network: from whom, each completion once, and who decides."""

import asyncio
import copy
import math
from dataclasses import replace

import numpy as np
import pytest
from rankd_client.v1 import quality_pb2

from benchmarks.adaptation_fleet import MODEL, VERSION, CompletedRequests, Replica, predicted, tau
from rankd.adaptation import FeatureHasher, LearnedCompletion, pack
from rankd.clock import CLOCK
from rankd.fleet.learned_rows import LearnedAnswer, LearnedCursor, LearnedRow
from rankd.fleet.learning import LearnedQuestion
from rankd.transport.convert.fleet_learned import (
    add_answer,
    answer_from_proto,
    question_from_proto,
    question_to_proto,
)


def requests(size, seed=0):
    """Prompts of invented words, of which some make answers long; the ranker knows little of it."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(1000, 1120, size=(size, 12))
    effect = np.where(np.arange(1120) % 2, 0.45, -0.45)
    logs = 5 + effect[ids[:, 1:-1]].sum(axis=1) + rng.normal(size=size) * 0.5
    pooled = effect[ids[:, 1:-1]].sum(axis=1)[:, None] * np.ones(8) + rng.normal(size=(size, 8))
    texts = FeatureHasher(b"", VERSION).text(list(ids), pooled.astype(np.float32))
    score = 0.2 * logs + rng.normal(size=size)
    return CompletedRequests(score, [pack(t) for t in texts], np.exp(logs).astype(np.int64) + 1, np.ones(size, bool))


def run(scenario):
    """In an event loop, as monitors need."""
    return asyncio.run(scenario())


async def take(replica, found, rows):
    """Reports of these rows to one replica."""
    for row in rows:
        await replica.complete(row, found)


def learned(replica):
    """How many completions a replica learned from."""
    return len(replica.learning.rows)


async def hear(replica):
    """Learn from what was received."""
    for batch in replica.learning.batches():
        list(replica.learning.learn(batch, CLOCK.now()))
        await replica.settle()


async def close(*replicas):
    for replica in replicas:
        await replica.settle()
        replica.monitor.close()


def test_five_with_a_fifth_of_the_traffic_each_learn_as_much_as_one_with_all():
    """Tau of what was learned, each completion predicted before it was learned from: within .01."""
    found, rows = requests(900), np.arange(300, 900)
    one, _ = asyncio.run(predicted(found, 1, 20))
    five, fleet = asyncio.run(predicted(found, 5, 20))
    alone = tau(found.score, found, rows)
    assert tau(one, found, rows) > alone + 0.1
    assert tau(five, found, rows) > tau(one, found, rows) - 0.01
    assert [learned(replica) for replica in fleet] == [900] * 5
    known = [replica.monitor.own_or_base(MODEL, VERSION).adaptation.status.completions for replica in fleet]
    assert min(known) > 850  # the last ones wait for the next look


def test_all_order_by_what_was_learned_where_the_leader_does():
    """Followers decide nothing by themselves, nor before they have learned anything; without peers each decides."""

    async def scenario():
        found = requests(400)
        leader, follower, newcomer = (Replica(number) for number in range(3))
        for start in range(0, 400, 20):
            await take(leader, found, range(start, start + 20))
            for one, other in ((leader, follower), (follower, leader)):
                await one.ask([other])
        windows = [one.monitor.own_or_base(MODEL, VERSION) for one in (leader, follower)]
        assert [w.learned_in_use for w in windows] == [True, True]
        assert [(w.fleet.decides, w.fleet.leads, w.fleet.replicas) for w in windows] == [
            (True, True, 1),
            (True, False, 1),
        ]
        # The leader steps back: so does the follower, whatever it found itself.
        leader.monitor.follow_learned(windows[0], False, CLOCK.now())
        await follower.ask([leader])
        assert [w.learned_in_use for w in windows] == [False, False]
        leader.monitor.follow_learned(windows[0], True, CLOCK.now())
        await leader.settle()
        # Who has learned nothing yet orders by the ranker, and by its own guard, as it cannot follow.
        newcomer.learning.enabled = False
        await newcomer.ask([leader, follower])
        window = newcomer.monitor.own_or_base(MODEL, VERSION)
        assert not window.learned_in_use
        assert not window.fleet.decides
        # Where the peers are gone, each decides by itself, from where it stands.
        await follower.ask([leader])
        follower.learning.fleet.round_done(1e9, 0)
        follower.follower.round_done()
        assert windows[1].learned_in_use
        assert not windows[1].fleet.decides
        await close(leader, follower, newcomer)

    run(scenario)


def test_sums_are_added_up_of_those_only_who_order_by_the_same():
    """Tau of what was learned and tau of the ranker's own scores are two figures."""

    async def scenario():
        replicas = [Replica(number) for number in range(3)]
        states = [one.follower.state() for one in replicas[1:]]
        fleet = replicas[0].learning.fleet
        found = requests(64)
        await take(replicas[0], found, range(64))
        (window,) = replicas[0].monitor.reported_windows()
        replicas[0].monitor.jobs.evaluate_guard(window, CLOCK.now())
        while (flight := replicas[0].monitor.jobs.evaluations.flight(window)) is not None:
            await asyncio.wait([flight])
        own = next(iter(replicas[0].follower.state().windows.values()))
        for state, in_use in zip(states, (False, True), strict=True):
            state.windows[MODEL, VERSION] = replace(own, learned_in_use=in_use)
            fleet.receive(state, 0.0)
        for in_use, replicas_of in ((False, 2), (True, 1)):
            found_of = fleet.evidence(own, (MODEL, VERSION), 0.0, learned=in_use)
            assert found_of.replicas == replicas_of
            assert len(found_of.completions) == replicas_of
        await close(*replicas)

    run(scenario)


def test_each_completion_is_learned_from_once_whoever_tells_it():
    """Heard from the one that took it, from another, twice, and as one's own from before."""

    async def scenario():
        found = requests(60)
        one, other, third = (Replica(number) for number in range(3))
        await take(one, found, range(30))
        await take(other, found, range(30, 50))
        for _ in range(3):
            for asking in (one, other, third):
                await asking.ask([r for r in (one, other, third) if r is not asking])
        assert [learned(r) for r in (one, other, third)] == [50] * 3
        # Everything anew, own ones among it.
        again = other.learning.answer(LearnedQuestion(LearnedCursor("", 0), everything=True), CLOCK.now())
        assert len(again.rows) == 50
        for asking in (one, third):
            question = LearnedQuestion(LearnedCursor("r1", 0), everything=True)
            asking.learning.receive("r1", asking.learning.key_id, question, again)
            await hear(asking)
        assert [learned(r) for r in (one, third)] == [50] * 2
        await close(one, other, third)

    run(scenario)


def test_what_may_be_in_a_snapshot_proves_nothing():
    """A restored window learns from completions of before its snapshot, but they were not predicted before learning."""

    async def scenario():
        found = requests(200)
        one, restored = Replica(0), Replica(1)
        await take(one, found, range(100))
        at = CLOCK.now()
        window = restored.monitor.open_window(MODEL, VERSION, at)
        window.restored_at = at
        window.adaptation = copy.deepcopy(one.monitor.own_or_base(MODEL, VERSION).adaptation)  # as a snapshot has it
        seen = []
        taken, window.adaptation.completed = window.adaptation.completed, lambda c: (seen.append(c), taken(c))
        await restored.ask([one])
        await take(one, found, range(100, 110))
        await restored.ask([one])
        assert len(seen) == 110
        assert all(math.isnan(c.learned) for c in seen[:100])
        assert all(math.isfinite(c.learned) for c in seen[100:])
        await close(one, restored)

    run(scenario)


def row(**changes):
    """A completion of a peer's, in a message."""
    message = quality_pb2.GetFleetShareResponse(instance="peer", learned_key_id=bytes(8))
    good = LearnedCompletion(score=0.5, features=pack(b""), tokens=50, complete=True, source=7, at=100.0, arrival=70.0)
    rows = [LearnedRow("m", VERSION, good, "peer", 1), LearnedRow("m", VERSION, good, "other", 2)]
    add_answer(message, LearnedAnswer(rows, LearnedCursor("peer", 2), more=True), 160.0)
    for name, value in changes.items():
        setattr(message.learned[0], name, value)
    return type(message).FromString(message.SerializeToString())


def test_what_is_told_arrives_whatever_the_clocks_say():
    """Ages for times; who took it, and how far the answer goes."""
    answer = answer_from_proto(row(), 1060.0)
    assert [(r.instance, r.sequence) for r in answer.rows] == [("peer", 1), ("other", 2)]
    assert answer.rows[0].completion.at == pytest.approx(1000.0)
    assert answer.rows[0].completion.arrival == pytest.approx(970.0)
    of_an_older_release = answer_from_proto(row(arrival_age_seconds=0.0), 1060.0).rows[0].completion
    assert of_an_older_release.arrival == of_an_older_release.at
    assert (answer.rows[0].completion.source, answer.rows[0].completion.tokens) == (7, 50)
    assert (answer.until, answer.more) == (LearnedCursor("peer", 2), True)
    for question in (LearnedQuestion(LearnedCursor("x", 3)), LearnedQuestion(LearnedCursor("x", 3), True), None):
        assert question_from_proto(question_to_proto(question)) == question


NONSENSE = {
    "score": math.nan,
    "output_token_count": 2**32 - 1,
    "features": bytes(4096),
    "age_seconds": -1.0,
    "arrival_age_seconds": math.nan,
    "sequence": 2**63,
    "instance": "x" * 65,
    "model": "n" * 70_000,
}


@pytest.mark.parametrize("name", NONSENSE)
def test_no_completion_of_a_peer_is_believed_that_cannot_be(name):
    """It is left out, the one beside it is not."""
    assert [r.instance for r in answer_from_proto(row(**{name: NONSENSE[name]}), 200.0).rows] == ["other"]


def test_what_cannot_be_learned_from_is_left_alone():
    """Features of no layout, rankers never loaded here, completions too old, of another key, or of nobody's telling."""

    async def scenario():
        found = requests(10)
        one = Replica(0)
        await take(one, found, range(3))
        now = CLOCK.now()
        good = LearnedCompletion(score=0.5, features=found.features[5], tokens=50, complete=True, at=now)
        odd = [
            LearnedRow(MODEL, VERSION, replace(good, features=b"\x01junk"), "peer", 1),
            LearnedRow(MODEL, "never@1", good, "peer", 2),
            LearnedRow(MODEL, VERSION, replace(good, at=now - 1e9), "peer", 3),
            LearnedRow(MODEL, VERSION, good, "someone else", 4),
            LearnedRow(MODEL, VERSION, good, "peer", 5),
        ]
        answer, question = (
            LearnedAnswer(odd, LearnedCursor("peer", 5), False),
            LearnedQuestion(LearnedCursor("peer", 0)),
        )
        one.learning.receive("peer", b"otherkey", question, answer)
        one.learning.receive("peer", one.learning.key_id, None, answer)
        await hear(one)
        assert learned(one) == 3
        one.learning.receive("peer", one.learning.key_id, question, answer)
        await hear(one)
        assert learned(one) == 4
        assert len(one.learning.rows) == 4
        await close(one)

    run(scenario)


def test_a_round_takes_a_bounded_number_and_the_same_of_each_peer():
    """Work for some tenths of a second, however many there are; the newest ones."""

    async def scenario():
        found = requests(1)
        one, now = Replica(0), CLOCK.now()
        await take(one, found, [0])
        good = LearnedCompletion(score=0.5, features=found.features[0], tokens=50, complete=True, at=now)
        for number in range(8):
            rows = [LearnedRow(MODEL, VERSION, good, f"p{number}", s + 1) for s in range(512)]
            answer = LearnedAnswer(rows, LearnedCursor(f"p{number}", 512), True)
            question = LearnedQuestion(LearnedCursor(f"p{number}", 0))
            one.learning.receive(f"p{number}", one.learning.key_id, question, answer)
        await hear(one)
        assert learned(one) == 1 + 2048
        kept = one.learning.rows.all_after(LearnedCursor("", 0), now).rows
        assert {r.sequence for r in kept[1:257]} == set(range(257, 513))
        await close(one)

    run(scenario)


def test_one_tenant_counts_once_in_all_of_the_fleet():
    """Its hash is the same everywhere with one key: of what a replica learns it brings no more than its share."""

    async def scenario():
        found = requests(1)
        one, now = Replica(0), CLOCK.now()
        await take(one, found, [0])
        greedy = one.monitor.learning.sources.source("greedy")
        assert greedy == Replica(1).monitor.learning.sources.source("greedy") != 0
        good = LearnedCompletion(score=0.5, features=found.features[0], tokens=50, complete=True, at=now)
        for number in range(4):
            rows = [
                LearnedRow(MODEL, VERSION, replace(good, source=greedy if s % 10 else 1000 + s), f"p{number}", s + 1)
                for s in range(500)
            ]
            answer = LearnedAnswer(rows, LearnedCursor(f"p{number}", 500), False)
            question = LearnedQuestion(LearnedCursor(f"p{number}", 0))
            one.learning.receive(f"p{number}", one.learning.key_id, question, answer)
        await hear(one)
        # 200 of the 2,000 are others'; once enough of these are known it brings no more than as many.
        assert learned(one) < 1100
        await close(one)

    run(scenario)
