"""The page in a real browser, on real daemons."""

import time

import pytest
from rankd_client import Completed, Item, RankClient
from rankd_client.ordering import CostEstimate, Objective, ObjectiveOutcome, ServiceCosts
from rankd_client.v1 import completion_pb2
from support.browser import DESK, PHONE, violations
from support.daemon import Daemon
from support.wire import completion, completion_stub, report_many

from rankd.quality import GuardReason, GuardStanding
from rankd.quality.prompt_judgement import PromptStanding
from rankd.types import GuardMode

COMPLETIONS, OTHERS = 50_000, 2_500
HOSTILE = '"><img src=x onerror=alert(1)></td><script>alert(2)</script>\u202eevil'


@pytest.fixture(scope="module")
def busy(tiny):
    """A daemon with 50,000 completions behind it, several models, tenants and a pinned guard."""
    # Looking at quality seldom leaves the time to the reports themselves.
    seldom = {"guard": {"every": 1000}, "order": {"recalibrate_every": 10_000}}
    daemon = Daemon(ranker=tiny, page={"every": 1}, **seldom)
    daemon.app.time_slices._seconds = 60  # nobody else wants the loop: no pauses for others
    with daemon.channel() as channel:
        for first in range(0, COMPLETIONS, 10_000):
            # Scores in the order of lengths, but for one in four.
            reports = [
                completion(f"{i}", (i * 7 if i % 4 else i * 131) % 1009, 1 + i * 7 % 1009, "tiny@1.0.0")
                for i in range(first, first + 10_000)
            ]
            answer = completion_stub(channel).ReportCompletions(
                completion_pb2.ReportCompletionsRequest(model="llama-3.1-8b-instruct", completions=reports), timeout=60
            )
            assert answer.accepted_count == 10_000
    report_many(
        daemon, "qwen/qwen2.5-72b-instruct-with-a-rather-long-name-and-no-space-anywhere-in-it", OTHERS, scale=-1.0
    )
    with RankClient(daemon.target, model="llama-3.1-8b-instruct", timeout=30) as client:
        for k in range(5):
            client.rank([Item(f"a prompt {i}", request_id=f"r{k}-{i}", tenant=f"team-{i % 3}") for i in range(20)])
    end = time.monotonic() + 60
    while not all(v.estimate and v.guard.mode.value != "warming_up" for v in daemon.app.monitor.reported_windows()):
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(2.2)  # two points of history
    yield daemon
    daemon.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [PHONE, DESK], ids=["375", "1440"])
