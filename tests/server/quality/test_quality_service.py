"""Reports, live quality, and a guard that acts on them, over the wire."""

import itertools
import time

import grpc
import numpy as np
import pytest
from rankd_client.v1 import admin_pb2, completion_pb2, quality_pb2
from rankd_client.v1 import completion_pb2 as cpb
from rankd_client.v1 import prediction_pb2 as pb
from scipy.stats import kendalltau
from support.wire import admin_stub, completion, completion_stub, details, ids, item, quality_stub, rank_stub, request

VERSION = "tiny@1.0.0"
serial = itertools.count()


def report(channel, scores, lengths, model=""):
    """Report finished requests; gives the answer."""
    out = cpb.ReportCompletionsRequest(
        model=model,
        completions=[
            completion(f"r{next(serial)}", float(s), int(n), VERSION) for s, n in zip(scores, lengths, strict=True)
        ],
    )
    return completion_stub(channel).ReportCompletions(out, timeout=10)


def quality(channel, model=""):
    return quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(model=model), timeout=10).qualities[0]


def test_quality_is_that_of_scipy(start_daemon):
    """What GetQuality says about reported completions is Kendall's tau-b of them, inside its interval."""
    daemon = start_daemon()
    rng = np.random.default_rng(1)
    scores = rng.normal(size=600).round(1)
    lengths = np.exp(4 + scores + rng.normal(size=600)).astype(int)
    with daemon.channel() as channel:
        answer = report(channel, scores, lengths, "llm")
        assert (answer.accepted_count, answer.duplicate_count, len(answer.rejected)) == (600, 0, 0)
        q = quality(channel, "llm")
    expected = kendalltau(scores, lengths).statistic
    assert q.finished_tau.value == pytest.approx(expected, abs=1e-12)
    assert q.finished_tau.low < expected < q.finished_tau.high
    assert q.tau.value == pytest.approx(expected, abs=1e-9)
    assert 0 < q.realised_gain.low < q.realised_gain.value < q.realised_gain.high < 1
    assert (q.model, q.ranker_version, q.window_size, q.completion_count) == ("llm", VERSION, 600, 600)
    assert q.decided_pair_share == pytest.approx(1.0)


def test_every_bad_report_is_named_and_costs_the_good_ones_nothing(start_daemon):
    """Each kind of bad report has its reason and index; good ones beside it are taken; a final report counts once."""
    daemon = start_daemon()
    good = completion("good", 1.0, 10, VERSION)
    reports = [
        good,
        completion("", 1.0, 10, VERSION),
        cpb.Completion(request_id="x", output_token_count=1, finish_reason=cpb.FINISH_REASON_STOP),
        completion("x", float("nan"), 10, VERSION),
        completion("x", 1.0, 10, "unknown@1"),
        completion("x", 1.0, 2**31, VERSION),
        completion("x", 1.0, 10, VERSION, finish=0),
        completion("x", 1.0, 10, VERSION, finish=77),
        completion("x", 1.0, 10, VERSION, total_duration={"seconds": -1}),
        good,
        completion("good", 1.0, 5, VERSION, finish=cpb.FINISH_REASON_IN_PROGRESS),
    ]
    with daemon.channel() as channel:
        answer = completion_stub(channel).ReportCompletions(
            cpb.ReportCompletionsRequest(completions=reports), timeout=30
        )
        assert (answer.accepted_count, answer.duplicate_count) == (1, 1)
        assert [
            (r.index, cpb.RejectionReason.Name(r.reason).removeprefix("REJECTION_REASON_")) for r in answer.rejected
        ] == [
            (1, "INVALID_REQUEST_ID"),
            (2, "INVALID_PREDICTION"),
            (3, "INVALID_PREDICTION"),
            (4, "UNKNOWN_RANKER_VERSION"),
            (5, "IMPOSSIBLE_COUNT"),
            (6, "UNKNOWN_FINISH_REASON"),
            (7, "UNKNOWN_FINISH_REASON"),
            (8, "INVALID_TIME"),
            (10, "OUT_OF_ORDER"),
        ]
        assert quality(channel).completion_count == 1


def test_progress_is_seen_and_replaced(start_daemon):
    """Progress counts as open, is no duplicate, and the final report takes its place."""
    daemon = start_daemon()
    with daemon.channel() as channel:
        stub = completion_stub(channel)
        for tokens in (0, 5, 5, 9):
            progress = completion("a", 1.0, tokens, VERSION, finish=cpb.FINISH_REASON_IN_PROGRESS)
            assert stub.ReportCompletions(cpb.ReportCompletionsRequest(completions=[progress])).accepted_count == 1
        final = completion("a", 1.0, 12, VERSION)
        answer = stub.ReportCompletions(cpb.ReportCompletionsRequest(completions=[final]))
        assert answer.accepted_count == 1
        q = quality(channel)
        assert (q.completion_count, q.open_count, q.progress_seen) == (1, 0, True)


