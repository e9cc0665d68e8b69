"""The machine's clock is set while the daemon runs: by an hour, by a day, back, forward, or there and back again.

Only what ``time.time`` tells the daemon is injected. What is learned and decided goes on as if nothing had happened;
what is shown is by the clock as it is now.
"""

import itertools
import json
import sys
import time
from contextlib import contextmanager
from functools import partial
from urllib.request import urlopen

import numpy as np
import pytest
from rankd_client import Completed, Item, RankClient
from rankd_client.v1 import admin_pb2, completion_pb2, quality_pb2
from support.credentials import write_keys
from support.wire import admin_stub, completion, completion_stub, ids, item, quality_stub, rank_stub, request

from rankd.clock import SteadyClock

VERSION = "tiny@1.0.0"
HOUR, DAY = 3600.0, 86400.0
STEPS = {
    "an hour back": [-HOUR],
    "a day back": [-DAY],
    "two years forward": [730 * DAY],
    "forward and back": [DAY, 0.0],
    "back and forward": [-DAY, HOUR],
    "before the epoch": [-4e9],
}
serial = itertools.count()


@pytest.fixture
def set_clock(monkeypatch):
    """Sets the machine's clock, as the daemon sees it, to so many seconds beside the true time.

    gRPC and the callers see the true one: gRPC asks the system for deadlines in the same clock, which is not changed.
    """
    true, ahead = time.time, [0.0]

    def told():
        ours = sys._getframe(1).f_globals["__name__"].startswith("rankd.")
        return true() + ahead[0] if ours else true()

    monkeypatch.setattr(time, "time", told)
    return partial(ahead.__setitem__, 0)


def report(daemon, sign, count=60):
    """Completions whose scores are in the order of their lengths (1), or against it (-1)."""
    scores = np.random.default_rng(next(serial)).normal(size=count)
    rows = [completion(f"r{next(serial)}", float(s), int(400 + sign * 80 * s), VERSION) for s in scores]
    with daemon.channel() as channel:
        message = completion_pb2.ReportCompletionsRequest(model="llm", completions=rows)
        assert completion_stub(channel).ReportCompletions(message, timeout=10).accepted_count == count


def quality(daemon):
    with daemon.channel() as channel:
        answer = quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(model="llm"), timeout=10)
    return answer.qualities[0]


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_a_guard_follows_the_ranker_whatever_the_clock_does(start_daemon, wait_until, set_clock, steps):
    """A ranker that goes bad after the clock was set is found out as ever, and what is shown is of now."""
    daemon = start_daemon(guard={"dwell": 0.2, "min_known": 50, "cohort": 100}, quality={"cohort": 100})
    report(daemon, 1, 200)
    wait_until(lambda: quality(daemon).guard.mode == quality_pb2.GUARD_MODE_RANKED)
    report(daemon, 1)
    set_clock(steps[0])
    for seconds in steps[1:]:
        report(daemon, 1)
        set_clock(seconds)

    def fell_back():
        report(daemon, -1)
        return quality(daemon).guard.mode == quality_pb2.GUARD_MODE_FALLBACK

    wait_until(fell_back)
    wait_until(lambda: quality(daemon).tau.high < 0, what="an estimate of now")
    shown = quality(daemon)
    assert abs(shown.guard.since.ToNanoseconds() * 1e-9 - time.time() - steps[-1]) < 60

    def recovered():
        report(daemon, 1)
        return quality(daemon).guard.mode == quality_pb2.GUARD_MODE_RANKED

    wait_until(recovered)


@pytest.mark.parametrize("seconds", [-DAY, DAY], ids=["a day back", "a day forward"])
def test_a_pin_lasts_as_long_as_it_was_to_last(start_daemon, wait_until, set_clock, seconds):
    """One of two seconds ends after two seconds; one of an hour is not ended by a clock that jumps over its end."""
    daemon = start_daemon()
    with daemon.channel(daemon.admin_target) as channel:
        for model, duration in (("short", 2), ("long", 3600)):
            pin = admin_pb2.PinGuardRequest(
                model=model, mode=quality_pb2.GUARD_MODE_FALLBACK, duration={"seconds": duration}
            )
            admin_stub(channel).PinGuard(pin, timeout=10)
    set_clock(seconds)
    windows = {w.model: w for w in daemon.app.monitor.reported_windows()}
    wait_until(lambda: windows["short"].guard.pinned_until is None)
    with daemon.channel() as channel:
        shown = quality_stub(channel).GetQuality(quality_pb2.GetQualityRequest(model="long"), timeout=10).qualities[0]
    left = shown.guard.pinned_until.ToNanoseconds() * 1e-9 - time.time() - seconds
    assert 3500 < left <= 3600


