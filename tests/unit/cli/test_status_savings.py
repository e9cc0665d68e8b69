"""What ``rankd status`` says of saved seconds: each state in its own words, green only where requests gain."""

from __future__ import annotations

import dataclasses
import io
import time

import pytest
from rankd_client import (
    Estimate,
    Payer,
    PilotInForce,
    PilotRatio,
    Policy,
    QualityReport,
    SavedLatency,
    Savings,
    ServiceStatus,
)

from rankd.cli.status_savings import duration, headline, saved, saving
from rankd.cli.terminal import PlainConsole

AT = 1_790_000_000.0
SERVICE = ServiceStatus("0.1.0", "r@1", "cpu", 1.0, 1, 2, 0, 2, 0, 0, 0, draining=False)


def savings(state, mean=(1.8, 1.2, 2.3), p99=(-0.4, -0.7, -0.1), **others):
    """What a daemon tells, with figures of end-to-end latency."""
    latencies = tuple(
        SavedLatency("end_to_end", name, 6.0, 6.0 + figures[0], Estimate(*figures))
        for name, figures in (("mean", mean), ("p99", p99))
    )
    fields = {"completions": 3108, "queued_share": 0.62, "slower_share": 0.18, "slower_by_seconds": 0.6} | others
    fields = {"from_time": AT, "to_time": AT + 600, "last_completion_at": None} | fields
    return Savings(model="m", state=state, latencies=latencies, **fields)


def pilot(ratio, low, high, *, running=True):
    """A pilot of boost against fcfs that found so much of p99."""
    found = (PilotRatio("p99", Estimate(ratio, low, high)),)
    return PilotInForce("m", running, Policy.FCFS, Policy.BOOST, found, ends_at=AT + 900)


@pytest.mark.parametrize(
    ("told", "title", "style"),
    [
        (
            savings("gains"),
            (
                "Requests end 1.8 s sooner (1.2 s to 2.3 s) on average than in arrival order, "
                "the slowest 1 % 400 ms later"
            ),
            "bold green",
        ),
        (
            savings("gains", p99=(0.1, -0.2, 0.3)),
            "Requests end 1.8 s sooner (1.2 s to 2.3 s) on average than in arrival order",
            "bold green",
        ),
        (
            savings("loses", mean=(-1.8, -2.3, -1.2)),
            (
                "Requests end 1.8 s later (1.2 s to 2.3 s) on average than in arrival order, "
                "the slowest 1 % 400 ms later"
            ),
            "bold red",
        ),
        (
            savings("no_gain", mean=(0.1, -0.3, 0.5)),
            (
                "No sure gain: requests end between 300 ms later and 500 ms sooner on average than in arrival order"
            ),
            "bold",
        ),
        (savings("idle"), "Idle: no completion for 28 min, so nothing is claimed of the present", "dim"),
        (
            savings("learning", completions=12),
            "Learning what ranking saves: too few of 12 completions can be compared with arrival order yet",
            "bold",
        ),
        (
            savings("no_queue"),
            "No queue: hardly any request waits for another, there is nothing to gain",
            "bold",
        ),
        (
            savings("falls_back"),
            "Arrival order: requests are served as they come, for the reason below",
            "bold yellow",
        ),
        (savings("a_later_state"), "a later state: what ranking saves is not known", "bold"),
    ],
    ids=["gains", "tail not sure", "loses", "no gain", "idle", "learning", "no queue", "falls back", "unknown"],
)  # fmt: skip
def test_each_state_has_its_sentence(told, title, style):
    """The headline says no more than the figures do, and only a gain is green."""
    assert headline(dataclasses.replace(told, last_completion_at=time.time() - 1680)) == (title, style)


def test_a_pilots_loss_goes_before_a_gain():
    """What a pilot surely found worse is the headline, under way and after its end; else that it runs is said."""
    gains = savings("gains")
    assert headline(gains, pilot(1.61, 1.2, 2.0)) == (
        "Pilot under way: p99 of E2E latency is 1.61 times that of fcfs",
        "bold red",
    )
    assert headline(gains, pilot(1.61, 1.2, 2.0, running=False))[0].startswith("Pilot ended: p99")
    title, style = headline(gains, pilot(0.9, 0.7, 1.2))
    assert (title[:34], style) == ("Pilot under way. Requests end 1.8 s"[:34], "bold")
    assert headline(gains, pilot(0.9, 0.7, 1.2, running=False))[1] == "bold green"


def test_it_is_what_is_shown_first_with_figures_and_who_paid():
    """Observed beside arrival order, in the terms of the field; of a daemon that says nothing, nothing is shown."""
    payers = (
        Payer("shortest quarter", 777, Estimate(3.0, 2.0, 4.0)),
        Payer("longest quarter", 777, Estimate(-1.0, -1.5, 0.2)),
    )
    told = savings("gains", payers=payers, total_saved_seconds=Estimate(5400.0, 5000.0, 6000.0), total_since=AT)
    out = PlainConsole(width=100, file=io.StringIO())
    out.print(saved(QualityReport(SERVICE, (), (), (told,), (pilot(0.9, 0.7, 1.2),))))
    shown = out.file.getvalue()
    for text in (
        "p99 0.90 (0.70 to 1.20) times",
        "3,108 completions, 62% of them had to wait",
        "18% of requests ended later than in arrival order, by 600 ms on average",
        "E2E latency, mean",
        "1.8 s less (1.2 s to 2.3 s)",
        "400 ms more (100 ms to 700 ms)",
        "1.0 s more (1.5 s more to 200 ms less)",
        "since 2026-09-21 14:13 UTC: 1.5 h less (83 min to 1.7 h) of latency in all",
    ):
        assert text in shown
    assert "no completion was reported yet" in str(saved(QualityReport(SERVICE, (), ())))


def test_durations_have_as_many_digits_as_they_need():
    """And nothing is less than 0, nor has a minus before nothing."""
    shown = [duration(s) for s in (-1.0, 0.0, 3e-5, 0.0042, 0.25, 1.84, 42.4, 600, 9000, 200_000)]
    assert shown == ["0 s", "0 s", "30 µs", "4.2 ms", "250 ms", "1.8 s", "42 s", "10 min", "2.5 h", "2 days"]
    assert saving(Estimate(0.0, 0.0, 0.0), ("sooner", "later")) == "0 s sooner"
