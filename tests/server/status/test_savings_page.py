"""Saved seconds on the page: what it says first is true, whatever the state and whatever runs beside."""

import time

import pytest
from rankd_client import AdminClient, PilotPlan
from support.browser import DESK, PHONE, violations
from support.saved_figures import saved, total
from support.tiny_ranker import make_artifact
from support.wire import report_many

from rankd.clock import CLOCK
from rankd.pilot import LatencyMetric
from rankd.pilot.report import Effect

GREEN = "rgb(44, 122, 75)"


@pytest.fixture
def followed(look, start_daemon):
    """A daemon that ranks, what it found to be saved, its page, and a way to have the page ask again."""
    daemon = start_daemon(page={"every": 1})
    report_many(daemon, "llm", 300)
    (window,) = daemon.app.monitor.reported_windows()
    saving = window.load.saving
    saving.ended_at = saving.reported_at
    page = look(daemon, **DESK)
    page.live()

    def look_again():
        daemon.app.status._answers.clear()
        page.run("document.dispatchEvent(new Event('visibilitychange'))")

    return daemon, saving, page, look_again


def test_each_state_has_its_sentence_and_its_colour_and_only_a_gain_is_green(followed):
    """Gains, a loss, nothing that is sure, no queue, and an idle half hour, one after the other on one page."""
    _, saving, page, look_again = followed
    page.wait_for_text("Learning what ranking saves", "#verdict")
    saving.total = total(54_000)
    tones = set()
    for figures, headline in (
        (saved(1.8, 0.5), "Requests end 1.8 s sooner on average than in arrival order, the slowest 1 % 400 ms later"),
        (saved(1.8, 0.5, tail=0.1), "Requests end 1.8 s sooner on average than in arrival order"),
        (saved(-1.8, 0.5), "Requests end 1.8 s later on average than in arrival order, the slowest 1 % 400 ms later"),
        (saved(0.1, 0.4), "No sure gain: requests end between 300 ms later and 500 ms sooner"),
        (saved(0.0, 0.0, tail=0, queued=False), "No queue: there is nothing to gain"),
    ):
        saving.estimate = figures
        look_again()
        page.wait_for_text(headline, "#verdict")
        gains = figures.mean.low > 0
        assert (page.run("getComputedStyle(document.getElementById('verdict')).color") == GREEN) is gains
        tones.add(page.run("document.body.dataset.tone"))
    assert len(tones) == 4
    saving.estimate = saved(1.8, 0.5)
    saving.reported_at = saving.ended_at = CLOCK.now() - 1680
    look_again()
    page.wait_for_text("Idle: no completion for 28 min", "#verdict")
    assert "Before that, requests ended 1.8 s sooner" in page.text("#lead")
    assert "13.5 h" not in page.text("#lead")
    assert page.run(
        f"[...document.querySelectorAll('main *')].every((e) => !e.checkVisibility() || ![getComputedStyle(e).color, "
        f"getComputedStyle(e).fill, getComputedStyle(e).backgroundColor].includes('{GREEN}') || e.closest('.keys'))"
    )


def test_observed_stands_beside_arrival_order_and_who_paid_is_told(followed):
    """In pictures with a text for those who cannot see them, in tables, on a phone too."""
    _, saving, page, look_again = followed
    saving.estimate = saved(1.8, 0.5)
    look_again()
    page.wait_for_text("6.2 s instead of 8.0 s in arrival order", "#tiles")
    assert "mean 6.2 s, in arrival order 8.0 s" in page.run(
        "document.querySelector('#saved-end_to_end desc').textContent"
    )
    assert page.run("document.querySelectorAll('#saved-first_token .bar-arrival').length") == 4
    assert "18 % of requests ended later than in arrival order, by 620 ms on average" in page.text("#saved-note")
    assert [line.split("\t")[2] for line in page.text("#table-payers").splitlines()[1:]] == [
        "3.9 s less", "2.4 s less", "1.2 s less", "600 ms more",
    ]  # fmt: skip
    page.wait("document.querySelector('#chart-saved .line-ranker, #chart-saved .dot-ranker') !== null")
    page.look(**PHONE)
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.wait("[...document.querySelectorAll('details')].every((d) => d.open)")
    assert page.run("document.documentElement.scrollWidth") <= PHONE["width"]
    assert violations(page) == []


