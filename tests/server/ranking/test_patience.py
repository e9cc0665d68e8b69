"""Patience over the wire: how far the daemon departs from arrival order follows waits, tuning and trust."""

import itertools
import re
import time
import urllib.request

import numpy as np
import pytest
from rankd_client import Item, RankClient
from rankd_client.ordering import Objective, Policy, ServedRequests, tune
from rankd_client.ordering.objectives import IMPATIENCE
from rankd_client.ordering.service_replay import Workload, replayed
from rankd_client.v1 import completion_pb2 as cpb
from rankd_client.v1 import prediction_pb2 as pb
from rankd_client.v1 import quality_pb2
from support.wire import T0, completion, completion_stub, ids, item, quality_stub, rank_stub, request

SHORT, LONG = "short", "long " * 5


VERSION = "tiny@1.0.0"


serial = itertools.count()


def reports(scores, lengths, *, queued=None):
    """A batch of finished requests."""
    out = []
    for score, length in zip(scores, lengths, strict=True):
        done = completion(f"r{next(serial)}", float(score), int(length), VERSION)
        if queued is not None:
            done.queue_duration.FromSeconds(queued)
        out.append(done)
    return cpb.ReportCompletionsRequest(model="llm", completions=out)


def policy_of(channel):
    return quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(model="llm"), timeout=10).policies[0]


def test_patience_follows_the_waits_that_are_reported(start_daemon):
    """Patience is a share of what requests wait, per token of an average one, in answers as published."""
    daemon = start_daemon(order={"policy": "due", "patience_backlog_share": 0.5}, guard={"enabled": False})
    row = item("a", SHORT, at=T0)
    with daemon.channel() as channel:
        before = rank_stub(channel).Rank(request(row, model="llm"), timeout=30)
        assert before.patience_per_token.ToMilliseconds() == 200
        completion_stub(channel).ReportCompletions(reports(range(60), [100] * 60, queued=40), timeout=30)
        policy = policy_of(channel)
        after = rank_stub(channel).Rank(request(row, model="llm"), timeout=30)
    assert policy.dial.mean_wait.ToSeconds() == 40
    wanted = IMPATIENCE[Objective.BALANCED] * 0.5 * 40 / policy.mean_expected_token_count
    assert policy.patience_per_token.ToMicroseconds() * 1e-6 == pytest.approx(wanted, rel=0.01)
    assert after.patience_per_token.ToMicroseconds() * 1e-6 == pytest.approx(wanted, rel=0.01)
    expected = after.items[0].prediction.expected_token_count
    assert after.items[0].serving_key == pytest.approx((T0 + wanted * expected) * 1000, rel=1e-9, abs=2)


def test_a_caller_who_asks_one_by_one_does_not_tell_that_nothing_waits(start_daemon):
    """What is served how fast is known, and nothing waited so far: a queue of one still has the patience of the start,
    a longer one that of its backlog.
    """
    daemon = start_daemon(order={"patience_backlog_share": 0.5}, guard={"enabled": False})
    with daemon.channel() as channel:
        for _ in range(2):
            completion_stub(channel).ReportCompletions(reports(range(60), [100] * 60, queued=0), timeout=30)
            time.sleep(0.05)
        assert policy_of(channel).dial.HasField("tokens_per_second")
        one = rank_stub(channel).Rank(request(item("a", SHORT), model="llm"), timeout=30)
        two = rank_stub(channel).Rank(request(item("a", SHORT), item("b", LONG), model="llm"), timeout=30)
    assert one.patience_per_token.ToMilliseconds() == 200
    assert 0 < two.patience_per_token.ToNanoseconds() < 200_000_000


def test_a_caller_who_asks_one_by_one_can_tell_what_waits(start_daemon):
    """A queue of one beside so many others has the patience of a long queue; it grows with what waits."""
    daemon = start_daemon(order={"patience_backlog_share": 0.5}, guard={"enabled": False})
    with daemon.channel() as channel:
        for _ in range(2):
            completion_stub(channel).ReportCompletions(reports(range(60), [100] * 60, queued=0), timeout=30)
            time.sleep(0.05)
        ranks = rank_stub(channel)
        answers = [
            ranks.Rank(request(item("a", SHORT), model="llm", backlog_request_count=n), timeout=30)
            for n in (100, 10_000)
        ]
        with RankClient(daemon.target, model="llm", timeout=30) as client:
            asked = client.rank([Item(SHORT, "a", arrival=T0)], backlog=10_000)
        with pytest.raises(ValueError, match="backlog"):
            client.rank([SHORT], backlog=-1)
    few, many = (a.patience_per_token.ToNanoseconds() * 1e-9 for a in answers)
    assert 50 < many / few < 105, "in proportion to what waits, but for the request itself"
    keys = [a.items[0].serving_key - T0 * 1000 for a in answers]
    assert abs(keys[1]) > 50 * abs(keys[0]) > 0
    assert asked[0].serving_key - T0 * 1000 == pytest.approx(keys[1], abs=1)


