"""Reports that carry prompts, over the wire: what queues are ordered by while the ranker is good, useless, harmful."""

import itertools

import numpy as np
import pytest
from rankd_client._policy import policy_in_force
from rankd_client.v1 import admin_pb2, quality_pb2
from rankd_client.v1 import completion_pb2 as cpb
from rankd_client.v1 import prediction_pb2 as pb
from support.wire import T0, admin_stub, completion, completion_stub, ids, item, quality_stub, rank_stub, request

VERSION = "tiny@1.0.0"
RANKED, FALLBACK = quality_pb2.GUARD_MODE_RANKED, quality_pb2.GUARD_MODE_FALLBACK
ITEMS = {"longest prompt": (-8.0, 1000), "long prompt": (8.0, 700), "prompt": (-8.0, 500), "short prompt": (8.0, 10)}
"""By arrival: scores (8 means long, -8 short) and prompt tokens."""
ARRIVAL = list(ITEMS)
BY_PROMPTS = ARRIVAL[::-1]
BY_WORK = ["prompt", "longest prompt", "short prompt", "long prompt"]
serial = itertools.count()


class Traffic:
    """Reports to one daemon, and what it answers."""

    def __init__(self, daemon, wait_until):
        self.daemon, self.wait_until = daemon, wait_until
        self.rng = np.random.default_rng(7)

    def live(self, quality, count=600, *, counted=True):
        """So many completions, lengths going with scores (1), with chance (0), or against them (-1)."""
        for _ in range(count // 40):
            self._report(40, quality, counted=counted)

    def _report(self, count, quality, *, counted):
        scores = self.rng.uniform(-10, 10, count)
        lengths = 100 + 10 * quality * scores + (20 if quality else 60) * self.rng.normal(size=count)
        prompts = np.exp(6 + 0.8 * self.rng.normal(size=count)).astype(int)
        reports = [
            completion(f"r{next(serial)}", s, max(int(n), 1), VERSION, prompt_token_count=p if counted else 0)
            for s, n, p in zip(scores.tolist(), lengths, prompts.tolist(), strict=True)
        ]
        with self.daemon.channel() as channel:
            sent = cpb.ReportCompletionsRequest(model="llm", completions=reports)
            assert completion_stub(channel).ReportCompletions(sent, timeout=30).accepted_count == count
        monitor = self.daemon.app.monitor
        window = monitor.own_or_base("llm", VERSION)
        self.wait_until(lambda: monitor.jobs.evaluations.flight(window) is None and not window.tracker.guard_due)

    def state(self):
        with self.daemon.channel() as channel:
            answer = quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(model="llm"), timeout=10)
        return answer.qualities[0], answer.policies[0]

    def rank(self):
        items = []
        for name, (score, prompt) in ITEMS.items():
            known = pb.Prediction(score=score, ranker_version=VERSION)
            items.append(item(name, prediction=known, prompt_token_count=prompt, at=T0 + len(items) / 1000))
        with self.daemon.channel() as channel:
            return rank_stub(channel).Rank(request(*items, model="llm", now=T0 + 1), timeout=30)


@pytest.fixture
def traffic(start_daemon, wait_until):
    """Of a daemon that keeps the map from scores to lengths that its ranker came with, so that a turn shows at once."""
    order = {"policy": "due", "patience_per_token": 1.0, "patience_backlog_share": 0.0, "tune_every": 0}
    guard = {"dwell": 0.0, "dwell_max": 0.0, "min_known": 100}
    order |= {"prompt_cost": 0.1, "recalibrate_every": 10**9}
    return Traffic(start_daemon(guard=guard, order=order), wait_until)


def test_a_good_ranker_orders_by_work(traffic):
    """Its figures are of expected against realised work, better than either alone."""
    traffic.live(1)
    quality, policy = traffic.state()
    assert quality.guard.mode == RANKED
    assert quality.work_tau.value > quality.prompt_work_tau.high
    assert quality.realised_work_gain.low > 0.8
    assert not policy.dial.ignores_lengths
    answer = traffic.rank()
    assert (ids(answer), answer.reason) == (BY_WORK, pb.FALLBACK_REASON_UNSPECIFIED)


@pytest.mark.parametrize("turned", [0, -1], ids=["useless", "harmful"])
def test_a_ranker_that_turns_leaves_an_order_by_prompts_until_it_is_good_again(traffic, turned):
    """Not arrival order: what prompts cost is known whatever the ranker says. The reason says that its scores do not
    count, to whoever asks, and whoever orders by itself is told the same.
    """
    traffic.live(1)
    traffic.live(turned)
    quality, policy = traffic.state()
    assert quality.guard.ranking
    assert quality.guard.mode == (FALLBACK if turned < 0 else RANKED)
    answer = traffic.rank()
    assert (ids(answer), answer.policy, answer.reason) == (BY_PROMPTS, pb.POLICY_DUE, pb.FALLBACK_REASON_GUARD)
    assert (policy.policy, policy.reason, policy.dial.ignores_lengths) == (
        pb.POLICY_DUE,
        pb.FALLBACK_REASON_GUARD,
        True,
    )
    assert policy_in_force(policy).rules().ignore_lengths
    traffic.live(1)
    quality, policy = traffic.state()
    assert (quality.guard.mode, policy.dial.ignores_lengths) == (RANKED, False)
    assert ids(traffic.rank()) == BY_WORK


def test_where_prompts_are_not_counted_figures_and_fallback_are_those_of_lengths(traffic):
    """Work is length then, and a ranker that is harmful leaves arrival order."""
    traffic.live(1, counted=False)
    quality, _ = traffic.state()
    assert quality.work_tau == quality.tau
    assert quality.realised_work_gain == quality.realised_gain
    assert not quality.HasField("prompt_work_tau")
    traffic.live(-1, counted=False)
    quality, policy = traffic.state()
    assert (quality.guard.mode, quality.guard.ranking, policy.policy) == (FALLBACK, False, pb.POLICY_FCFS)
    answer = traffic.rank()
    assert (ids(answer), answer.policy, answer.reason) == (ARRIVAL, pb.POLICY_FCFS, pb.FALLBACK_REASON_GUARD)


def test_a_pin_to_fallback_means_arrival_order(traffic):
    """However well prompts order by themselves; afterwards they do again."""
    traffic.live(1)
    traffic.live(-1)
    with traffic.daemon.channel(traffic.daemon.admin_target) as channel:
        pin = admin_pb2.PinGuardRequest(model="llm", ranker_version=VERSION, mode=FALLBACK)
        pin.duration.FromSeconds(600)
        admin_stub(channel).PinGuard(pin, timeout=10)
        assert ids(traffic.rank()) == ARRIVAL
        assert not traffic.state()[1].dial.ignores_lengths
        admin_stub(channel).UnpinGuard(admin_pb2.UnpinGuardRequest(model="llm", ranker_version=VERSION), timeout=10)
    assert ids(traffic.rank()) == BY_PROMPTS