def test_guard_falls_back_and_returns_with_the_ranker(start_daemon):
    """A ranker whose scores say nothing is out within 500 completions, and in again within 1,000 of its return."""
    daemon = start_daemon(guard={"dwell": 0.0, "dwell_max": 0.0})
    rng = np.random.default_rng(2)

    def completions(n, *, good):
        scores = rng.normal(size=n)
        signal = scores if good else rng.normal(size=n)
        return scores, np.exp(4 + signal + 0.7 * rng.normal(size=n)).astype(int)

    def until(channel, mode, *, good, most):
        for n in range(25, most + 1, 25):
            report(channel, *completions(25, good=good), "llm")
            if quality(channel, "llm").guard.mode == mode:
                return n
        raise AssertionError(f"no change within {most} completions")

    def policy(channel):
        answer = rank_stub(channel).Rank(request(item("b", "long"), item("a", "short"), model="llm"), timeout=30)
        return answer.policy, answer.reason, ids(answer)

    with daemon.channel() as channel:
        report(channel, *completions(600, good=True), "llm")
        assert quality(channel, "llm").guard.mode == quality_pb2.GUARD_MODE_RANKED
        until(channel, quality_pb2.GUARD_MODE_FALLBACK, good=False, most=500)
        assert policy(channel) == (pb.POLICY_FCFS, pb.FALLBACK_REASON_GUARD, ["a", "b"])
        other = rank_stub(channel).Rank(request(item("b", "long"), item("a", "short"), model="other"), timeout=30)
        assert other.policy == pb.POLICY_BOOST
        until(channel, quality_pb2.GUARD_MODE_RANKED, good=True, most=1000)
        assert policy(channel)[0] == pb.POLICY_BOOST
        guard = quality(channel, "llm").guard
        assert (guard.reason, guard.transition_count) == ("recovered", 3)
    line = next(
        x for x in _metrics(daemon).splitlines() if x.startswith("rankd_guard_transitions") and 'from="ranked"' in x
    )
    assert 'to="fallback"' in line
    assert 'reason="quality"' in line


def _metrics(daemon):
    from urllib.request import urlopen

    return urlopen(daemon.http + "/metrics").read().decode()


def test_expected_lengths_follow_completions(start_daemon):
    """The manifest says about 100 tokens; after completions of 1,000 tokens the expectation is near them."""
    daemon = start_daemon(order={"recalibrate_every": 64, "calibration_prior_weight": 10})
    rng = np.random.default_rng(3)
    with daemon.channel() as channel:
        report(channel, rng.normal(size=640), np.full(640, 1000), "llm")
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            answer = rank_stub(channel).Rank(request(item("a", f"w1 w{next(serial) % 50}"), model="llm"), timeout=30)
            expected = answer.items[0].prediction.expected_token_count
            if expected > 800:
                break
            time.sleep(0.05)
        assert 800 < expected <= 1000
        elsewhere = rank_stub(channel).Rank(request(item("a", "w1"), model="other"), timeout=30)
        assert elsewhere.items[0].prediction.expected_token_count < 200


def test_watch_tells_of_a_pin_at_once(start_daemon):
    """WatchQuality sends the state now, and again when an administrator pins the guard, long before its interval."""
    daemon = start_daemon()
    with daemon.channel() as channel, daemon.channel(daemon.admin_target) as admin:
        watch = quality_stub(channel).WatchQuality(
            quality_pb2.WatchQualityRequest(interval={"seconds": 60}), timeout=20
        )
        first = next(watch)
        assert first.qualities[0].guard.mode == quality_pb2.GUARD_MODE_WARMING_UP
        assert first.policies[0].policy == pb.POLICY_BOOST
        assert len(first.policies[0].calibration) == 21
        pin = admin_pb2.PinGuardRequest(mode=quality_pb2.GUARD_MODE_FALLBACK, duration={"seconds": 30})
        assert admin_stub(admin).PinGuard(pin).guard.reason == "pinned"
        second = next(watch)
        assert second.qualities[0].guard.mode == quality_pb2.GUARD_MODE_FALLBACK
        assert second.policies[0].policy == pb.POLICY_FCFS
        assert rank_stub(channel).Rank(request(item("a", "w1")), timeout=30).reason == pb.FALLBACK_REASON_GUARD
        admin_stub(admin).UnpinGuard(admin_pb2.UnpinGuardRequest())
        assert next(watch).policies[0].policy == pb.POLICY_BOOST
        watch.cancel()


