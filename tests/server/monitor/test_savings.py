"""Saved seconds over the wire: what ranking did to traffic of which it is known, and the states."""

import itertools
import json
import re
import time
import urllib.request

import pytest
from rankd_client import RankClient
from rankd_client.v1 import admin_pb2, quality_pb2
from rankd_client.v1 import completion_pb2 as cpb
from support.served_both_ways import boosted, by_arrival, served_both_ways
from support.wire import admin_stub, completion, completion_stub

VERSION = "tiny@1.0.0"
serial = itertools.count()
FAST = 0.1
"""Of the engine's seconds: nothing runs for long, so what ended last is soon known to be the last."""


def report(daemon, served, model="llm"):
    """All that was served, as if the last had ended so long ago that nobody runs any more."""
    now, ended = time.time(), FAST * float(served.ranked.finish.max()) + 500.0
    done = cpb.ReportCompletionsRequest(model=model, now={"seconds": int(now), "nanos": int(now % 1 * 1e9)})
    for row in served.rows.tolist():
        arrival, waited, ran = (FAST * seconds for seconds in row[:3])
        output, prompt = row[3:]
        one = completion(f"s{next(serial)}", output, int(output), VERSION, prompt_token_count=int(prompt))
        one.prediction.expected_token_count = output
        one.arrival_time.FromNanoseconds(int((now - ended + arrival) * 1e9))
        one.queue_duration.FromNanoseconds(int(waited * 1e9))
        one.total_duration.FromNanoseconds(int((waited + ran) * 1e9))
        done.completions.append(one)
    with daemon.channel() as channel:
        assert completion_stub(channel).ReportCompletions(done, timeout=30).accepted_count == len(served.rows)


def savings(daemon, model="llm"):
    with RankClient(daemon.target, timeout=30) as client:
        return next((one for one in client.quality().savings if one.model == model), None)


def read(daemon, path):
    return urllib.request.urlopen(f"{daemon.http}{path}", timeout=30).read().decode()


def test_what_ranking_saved_is_told_by_the_client_the_page_and_metrics(start_daemon, wait_until):
    """The same figures everywhere, and the interval holds what was saved."""
    daemon = start_daemon(guard={"enabled": False})
    assert savings(daemon) is None
    served = served_both_ways(boosted, 1.2, requests=600)
    report(daemon, served)
    wait_until(lambda: (one := savings(daemon)).completions > 500 and one.state == "gains")
    told = savings(daemon)
    mean = told.latency()
    assert mean.saved_seconds.low <= FAST * served.saved.mean() <= mean.saved_seconds.high
    assert mean.arrival_order_seconds == pytest.approx(mean.observed_seconds + mean.saved_seconds.value)
    assert len(told.latencies) == 12
    assert told.payers[0].label == "shortest quarter"
    assert told.total_completions >= told.completions
    assert abs(told.last_completion_at + 500 - time.time()) < 300
    assert told.from_time < told.to_time <= told.last_completion_at + 0.01
    page = json.loads(read(daemon, "/status.json"))["savings"]
    assert [(one["model"], one["state"]) for one in page] == [("llm", "gains")]
    assert page[0]["latencies"][0]["saved_seconds"]["value"] == pytest.approx(mean.saved_seconds.value)
    metrics = read(daemon, "/metrics")
    assert re.search(r'rankd_saved_state\{.*model="llm",.*state="gains".*\} 1.0', metrics)
    found = re.search(
        r'rankd_saved_time_seconds\{bound="value",measure="end_to_end",model="llm",.*statistic="mean"\} (\S+)', metrics
    )
    assert float(found[1]) == pytest.approx(mean.saved_seconds.value)


def test_without_completions_a_model_is_idle(start_daemon, wait_until):
    """Whatever it gained before; figures stay, the state says that they are of before."""
    daemon = start_daemon(guard={"enabled": False}, quality={"idle_after": 1.0})
    report(daemon, served_both_ways(boosted, 1.2, requests=600))
    wait_until(lambda: (one := savings(daemon)).latencies and one.state == "idle")
    told = savings(daemon)
    assert told.latency().saved_seconds.value > 0


def test_where_arrival_order_is_configured_it_falls_back_and_saves_nothing(start_daemon, wait_until):
    """Exactly nothing."""
    daemon = start_daemon(order={"policy": "fcfs"})
    report(daemon, served_both_ways(by_arrival, 1.2, requests=600))
    wait_until(lambda: savings(daemon).latencies)
    told = savings(daemon)
    assert told.state == "falls_back"
    saved = told.latency().saved_seconds
    assert (saved.value, saved.low, saved.high) == (0, 0, 0)


def test_while_too_little_is_known_it_says_learning(start_daemon):
    """Fifty completions say nothing."""
    daemon = start_daemon(guard={"enabled": False})
    report(daemon, served_both_ways(boosted, 1.2, requests=50))
    told = savings(daemon)
    assert (told.state, told.completions, told.latencies, told.total_since) == ("learning", 50, (), None)


def test_a_guard_in_fallback_and_one_that_warms_up_are_told_apart(start_daemon, wait_until):
    """Arrival order in both cases; only one of them is a step back."""
    daemon = start_daemon()
    report(daemon, served_both_ways(boosted, 1.2, requests=50))
    assert savings(daemon).state == "learning"
    with daemon.channel(daemon.admin_target) as admin:
        pin = admin_pb2.PinGuardRequest(model="llm", mode=quality_pb2.GUARD_MODE_FALLBACK, duration={"seconds": 600})
        admin_stub(admin).PinGuard(pin)
    wait_until(lambda: savings(daemon).state == "falls_back")