def test_patience_is_tuned_by_replaying_what_was_reported(start_daemon, wait_until):
    """From completions with their durations the daemon finds the patience that the tail allows, and orders by it."""
    daemon = start_daemon(order={"tune_every": 300, "tune_window": 900}, guard={"enabled": False})
    rng = np.random.default_rng(1)
    score = rng.normal(size=900)
    expected = 200 * np.exp(0.6 * score)
    ran = np.exp(0.8 * rng.normal(size=900)) * expected / 200
    now = time.time()
    arrival = now - 1000 + np.sort(rng.uniform(0, 900, 900))
    waited = np.maximum(replayed(Workload(arrival, ran, np.zeros(900), 2), arrival).whole - ran, 0.0)
    unknown = np.full(900, np.nan)
    served = ServedRequests(arrival, waited, ran, expected, unknown, unknown)
    found = tune(served, Policy.BOOST, None)[Objective.BALANCED].patience
    assert found > 0
    done = cpb.ReportCompletionsRequest(model="llm", now={"seconds": int(now), "nanos": int(now % 1 * 1e9)})
    for n in range(900):
        one = completion(f"t{next(serial)}", float(score[n]), int(200 * ran[n]) + 1, VERSION)
        one.prediction.expected_token_count = expected[n]
        one.arrival_time.FromNanoseconds(int(arrival[n] * 1e9))
        one.queue_duration.FromNanoseconds(int(waited[n] * 1e9))
        one.total_duration.FromNanoseconds(int((waited[n] + ran[n]) * 1e9))
        done.completions.append(one)
    with daemon.channel() as channel:
        for start in range(0, 900, 300):
            part = cpb.ReportCompletionsRequest(
                model="llm", now=done.now, completions=done.completions[start : start + 300]
            )
            assert completion_stub(channel).ReportCompletions(part, timeout=30).accepted_count == 300
            wait_until(lambda: policy_of(channel).dial.HasField("tuned_patience_per_token"), what="a tuning")
            wait_until(lambda: not daemon.app.monitor.jobs.tunings._flights, what="the end of the tuning")
        policy = policy_of(channel)
        answer = rank_stub(channel).Rank(request(item("a", SHORT), model="llm"), timeout=30)
    tuned = policy.dial.tuned_patience_per_token.ToMicroseconds() * 1e-6
    metrics = urllib.request.urlopen(f"{daemon.http}/metrics", timeout=30).read().decode()
    shown = re.search(r'rankd_order_patience_seconds\{.*model="llm".*\} (\S+)', metrics)
    assert float(shown[1]) == pytest.approx(tuned, abs=1e-6)
    trust = re.search(r'rankd_order_trust[a-z_]*\{.*model="llm".*\} (\S+)', metrics)
    assert trust is not None, re.findall("rankd_order.*", metrics)
    assert float(trust[1]) == 1.0
    # Each tuning counts for half; all three saw parts of the same traffic.
    assert tuned == pytest.approx(found, rel=0.6)
    follows = policy.dial.mean_wait.ToNanoseconds() * 1e-9 / policy.mean_expected_token_count
    share = next(
        o.backlog_share for o in policy.outcomes if o.patience_per_token == policy.dial.tuned_patience_per_token
    )
    patience = policy.patience_per_token.ToNanoseconds() * 1e-9
    assert patience == pytest.approx(max(tuned, share * follows), rel=1e-3)
    assert answer.patience_per_token == policy.patience_per_token


def test_less_trust_means_less_patience_before_the_guard_falls_back(start_daemon, wait_until):
    """A ranker that orders weakly is followed less; as one that orders nothing it is not followed at all."""
    daemon = start_daemon(guard={"dwell": 0, "floor": -0.9, "margin": 0.0})
    rng = np.random.default_rng(3)
    with daemon.channel() as channel:
        assert policy_of(channel).dial.trust == 1.0
        scores = rng.normal(size=400)
        lengths = np.exp(5 + 0.5 * scores + rng.normal(size=400))
        completion_stub(channel).ReportCompletions(reports(scores, lengths), timeout=30)
        wait_until(lambda: 0.2 < policy_of(channel).dial.trust < 0.95, what="part of the trust")
        weak = policy_of(channel)
        assert weak.policy == pb.POLICY_BOOST
        for _ in range(3):
            scores = rng.normal(size=400)
            completion_stub(channel).ReportCompletions(reports(scores, rng.permutation(400) + 1), timeout=30)
        wait_until(lambda: policy_of(channel).dial.trust == 0, what="no trust")
        policy = policy_of(channel)
        assert (policy.policy, policy.reason) == (pb.POLICY_FCFS, pb.FALLBACK_REASON_GUARD)
        answer = rank_stub(channel).Rank(
            request(item("long", LONG, at=T0), item("short", SHORT, at=T0 + 1), model="llm"), timeout=30
        )
    assert (ids(answer), answer.reason) == (["long", "short"], pb.FALLBACK_REASON_GUARD)
