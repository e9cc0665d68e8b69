"""Pilots that could measure nothing: of a model that nobody named, without traffic, without durations."""

import itertools
import time

import pytest
from rankd_client import AdminClient, Completed, Item, PilotPlan, RankClient, RankdRefusedError
from rankd_client.ordering import Policy

from rankd.cli import main

serial = itertools.count()


@pytest.fixture
def daemon(start_daemon):
    """A pilot leaves traces, so each test has its own."""
    return start_daemon(order={"policy": "due"})


@pytest.fixture
def admin(daemon):
    with AdminClient(daemon.admin_target) as client:
        yield client


def followed(admin, model, seconds=120.0):
    """A pilot's status once it has ended."""
    end = time.monotonic() + seconds
    while (status := admin.pilot(model)).active:
        assert time.monotonic() < end, "the pilot did not end"
        time.sleep(0.05)
    return status


def report(daemon, model, count=1, total_seconds=1.0):
    """New requests, ranked and at once reported."""
    with RankClient(daemon.target, model=model, timeout=30) as client:
        queue = client.rank([Item("short", request_id=f"{next(serial)}") for _ in range(count)])
        client.report(
            [Completed(r.request_id, r.prediction, 20, total_seconds=total_seconds) for r in queue], timeout=30
        )


def test_the_only_model_that_reports_is_taken_and_several_are_listed(daemon, admin, capsys):
    """Without a model the one that reports is meant; where several do, an error has their names."""
    plan = PilotPlan(slot=60.0, blocks=6, model=None, treatment=Policy.SCORE)
    report(daemon, "first")
    assert admin.start_pilot(plan).model == "first"
    assert admin.pilot(None).model == "first"
    assert admin.stop_pilot(None).state == "cancelled"
    report(daemon, "second")
    with pytest.raises(RankdRefusedError, match="2 models report, 'first', 'second'"):
        admin.start_pilot(plan)
    arguments = ["--admin", daemon.admin_target, "--slot", "1m", "--blocks", "6", "--treatment", "score", "--detach"]
    assert main(["pilot", "start", *arguments]) == 2
    assert "'first', 'second'" in capsys.readouterr().err
    assert main(["pilot", "start", *arguments, "--model", "second"]) == 0
    with pytest.raises(RankdRefusedError, match="2 models have a pilot"):
        admin.pilot(None)
    assert main(["pilot", "stop", "--admin", daemon.admin_target, "--model", "second"]) == 0
    assert "model 'second', score against fcfs: cancelled" in capsys.readouterr().out


def test_a_pilot_without_traffic_says_so_and_ends(start_daemon, capsys):
    """A misnamed model: it ends itself, names those that had traffic, and the command says so by its exit status."""
    daemon = start_daemon(pilot={"idle_after": 0.5}, order={"policy": "due"})
    with AdminClient(daemon.admin_target) as admin:
        admin.start_pilot(PilotPlan(slot=60.0, blocks=6, model="typo", treatment=Policy.SCORE))
        report(daemon, "llm")
        assert followed(admin, "typo").state == "no_traffic"
        assert admin.pilot("typo").reason.startswith("no request of this model came in")
    assert main(["pilot", "status", "--admin", daemon.admin_target]) == 4
    assert "no request of this model came in" in capsys.readouterr().out


def test_a_pilot_whose_reports_have_no_duration_ends(daemon, admin):
    """Completions without a total time cannot be compared: it says so instead of running for hours."""
    admin.start_pilot(PilotPlan(slot=60.0, blocks=6, washout=0.0, model="llm", treatment=Policy.SCORE))
    report(daemon, "llm", 30, total_seconds=None)
    status = followed(admin, "llm")
    assert (status.state, status.unmeasured) == ("unmeasured", 20)
    assert "none with total_duration" in status.reason