def test_a_pilots_loss_is_said_before_a_gain(followed):
    """A pilot under way is in the headline; one that found p99 surely worse takes it, also once it has ended."""
    daemon, saving, page, look_again = followed
    saving.estimate = saved(1.8, 0.5)
    with AdminClient(daemon.admin_target) as admin:
        admin.start_pilot(PilotPlan(slot=60, blocks=6, model="llm"))
        look_again()
        page.wait_for_text("Pilot under way", "#verdict")
        assert "No block of it is measured yet" in page.text("#lead")
        assert page.run("document.body.dataset.tone") != "good"
        pilot = daemon.app.pilots.get("llm")
        pilot._effects = (
            Effect(LatencyMetric.MEAN, 8.0, 6.2, 0.78, 0.7, 0.9, 0.65, 0.95, 0),
            Effect(LatencyMetric.P99, 20.0, 32.2, 1.61, 1.3, 1.9, 1.2, 2.1, 0),
        )
        look_again()
        page.wait_for_text("Pilot under way: p99 of E2E latency is 1.61 times that of fcfs", "#verdict")
        assert "0.78 (0.65 to 0.95)" in page.text("#lead")
        assert page.run("document.body.dataset.tone") == "bad"
        admin.stop_pilot("llm")
    look_again()
    page.wait_for_text("Pilot ended: p99 of E2E latency is 1.61 times that of fcfs", "#verdict")


def test_what_happened_is_marked_on_charts_and_listed(followed, tmp_path):
    """A pilot, a promotion and a fallback: told in order, drawn on each chart over time, in words in a list."""
    daemon, saving, page, _ = followed
    saving.estimate = saved(1.8, 0.5)
    with AdminClient(daemon.admin_target) as admin:
        admin.start_pilot(PilotPlan(slot=60, blocks=6, model="llm"))
        page.wait_for_text("A pilot began, boost against fcfs (llm).", "#events")
        admin.stop_pilot("llm")
        page.wait_for_text("A pilot ended, boost against fcfs (llm): cancelled.", "#events")
        made = make_artifact(tmp_path / "next", version="2.0.0")

        async def load_next():
            await daemon.app.registry.load(made)

        daemon.run(load_next())
        admin.promote("tiny@2.0.0")
    page.wait_for_text("tiny@2.0.0 came into service, after tiny@1.0.0.", "#events")
    report_many(daemon, "llm", 300, scale=-1.0, version="tiny@2.0.0")
    page.wait_for_text("tiny@2.0.0 fell back (llm): tau was surely below the floor.", "#events")
    kinds = [e["kind"] for e in daemon.app.status.state()["events"]]
    assert kinds == ["pilot_began", "pilot_ended", "promoted", "fallback_began"]
    for chart in ("saved", "tau", "answers"):
        page.wait(f"document.querySelectorAll('#chart-{chart} .event').length === 4")
        assert page.run(f"document.querySelector('#chart-{chart} .mark-fallback title').textContent").count("fell back")


def test_events_are_no_more_than_the_setting(start_daemon):
    """The latest stay; with 0 there are none."""
    for most, kinds in ((1, ["pilot_ended"]), (0, [])):
        daemon = start_daemon(page={"events": most})
        with AdminClient(daemon.admin_target) as admin:
            for model in ("a", "b"):
                admin.start_pilot(PilotPlan(slot=60, blocks=6, model=model))
                admin.stop_pilot(model)
        daemon.call(daemon.app.status.sample, time.time())
        assert [e["kind"] for e in daemon.app.status.state()["events"]] == kinds
