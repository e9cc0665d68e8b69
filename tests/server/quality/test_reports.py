"""Reports as load: what a large one, or many under new names, may cost everybody else."""

import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import grpc
import numpy as np
import pytest
from rankd_client.v1 import admin_pb2, quality_pb2
from rankd_client.v1 import completion_pb2 as cpb
from rankd_client.v1 import prediction_pb2 as pb
from support.wire import admin_stub, completion, completion_stub, ids, item, quality_stub, rank_stub, request

VERSION = "tiny@1.0.0"
PROGRESS = cpb.FINISH_REASON_IN_PROGRESS
serial = itertools.count()


def batch(count, model="llm", *, finish=cpb.FINISH_REASON_STOP, prefix=None):
    """A report of ``count`` requests with ids of their own."""
    prefix = prefix or f"b{next(serial)}-"
    return cpb.ReportCompletionsRequest(
        model=model,
        completions=[completion(f"{prefix}{n}", n % 7 - 3.0, n % 500, VERSION, finish) for n in range(count)],
    )


def taken(daemon):
    """Reports that were accepted so far, progress included; read beside the daemon's loop."""
    counted = daemon.app.telemetry.counted("rankd.completions")
    return sum(number for labels, number in counted if labels["outcome"] == "accepted")


def rank(channel, model):
    """The policy, reason and order for two prompts."""
    answer = rank_stub(channel).Rank(request(item("b", "long"), item("a", "short"), model=model), timeout=10)
    return answer.policy, answer.reason, ids(answer)


def models(channel):
    return {q.model for q in quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(), timeout=10).qualities}


@pytest.mark.parametrize("finish", [cpb.FINISH_REASON_STOP, PROGRESS], ids=["final", "progress"])
def test_a_large_report_holds_up_nobody(start_daemon, wait_until, finish):
    """While the largest report is taken, queues are ordered one after another; then all of it counts."""
    daemon = start_daemon()
    with daemon.channel() as channel:
        rank(channel, "llm")
        large = completion_stub(channel).ReportCompletions.future(batch(16384, finish=finish), timeout=60)
        wait_until(lambda: taken(daemon) > 0)
        for _ in range(5):
            rank(channel, "llm")
        assert not large.done(), "the calls were answered after the report, not beside it"
        assert large.result().accepted_count == 16384


def test_reports_at_the_same_time_count_once(start_daemon):
    """Two batches with the same requests, in opposite order and at once: each request is accepted exactly once."""
    daemon = start_daemon()
    first = batch(3000, prefix="same")
    second = cpb.ReportCompletionsRequest(model="llm", completions=list(reversed(first.completions)))
    with daemon.channel() as channel, ThreadPoolExecutor(2) as threads:
        answers = list(
            threads.map(lambda r: completion_stub(channel).ReportCompletions(r, timeout=60), (first, second))
        )
        assert sum(a.accepted_count for a in answers) == 3000
        assert sum(a.duplicate_count for a in answers) == 3000
        assert all(0 < a.accepted_count < 3000 for a in answers), "they did not take turns"
    assert taken(daemon) == 3000


def test_a_caller_who_goes_away_leaves_whole_reports(start_daemon, wait_until):
    """A batch given up half-way is taken in part; sent again, that part is known and the rest is taken."""
    daemon = start_daemon()
    report = batch(5000)
    with daemon.channel() as channel:
        call = completion_stub(channel).ReportCompletions.future(report, timeout=60)
        wait_until(lambda: taken(daemon) > 100)
        call.cancel()
        wait_until(lambda: daemon.app.interceptor.in_flight == 0)
        part = taken(daemon)
        assert 100 < part < 5000
        again = completion_stub(channel).ReportCompletions(report, timeout=60)
        assert (again.accepted_count, again.duplicate_count) == (5000 - part, part)
        assert completion_stub(channel).ReportCompletions(batch(1), timeout=10).accepted_count == 1


def test_new_names_switch_no_guard_off(start_daemon):
    """A pinned model, and one that fell back, stay so however many reports come under names never heard of."""
    daemon = start_daemon(quality={"max_windows": 3}, guard={"dwell": 0.0, "min_known": 50})
    generator = np.random.default_rng(5)
    with daemon.channel() as channel, daemon.channel(daemon.admin_target) as admin:
        pin = admin_pb2.PinGuardRequest(
            model="pinned", mode=quality_pb2.GUARD_MODE_FALLBACK, duration={"seconds": 3600}
        )
        admin_stub(admin).PinGuard(pin)
        for _ in range(40):
            scores = generator.normal(size=20)
            bad = [completion(f"r{next(serial)}", float(s), int(1000 - 200 * s), VERSION) for s in scores]
            completion_stub(channel).ReportCompletions(
                cpb.ReportCompletionsRequest(model="broken", completions=bad), timeout=10
            )
            quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(model="broken"), timeout=10)
            if rank(channel, "broken")[1] == pb.FALLBACK_REASON_GUARD:
                break
        stopped = (pb.POLICY_FCFS, pb.FALLBACK_REASON_GUARD, ["a", "b"])
        assert rank(channel, "pinned") == rank(channel, "broken") == stopped
        for n in range(10):
            answer = completion_stub(channel).ReportCompletions(batch(1, f"new{n}"), timeout=10)
            assert answer.accepted_count == 1
        assert rank(channel, "pinned") == rank(channel, "broken") == stopped
        assert models(channel) == {"pinned", "broken", "new9"}


