"""A daemon learns its traffic while it serves: into use, over a restart, and back when it no longer holds."""

import random
import urllib.request

import numpy as np
import pytest
from rankd_client import Completed, Item, RankClient
from support.daemon import Daemon

VERBS = ("describe", "name", "compare", "list", "explain")
THINGS = ("rivers", "the harbour", "three bridges", "old clocks", "a garden", "winter birds", "stone walls", "maps")
LONG, SHORT = "zolmer", "quibbet"
"""Invented words: no ranker was trained on what they mean."""


def prompt(draw: random.Random, word: str) -> str:
    """A small one whose length of answer is decided by one word."""
    return f"{draw.choice(VERBS)} {draw.choice(THINGS)} {word} {draw.choice(VERBS)} {draw.choice(THINGS)}"


class Traffic:
    """Requests of one client, ranked some at a time, each reported when it ended."""

    def __init__(self, seed: int) -> None:
        self.draw, self.number = random.Random(seed), 0

    def serve(self, daemon: Daemon, count: int, *, inverted: bool = False) -> None:
        """So many requests more; ``inverted``: the word of long answers is now that of short ones."""
        with RankClient(daemon.target, model="m", timeout=30) as client:
            for _ in range(count // 32):
                self._queue(client, inverted)

    def _queue(self, client: RankClient, inverted: bool) -> None:
        words = [self.draw.choice((LONG, SHORT)) for _ in range(32)]
        items = [Item(prompt(self.draw, word), f"id-{self.number + n}") for n, word in enumerate(words)]
        queue = client.rank(items)
        assert not queue.failed, queue.reason
        lengths = [self._length((word == LONG) is not inverted) for word in words]
        result = client.report(Completed(r.request_id, r.prediction, lengths[r.index]) for r in queue)
        assert result.accepted == 32, result
        self.number += 32

    def _length(self, long: bool) -> int:
        return max(1, int(self.draw.lognormvariate(6.0 if long else 3.5, 0.5)))


def window(daemon: Daemon):
    """The window of its model."""
    (found,) = daemon.app.monitor.reported_windows()
    return found


def until(daemon: Daemon, traffic: Traffic, learned: bool, most: int, wait_until, *, turns: int = 0) -> int:
    """Serve until learned scores are in use, or are not; say how many reports it took.

    With ``turns`` the meaning of both words turns round at once, and again after so many reports.
    """
    jobs = daemon.app.monitor.jobs

    def idle() -> bool:
        return not jobs.adaptations.flight(window(daemon)) and not jobs.switches.flight(window(daemon))

    for served in range(0, most, 32):
        if window(daemon).learned_in_use is learned:
            return served
        traffic.serve(daemon, 32, inverted=bool(turns) and served // turns % 2 == 0)
        wait_until(idle, what="what was due")
    return most


def share_in_order(daemon: Daemon, traffic: Traffic) -> float:
    """Of pairs of a long and a short answer in one queue, those with the short one first."""
    words = [LONG, SHORT] * 12
    with RankClient(daemon.target, model="m", timeout=30) as client:
        queue = client.rank(Item(prompt(traffic.draw, word)) for word in words)
    place = {r.index: n for n, r in enumerate(queue)}
    return float(np.mean([place[s] < place[g] for s in range(1, 24, 2) for g in range(0, 24, 2)]))


@pytest.fixture
def settings(tmp_path):
    """A daemon with the n-gram ranker, a file for its windows, and a guard that need not wait."""
    return {
        "ranker": "ngram",
        "quality": {"snapshot": tmp_path / "windows.npz"},
        "guard": {"dwell": 0.0},
        "order": {"policy": "score"},
    }


def test_a_daemon_learns_one_words_meaning_keeps_it_over_a_restart_and_steps_back(
    start_daemon, settings, wait_until, tmp_path
):
    """From base to learned within some hundred reports, on after a restart, back where lengths turn round and round."""
    traffic, first = Traffic(1), start_daemon(**settings)
    traffic.serve(first, 32)
    assert not window(first).learned_in_use
    assert until(first, traffic, True, 800, wait_until) < 800
    traffic.serve(first, 320)
    wait_until(lambda: window(first).guard.mode.value == "ranked", what="the guard, by learned scores")
    assert share_in_order(first, traffic) > 0.95
    assert "rankd_adaptation_switches_total" in metrics(first)
    completions, first_switches = window(first).tracker.completions, window(first).adaptation.status.switches
    first.stop()
    data = (tmp_path / "windows.npz").read_bytes()
    assert not any(word.encode() in data for word in (LONG, SHORT, *THINGS))

    second = start_daemon(**settings)
    assert window(second).tracker.completions == completions
    assert window(second).learned_in_use
    assert window(second).adaptation.status.switches == first_switches
    assert share_in_order(second, traffic) > 0.95
    assert until(second, traffic, False, 2400, wait_until, turns=64) < 2400
    assert not second.app.monitor.trust("m", window(second).ranker_version).learned_in_use


def metrics(daemon: Daemon) -> str:
    """Its metrics page."""
    return urllib.request.urlopen(f"{daemon.http.rstrip('/')}/metrics", timeout=30).read().decode()


def test_switched_off_nothing_is_learned_and_predictions_carry_nothing(start_daemon, settings):
    """As before there was anything to learn."""
    traffic, daemon = Traffic(2), start_daemon(**settings | {"adapt": {"enabled": False}})
    traffic.serve(daemon, 320)
    assert window(daemon).adaptation is None
    with RankClient(daemon.target, model="m", timeout=30) as client:
        (ranked,) = client.rank([Item(prompt(traffic.draw, LONG))])
    assert not ranked.prediction.features


def test_a_shadow_and_a_promotion_know_base_scores_alone(start_daemon, settings, wait_until):
    """While learned scores order, a prediction's score is still the ranker's own; a promotion begins with nothing."""
    traffic, daemon = Traffic(3), start_daemon(**settings)
    traffic.serve(daemon, 32)
    assert until(daemon, traffic, True, 800, wait_until) < 800
    before = window(daemon)
    with RankClient(daemon.target, model="m", timeout=30) as client:
        (ranked,) = client.rank([Item(text := prompt(traffic.draw, LONG))])
    scorer = daemon.scorer
    (known,) = daemon.call(scorer.known, [scorer.cut(text)])
    assert ranked.prediction.score == known.score
    assert ranked.prediction.learned_score != pytest.approx(known.score)
    daemon.call(lambda: daemon.app.monitor.begin_anew(before.ranker_version, trusted=True, calibrations={}))
    assert daemon.app.monitor.reported_windows() == []
    traffic.serve(daemon, 32)
    assert window(daemon).adaptation is not before.adaptation
    assert not window(daemon).learned_in_use
