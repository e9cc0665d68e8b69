"""One tenant that lies against the others, over the wire: with credentials and signed predictions, as it would."""

import itertools
import math

import numpy as np
import pytest
from rankd_client.v1 import completion_pb2 as cpb
from rankd_client.v1 import quality_pb2
from support.credentials import bearer, write_keys, write_tokens
from support.wire import completion_stub, item, quality_stub, rank_stub, request

serial = itertools.count()
YEARS = 60 * 365 * 86400


@pytest.fixture
def guarded(start_daemon, tmp_path):
    """A daemon with tokens of two tenants and signed predictions."""
    return start_daemon(
        auth={"file": write_tokens(tmp_path / "auth.toml"), "anonymous": False},
        signing={"file": write_keys(tmp_path / "keys.toml", "k1")},
        order={"policy": "due", "recalibrate_every": 64},
        guard={"min_known": 100},
    )


def ranked(channel, name, count):
    """Fresh predictions of a tenant, for prompts of one to nine words that make them long."""
    items = [item(f"p{next(serial)}", "long " * (n % 9 + 1)) for n in range(count)]
    answer = rank_stub(channel).Rank(request(*items, model="llm"), timeout=30, metadata=bearer(name))
    return sorted(answer.items, key=lambda one: one.index)


def report(channel, name, rows, change):
    """Report what was ranked, each as ``change`` makes it of the message and its place."""
    message = cpb.ReportCompletionsRequest(model="llm")
    for row in rows:
        one = message.completions.add(
            request_id=row.request_id, prediction=row.prediction, finish_reason=cpb.FINISH_REASON_STOP
        )
        change(one, row.index)
    return completion_stub(channel).ReportCompletions(message, timeout=30, metadata=bearer(name))


def honest(one, index):
    one.output_token_count = 20 * (index % 9 + 1)
    one.queue_duration.FromMilliseconds(500 + 10 * (index % 7))
    one.total_duration.FromMilliseconds(2000)


def policy(channel):
    return (
        quality_stub(channel)
        .GetQuality(quality_pb2.GetQualityRequest(model="llm"), timeout=30, metadata=bearer("any"))
        .policies[0]
    )


@pytest.mark.parametrize("seconds", [YEARS, 86400, 3600, 120], ids=["years", "a day", "an hour", "two minutes"])
def test_a_wait_longer_than_there_was_time_is_refused(guarded, seconds):
    """By name, with the remedy; the mean wait and patience stay the others'."""
    with guarded.channel() as channel:
        assert report(channel, "b", ranked(channel, "b", 60), honest).accepted_count == 60
        before = policy(channel)

        def lie(one, index):
            honest(one, index)
            one.queue_duration.FromSeconds(seconds)
            one.total_duration.FromSeconds(seconds + 1)

        answer = report(channel, "a", ranked(channel, "a", 60), lie)
        after = policy(channel)
    assert (answer.accepted_count, len(answer.rejected)) == (0, 60)
    assert {r.reason for r in answer.rejected} == {cpb.REJECTION_REASON_INVALID_TIME}
    assert "queue_duration" in answer.rejected[0].description
    assert "limits.report_tolerance" in answer.rejected[0].description
    assert after.dial.mean_wait == before.dial.mean_wait
    assert after.patience_per_token == before.patience_per_token


def test_waits_within_the_tolerance_move_the_mean_by_a_few_times(guarded):
    """What is not refused is bounded: half of all reports say a minute, where the others wait for half a second."""
    with guarded.channel() as channel:

        def lie(one, index):
            honest(one, index)
            one.queue_duration.FromSeconds(59)
            one.total_duration.FromSeconds(59)

        for _ in range(3):
            assert report(channel, "b", ranked(channel, "b", 40), honest).accepted_count == 40
            assert report(channel, "a", ranked(channel, "a", 40), lie).accepted_count == 40
        assert policy(channel).dial.mean_wait.ToMilliseconds() < 6000


def test_lengths_of_one_tenant_do_not_turn_the_calibration(guarded, wait_until):
    """It says that long is short and short is long: long ones are still expected to be long, by as much."""
    scores = np.arange(1.0, 10.0)
    with guarded.channel() as channel:

        def learn(*names):
            for _ in range(4):
                for name in names:
                    report(channel, name, ranked(channel, name, 128), honest if name == "b" else lie)
            window = guarded.app.monitor.reported_windows()[0]
            wait_until(lambda: window.tracker.completions - window.refit_at < 64, what="the last calibration")
            wait_until(lambda: guarded.app.monitor.jobs.refits.flight(window) is None)
            return window.calibration.expected(scores)

        def lie(one, index):
            honest(one, index)
            one.output_token_count = 200 - one.output_token_count

        before = learn("b")
        assert before[-1] > 1.5 * before[0]
        after = learn("b", "a")
    assert after == pytest.approx(before, rel=0.2)


@pytest.mark.parametrize(
    "lie",
    [
        lambda one: setattr(one, "output_token_count", 2**32 - 1),
        lambda one: setattr(one.prediction, "score", math.nan),
        lambda one: setattr(one.prediction, "score", 1e308),
        lambda one: setattr(one.prediction, "expected_token_count", 1e308),
        lambda one: one.prediction.scored_at.FromSeconds(0),
        lambda one: setattr(one.queue_duration, "seconds", 2**63 - 1),
        lambda one: setattr(one.queue_duration, "seconds", -1),
        lambda one: setattr(one.total_duration, "nanos", -5),
        lambda one: setattr(one.total_duration, "seconds", 2**40),
        lambda one: setattr(one.arrival_time, "seconds", -(2**62)),
        lambda one: setattr(one, "finish_reason", 77),
        lambda one: setattr(one.prediction, "pilot_slot", 2**64 - 1),
    ],
)
def test_every_number_of_a_report_has_a_bound(guarded, lie):
    """A report with one beyond it is refused alone, and the honest one beside it is taken."""
    with guarded.channel() as channel:

        def one_lies(one, index):
            honest(one, index)
            if index == 0:
                lie(one)

        answer = report(channel, "a", ranked(channel, "a", 2), one_lies)
        assert (answer.accepted_count, [r.index for r in answer.rejected]) == (1, [0])
        policy(channel)