def test_a_ranker_without_measured_tau_earns_its_trust(start_daemon, tmp_path, wait_until):
    """Until completions show that it ranks, a ranker that nobody measured is not used."""
    from support.tiny_ranker import make_artifact

    daemon = start_daemon(ranker=make_artifact(tmp_path / "r", measured_tau=None))
    rng = np.random.default_rng(4)
    with daemon.channel() as channel:
        before = rank_stub(channel).Rank(request(item("b", "long"), item("a", "short")), timeout=30)
        assert (before.policy, before.reason) == (pb.POLICY_FCFS, pb.FALLBACK_REASON_GUARD)
        scores = rng.normal(size=500)
        report(channel, scores, np.exp(4 + scores).astype(int))
        report(channel, scores[:100], np.exp(4 + scores[:100]).astype(int))
        # The guard judges in a thread, after the reports were answered.
        ask = request(item("b", "long"), item("a", "short"))
        wait_until(lambda: rank_stub(channel).Rank(ask, timeout=30).policy == pb.POLICY_BOOST)


def test_models_can_be_listed_and_windows_are_bounded(start_daemon):
    """Only listed models are accepted; without a list, windows of the least recent models are forgotten."""
    strict = start_daemon(quality={"models": ["a", "b"]})
    with strict.channel() as channel:
        assert report(channel, [1.0], [5], "a").accepted_count == 1
        with pytest.raises(grpc.RpcError) as raised:
            report(channel, [1.0], [5], "c")
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError) as raised:
            rank_stub(channel).Rank(request(item("x", "w1"), model="c"), timeout=30)
        assert details(raised.value)["ErrorInfo"].reason == "NOT_FOUND"
    bounded = start_daemon(quality={"max_windows": 3})
    with bounded.channel() as channel:
        for n in range(10):
            report(channel, [1.0], [5], f"m{n}")
        models = [q.model for q in quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest()).qualities]
        assert sorted(models) == ["m7", "m8", "m9"]


def test_admin_loads_promotes_and_rolls_back(start_daemon, tmp_path):
    """A second ranker is loaded from the registry, put into service and taken out again; nothing outside is loaded."""
    from support.tiny_ranker import make_artifact

    make_artifact(tmp_path / "registry" / "next", version="2.0.0", scale=-1.0)
    make_artifact(tmp_path / "outside", version="3.0.0")
    (tmp_path / "registry" / "loop").symlink_to("loop")
    broken = make_artifact(tmp_path / "registry" / "broken", version="4.0.0")
    (broken / "model.onnx").write_bytes(b"damaged")
    daemon = start_daemon(registry=tmp_path / "registry")

    def order(channel):
        answer = rank_stub(channel).Rank(request(item("a", "long"), item("b", "short")), timeout=30)
        return ids(answer), answer.ranker_version

    with daemon.channel() as channel, daemon.channel(daemon.admin_target) as admin_channel:
        admin = admin_stub(admin_channel)
        assert order(channel) == (["b", "a"], VERSION)
        loaded = admin.LoadRanker(admin_pb2.LoadRankerRequest(path="next")).ranker
        assert (loaded.ranker_version, loaded.in_service, loaded.provider) == ("tiny@2.0.0", False, "cpu")
        assert order(channel) == (["b", "a"], VERSION)
        admin.PromoteRanker(admin_pb2.PromoteRankerRequest(ranker_version="tiny@2.0.0"))
        assert order(channel) == (["a", "b"], "tiny@2.0.0")
        listed = admin.ListRankers(admin_pb2.ListRankersRequest()).rankers
        assert [(r.ranker_version, r.in_service, r.previous) for r in listed] == [
            ("tiny@2.0.0", True, False),
            (VERSION, False, True),
        ]
        admin.RollbackRanker(admin_pb2.RollbackRankerRequest())
        assert order(channel) == (["b", "a"], VERSION)
        for path, code, reason in (
            ("../outside", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
            ("/etc", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
            ("", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
            ("loop", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
            ("loop/below", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
            ("long" * 2000, grpc.StatusCode.FAILED_PRECONDITION, "RANKER_UNUSABLE"),
            ("nothing", grpc.StatusCode.FAILED_PRECONDITION, "RANKER_UNUSABLE"),
            ("broken", grpc.StatusCode.FAILED_PRECONDITION, "RANKER_UNUSABLE"),
        ):
            with pytest.raises(grpc.RpcError) as raised:
                admin.LoadRanker(admin_pb2.LoadRankerRequest(path=path))
            assert raised.value.code() is code, path
            assert details(raised.value)["ErrorInfo"].reason == reason
        with pytest.raises(grpc.RpcError) as raised:
            admin.PromoteRanker(admin_pb2.PromoteRankerRequest(ranker_version="none@1"))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.RpcError):
            admin.PinGuard(admin_pb2.PinGuardRequest(mode=quality_pb2.GUARD_MODE_RANKED))
        assert completion_pb2.DESCRIPTOR.package == "rankd.v1"


def test_admin_is_not_on_the_public_listener(daemon):
    """An engine's port has no AdminService."""
    with daemon.channel() as channel, pytest.raises(grpc.RpcError) as raised:
        admin_stub(channel).ListRankers(admin_pb2.ListRankersRequest(), timeout=30)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
