"""What was learned, on the page."""

import time

from support.browser import DESK, PHONE, violations
from support.learned_standing import hold_back, taught, teach
from support.wire import report_many


def test_what_was_learned_has_a_tile_that_says_whether_it_orders(look, start_daemon):
    """In use, and what it is worth; held back, and stepped back, in words of their own; none where nothing is."""
    daemon = start_daemon()
    report_many(daemon, "llm", 32)
    page = look(daemon, **DESK)
    page.wait_for_text(
        "too few completions to say whether it orders better; from 0 completions, 32 left out", "#order-tiles"
    )
    window = teach(daemon, "llm", taught())

    def look_again():
        daemon.app.status._answers.clear()
        page.run("document.dispatchEvent(new Event('visibilitychange'))")

    look_again()
    status = window.adaptation.status
    page.wait_for_text("in use since", "#order-tiles")
    page.wait_for_text(f"+{status.difference.value:.2f}", "#order-tiles")
    shown = page.text("#order-tiles")
    assert f"tau {status.learned_tau.value:.2f} against the ranker's {status.base_tau.value:.2f}" in shown
    assert violations(page) == []
    hold_back(daemon, window)
    look_again()
    page.wait_for_text("better, and comes into use when no pilot is under way", "#order-tiles")
    daemon.call(window.adaptation.follow, False, time.time())
    look_again()
    page.wait_for_text("stepped back at", "#order-tiles")
    plain = start_daemon(adapt={"enabled": False})
    report_many(plain, "llm", 20)
    page = look(plain, **PHONE)
    page.live()
    assert "Learned" not in page.text("#order-tiles")