def test_a_model_with_evidence_is_kept_until_it_is_idle(start_daemon, wait_until):
    """Newcomers beyond the limit are accepted and not followed, until a window had no report for long enough."""
    daemon = start_daemon(quality={"max_windows": 1, "forget_after": 1.0}, guard={"min_known": 8})
    with daemon.channel() as channel:
        completion_stub(channel).ReportCompletions(batch(8, "known"), timeout=10)
        assert completion_stub(channel).ReportCompletions(batch(20, "late"), timeout=10).accepted_count == 20
        assert models(channel) == {"known"}
        counted = [x for x in _metrics(daemon).splitlines() if 'outcome="not_followed"' in x]
        assert [x.rpartition(" ")[2] for x in counted] == ["20.0"]

        def followed():
            completion_stub(channel).ReportCompletions(batch(1, "late"), timeout=10)
            return models(channel) == {"late"}

        wait_until(followed)


def _metrics(daemon):
    from urllib.request import urlopen

    return urlopen(daemon.http + "/metrics").read().decode()


def test_a_report_that_is_refused_opens_no_window(start_daemon):
    """Only a report that can be true makes a model known."""
    daemon = start_daemon(limits={"max_token_count": 2**32 - 1})
    with daemon.channel() as channel:
        impossible = completion("x", 1.0, 2**31 + 1, VERSION)
        answer = completion_stub(channel).ReportCompletions(
            cpb.ReportCompletionsRequest(model="evil", completions=[impossible]), timeout=10
        )
        assert answer.rejected[0].reason == cpb.REJECTION_REASON_IMPOSSIBLE_COUNT
    assert daemon.app.monitor.reported_windows() == []


def test_an_operator_always_finds_room_for_a_pin(start_daemon):
    """A pin takes the place of a ranking model's window, and none of another pin's: then the error names the remedy."""
    daemon = start_daemon(quality={"max_windows": 1}, guard={"min_known": 8})
    with daemon.channel() as channel, daemon.channel(daemon.admin_target) as admin:
        completion_stub(channel).ReportCompletions(batch(20, "known"), timeout=10)
        pin = admin_pb2.PinGuardRequest(model="a", mode=quality_pb2.GUARD_MODE_FALLBACK, duration={"seconds": 60})
        admin_stub(admin).PinGuard(pin)
        assert models(channel) == {"a"}
        admin_stub(admin).UnpinGuard(admin_pb2.UnpinGuardRequest(model="stranger"))
        assert models(channel) == {"a"}
        pin.model = "b"
        with pytest.raises(grpc.RpcError) as raised:
            admin_stub(admin).PinGuard(pin)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "quality.max_windows = 1" in raised.value.details()


def test_completions_and_progress_reports_are_told_apart(start_daemon):
    """3 requests that ended, 5 that run, one of which ended since: on the wire, at /status.json and in metrics."""
    daemon = start_daemon()
    with daemon.channel() as channel:
        for reports in (batch(5, finish=PROGRESS, prefix="running-"), batch(2), batch(1, prefix="running-"), batch(1)):
            completion_stub(channel).ReportCompletions(reports, timeout=10)
        told = quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(), timeout=10)
    (quality,) = told.qualities
    for counts in (quality, told.service):
        assert (counts.completion_count, counts.progress_report_count) == (4, 5)
    state = daemon.app.status.state()
    assert state["traffic"]["completions"]["accepted"] == state["windows"][0]["completions"] == 4
    assert state["traffic"]["progress_reports"]["accepted"] == state["windows"][0]["progress_reports"] == 5
    assert daemon.app.status.snapshot()["facts"]["completions"] == "4 accepted, and 5 progress reports"
    text = urlopen(daemon.http + "/metrics").read().decode()
    counted = dict(re.findall(r'rankd_completions_total\{kind="(\w+)".*outcome="accepted".*\} ([0-9.]+)', text))
    assert counted == {"final": "4.0", "progress": "5.0"}