def test_it_is_readable_and_accessible_with_50000_completions_behind_it(look, busy, screen, scheme):
    """No sideways scrolling, no tiny letters, no small buttons, and none of axe's rules is violated, all opened up."""
    page = look(busy, scheme=scheme, **screen)
    page.live()
    assert f"{COMPLETIONS + OTHERS:,}" in page.text("#reports-note")
    assert page.run("document.querySelector('#chart-tau svg .line-ranker') !== null")
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.wait("[...document.querySelectorAll('details')].every((d) => d.open)")
    assert page.run("document.documentElement.scrollWidth") <= screen["width"]
    smallest = page.run(
        "Math.min(...[...document.querySelectorAll('main *')].filter((e) => e.checkVisibility() && "
        "[...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))"
        ".map((e) => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12
    lowest = page.run(
        "Math.min(...[...document.querySelectorAll('button, select, summary')].filter((e) => e.checkVisibility())"
        ".map((e) => e.getBoundingClientRect().height))"
    )
    assert lowest >= 40
    assert (
        page.run("getComputedStyle(document.body).backgroundColor")
        == {
            "light": "rgb(246, 245, 241)",
            "dark": "rgb(18, 21, 27)",
        }[scheme]
    )
    assert violations(page) == []


def test_it_shows_new_completions_by_itself(look, start_daemon):
    """From "nothing reported" to a tau, without loading anything again; what was opened stays open."""
    daemon = start_daemon(page={"every": 1})
    page = look(daemon, **DESK)
    page.wait_for_text("nobody has asked yet", "#verdict")
    assert "rankd rank prompts.txt" in page.text("#next")
    assert violations(page) == []
    page.run("window.same = true; document.querySelector('details').open = true")
    with RankClient(daemon.target, model="llm", timeout=30) as client:
        queue = client.rank([Item("long " * i, request_id=f"{i}") for i in range(10)])
        assert not queue.failed, queue.reason
        page.wait_for_text("no completion was reported", "#verdict")
        assert "client.report" in page.text("#next")
        client.report([Completed(r.request_id, r.prediction, output_tokens=9) for r in queue], timeout=30)
        report_many(daemon, "llm", 310)
    page.wait_for_text("0.9", "#order-tiles")
    page.wait_for_text("320 completions accepted, 0 progress reports", "#reports-note")
    assert page.run("document.getElementById('window').checkVisibility()") is False  # one model is no choice
    assert page.run("window.same && document.querySelector('details').open")
    assert page.run("performance.getEntriesByType('navigation').length") == 1


def test_the_headline_says_what_orders_requests_and_why(look, start_daemon):
    """Set to arrival order, ranking unguarded, nothing to gain, pinned, draining: each has its own sentence."""
    for settings, headline, why in (
        ({"order": {"policy": "fcfs"}}, "Arrival order, not for want of trust", "order.policy = fcfs"),
        ({"guard": {"enabled": False}}, "Ranking whatever the quality", "guard.enabled = false"),
        ({}, "Learning what ranking saves", "No completion since the start says how long it waited and took"),
    ):
        daemon = start_daemon(**settings)
        report_many(daemon, "llm", 300)
        page = look(daemon, **PHONE)
        page.wait_for_text(headline, "#verdict")
        page.wait_for_text(why, "#lead")

    def look_again():
        daemon.app.status._answers.clear()
        page.run("document.dispatchEvent(new Event('visibilitychange'))")

    (window,) = daemon.app.monitor.reported_windows()
    window.load.outcomes[Objective.BALANCED] = ObjectiveOutcome(0.0, 1.0, 1.0, 1.0, None, None)
    look_again()
    page.wait_for_text("overtaking would gain nothing", "#order-said")
    daemon.call(daemon.app.monitor.pin, "llm", "tiny@1.0.0", GuardMode.FALLBACK, time.time() + 60, time.time())
    look_again()
    page.wait_for_text("Pinned: fallback", "#verdict")
    assert "an administrator fixed the mode" in page.text("#guard-changes")
    daemon.call(daemon.app.streams.drain)
    look_again()
    page.wait_for_text("Not ready: draining", "#verdict")


def test_what_objectives_gain_and_prompts_cost_is_shown_live(look, start_daemon):
    """In a sentence, beside what other objectives would gain, with the intervals of what was learned."""
    daemon = start_daemon()
    report_many(daemon, "llm", 300)
    load = daemon.app.monitor.reported_windows()[0].load
    load.outcomes[Objective.TAIL] = ObjectiveOutcome(0.02, 0.81, 1.08, 0.74, None, None)
    load.outcomes[Objective.BALANCED] = ObjectiveOutcome(0.05, 0.62, 1.21, 0.31, None, None)
    load.prompt_cost = 0.26
    load.costs = ServiceCosts(
        CostEstimate(1e-4, 0.95e-4, 1.06e-4), CostEstimate(0.02, 0.019, 0.021), CostEstimate(0.0, 0.0, 0.1), 52.0, 900
    )
    load.tuned_at = 10_000
    page = look(daemon, **DESK)
    gains = "replaying the last 2,000 completions, mean E2E latency 0.62 times that of arrival order, p99 1.21 times"
    page.wait_for_text(gains, "#order-said")
    shown = page.text("#order")
    assert gains in shown
    assert "0.26 output tokens, as learned" in shown
    assert "(95 µs to 106 µs) a prompt token" in shown
    table = page.text("#objectives")
    assert "balanced, followed" in table
    assert "0.81" in table
    page = look(daemon, **PHONE)
    page.wait_for_text(gains, "#order-said")
    assert page.run("document.documentElement.scrollWidth <= innerWidth")


def test_prompts_alone_are_said_to_order(look, start_daemon):
    """Instead of arrival order in fallback, or of work while ranked."""
    daemon = start_daemon(guard={"min_known": 250, "dwell": 0.0})
    report_many(daemon, "llm", 300)
    (window,) = daemon.app.monitor.reported_windows()
    proven = PromptStanding(proven=True, better=True, tau_low=0.3)

    def stand(mode, cause):
        window.guard.adopt(GuardStanding(mode, 0.0, cause, 60.0, 0.0, 0, 0.2, proven), time.time())
        daemon.app.status._answers.clear()

    daemon.call(stand, GuardMode.FALLBACK, GuardReason.QUALITY)
    page = look(daemon, **DESK)
    page.wait_for_text("Ordered by prompt lengths alone: the ranker is not trusted", "#verdict")
    assert "prompt lengths alone" in page.text("#order")
    daemon.call(stand, GuardMode.RANKED, None)
    page.wait_for_text("Ordered by prompt lengths alone: scores do not improve that", "#order-said")


def test_names_that_callers_choose_are_text(look, start_daemon):
    """A model's and a tenant's name full of markup is shown as it is, does nothing, and turns no text around."""
    daemon = start_daemon()
    report_many(daemon, HOSTILE, 300)
    report_many(daemon, "other", 10)
    with RankClient(daemon.target, model=HOSTILE, timeout=30) as client:
        client.rank([Item("a", request_id="1", tenant=HOSTILE), Item("b", request_id="2", tenant="b")])
    page = look(daemon, **PHONE)
    page.live()
    shown = HOSTILE.replace("\u202e", "\ufffd")
    for place in ("#about", "#models", "#tenants", "#chart-tau title"):
        assert page.run(f"document.querySelector('{place}').textContent").count(shown), place
    assert page.run("document.querySelectorAll('main img, main script, [onerror]').length") == 0
    assert page.run("document.documentElement.scrollWidth") <= 375
    plain = look(daemon, script=False, **PHONE)
    assert "onerror=alert(1)" in plain.text("#plain")
    assert plain.run("document.querySelectorAll('main img, main script, [onerror]').length") == 0


def test_without_javascript_the_facts_are_there(look, busy):
    """The table that the daemon writes, and no promise that nobody keeps."""
    page = look(busy, script=False, **PHONE)
    text = page.text()
    assert "ready" in text
    assert "guard llama-3.1-8b-instruct" in text
    assert f"{COMPLETIONS + OTHERS:,} accepted" in text
    assert page.run("document.getElementById('live').hidden && document.getElementById('bar').hidden")
    assert page.run("document.documentElement.scrollWidth") <= 375


def test_it_says_when_the_daemon_is_gone_and_goes_on_when_it_is_back(chromium, tiny):
    """The last figures stay, with since when; a daemon that was restarted is found, and named as restarted."""
    first = Daemon(ranker=tiny)
    page = chromium.open(first.http + "/", **DESK)
    page.live()
    page.run("window.same = true")
    port = first.app.http.port
    first.stop()
    page.wait_for_text("Not reachable since", "#link")
    assert "warming up" in page.text("#order-tiles")
    second = Daemon(ranker=tiny, metrics=f"127.0.0.1:{port}")
    try:
        page.wait_for_text("Restarted at", "#link")
        assert page.run("window.same && document.body.dataset.link === 'up'")
        page.complaints.clear()  # that it was not reachable, the browser tells too
        assert "Not reachable" not in page.text()
    finally:
        page.close()
        second.stop()


def test_terms_are_reached_by_keyboard(look, busy):
    """Tab leads to each explanation and table, in the order of the page, and Enter opens it."""
    page = look(busy, **DESK)
    page.live()
    reached = []
    for _ in range(60):
        page.press("Tab")
        if page.run("document.activeElement.matches('footer *')"):
            break
        if page.run("document.activeElement.matches('summary')"):
            reached.append(page.run("document.activeElement.closest('section').querySelector('h2').innerText"))
            if not page.run("document.activeElement.parentNode.open"):
                page.press("Enter")
    cards = [
        "What ranking saves",
        "How good is the order",
        "Guard history",
        "What orders the queue",
        "Traffic",
        "How answers came about",
    ]
    assert list(dict.fromkeys(reached)) == [*cards, "Latency by stage", "Rankers", "All served models"]
    assert page.run("[...document.querySelectorAll('summary')].every((s) => !s.checkVisibility() || s.parentNode.open)")
    assert "how much more often does the ranker put them in the right order" in page.text()


def test_another_model_and_the_long_span_are_a_choice_away_and_stay_in_the_address(look, busy):
    """The second model's verdict shows when it is chosen; a page opened with this address shows it at once."""
    page = look(busy, **DESK)
    page.live()
    page.wait_for_text("Learning what ranking saves", "#verdict")
    page.run(
        "const s = document.getElementById('window'); s.selectedIndex = 1; s.dispatchEvent(new Event('change')); "
        "document.querySelector('[data-span=long]').click()"
    )
    page.wait_for_text("Arrival order", "#verdict")
    assert "tau was surely below the floor" in page.text("#guard-changes")
    assert "last 12 h" in page.text("button[aria-pressed=true]")
    again = look(busy, "/" + page.run("location.hash"), **DESK)
    again.live()
    again.wait_for_text("Arrival order", "#verdict")


def test_it_asks_nothing_while_it_is_paused_or_hidden(look, busy):
    """A page that nobody looks at is no load; it asks again as soon as it is looked at."""
    hide = "Object.defineProperty(document, 'hidden', {value: true, configurable: true})"
    unhide, tell = "delete document.hidden", "document.dispatchEvent(new Event('visibilitychange'))"
    press = "document.getElementById('pause').click()"
    paused, hidden = look(busy, **DESK), look(busy, **PHONE)

    def asked(page):
        return len([url for url in page.asked if "status.json" in url])

    for page, leave in ((paused, press), (hidden, f"{hide}; {tell}")):
        page.live()
        page.run(leave)
    for page in (paused, hidden):  # what was under way ends; by the page's own clock, as it may be late
        page.run("new Promise((done) => { setTimeout(() => done(true), 300); })")
    before = [asked(paused), asked(hidden)]
    time.sleep(2.6)
    assert [asked(paused), asked(hidden)] == before
    assert "Paused" in paused.text("#link")
    for page, back in ((paused, press), (hidden, f"{unhide}; {tell}")):
        page.run(back)
    end = time.monotonic() + 60
    while [asked(paused), asked(hidden)] == before:
        assert time.monotonic() < end
        time.sleep(0.02)
    assert "Live" in paused.text("#link")