@pytest.mark.parametrize("seconds", [-HOUR, HOUR], ids=["back", "forward"])
def test_signed_predictions_of_before_are_taken_after(start_daemon, set_clock, tmp_path, seconds):
    """A request that was scored before the clock was set, and ended after, is reported as every other one."""
    daemon = start_daemon(signing={"file": write_keys(tmp_path / "keys.toml", "k1")})
    with RankClient(daemon.target, model="llm", timeout=10) as client:
        before = client.rank([Item("short", f"a{n}") for n in range(5)])
        set_clock(seconds)
        time.sleep(1.2)
        after = client.rank([Item("short", f"b{n}") for n in range(5)])
        done = [
            Completed(r.request_id, r.prediction, 10, queue_seconds=0.5, total_seconds=1.0) for r in [*before, *after]
        ]
        answer = client.report(done)
    assert (answer.accepted, len(answer.rejected)) == (10, 0)
    load = daemon.app.monitor.reported_windows()[0].load
    assert load.wait.mean == pytest.approx(0.5)


def test_a_pilot_neither_repeats_slots_nor_skips_them(start_daemon, wait_until, set_clock):
    """Slots of a pilot follow each other though the clock goes back, forward and back."""
    daemon = start_daemon()
    start = admin_pb2.StartPilotRequest(model="llm", slot={"nanos": 300_000_000}, block_count=6, seed=7)
    with daemon.channel(daemon.admin_target) as channel:
        stub, began = admin_stub(channel), time.monotonic()
        stub.StartPilot(start, timeout=10)
        set_clock(DAY)
        done = stub.GetPilot(admin_pb2.GetPilotRequest(model="llm"), timeout=10).pilot.slot_count
        assert done <= (time.monotonic() - began) / 0.3, "slots were skipped"
        set_clock(-DAY)
        # Nobody asked for anything: it ends as one that had no traffic, once its time is over.
        wait_until(
            lambda: (
                stub.GetPilot(admin_pb2.GetPilotRequest(model="llm"), timeout=10).pilot.state
                == admin_pb2.PILOT_STATE_NO_TRAFFIC
            )
        )


def test_what_is_shown_over_time_stays_in_order(start_daemon, wait_until, set_clock):
    """The page's rows are one after the other, up to now, though the clock went back by an hour; rates stay rates."""
    daemon = start_daemon(page={"every": 1, "long_every": 1})

    def rows():
        return json.loads(urlopen(daemon.http + "/status.json", timeout=10).read())["history"]["traffic"]["at"]

    wait_until(lambda: len(rows()) >= 2)
    set_clock(-HOUR)
    before = len(rows())
    wait_until(lambda: len(rows()) > before + 1)
    at = rows()
    assert at == sorted(at)
    assert abs(at[-1] - (time.time() - HOUR)) < 30


@pytest.mark.parametrize("ahead", [2 * HOUR, -2 * HOUR], ids=["set back before", "set forward before"])
def test_windows_that_are_restored_under_another_clock_go_on(start_daemon, wait_until, set_clock, tmp_path, ahead):
    """A file with times of the future, or of hours ago, gives a guard that decides as ever, and the pin it had."""
    path = tmp_path / "windows.npz"
    options = {"guard": {"dwell": 0.2, "min_known": 50, "cohort": 100}, "quality": {"snapshot": path, "cohort": 100}}
    set_clock(ahead)
    daemon = start_daemon(**options)
    report(daemon, 1, 200)
    wait_until(lambda: quality(daemon).guard.mode == quality_pb2.GUARD_MODE_RANKED)
    daemon.stop()
    set_clock(0.0)
    again = start_daemon(**options)
    assert quality(again).completion_count >= 200
    assert quality(again).guard.mode == quality_pb2.GUARD_MODE_RANKED

    def fell_back():
        report(again, -1)
        return quality(again).guard.mode == quality_pb2.GUARD_MODE_FALLBACK

    wait_until(fell_back)


def test_orders_go_on(start_daemon, set_clock):
    """An order is the same before and after, also without the caller's own time."""
    daemon = start_daemon()
    with daemon.channel() as channel:
        for seconds in (0.0, -DAY, DAY):
            set_clock(seconds)
            answer = rank_stub(channel).Rank(request(item("b", "long"), item("a", "short"), model="llm"), timeout=10)
            assert ids(answer) == ["a", "b"]


@contextmanager
def between(clock):
    """What is told within is what a clock said meanwhile, however long that took."""
    told, first = [], clock()
    yield told
    assert first - 0.2 <= told[0] <= clock() + 0.2


def test_the_steady_clock_knows_what_can_have_passed(set_clock):
    """It never steps; times are translated by the clock as it is; of a stamp it knows the most that can have passed."""
    clock = SteadyClock()
    before, stamp = clock.now(), time.time()
    for seconds in (-HOUR, DAY, 0.0):
        set_clock(seconds)
        with between(lambda ahead=seconds: time.time() + ahead) as told:
            told.append(clock.to_wall(clock.now()))
        with between(clock.now) as told:
            told.append(clock.from_wall(time.time() + seconds))
        assert 0 <= clock.now() - before < 60
        assert -0.2 < clock.longest_since(stamp, memory=DAY) < DAY + 60
    with between(lambda: clock.now() - before) as told:
        told.append(clock.longest_since(stamp, memory=0.0))
