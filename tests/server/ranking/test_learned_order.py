"""What was learned of traffic orders it, over the wire: in calls, in streams, beside predictions of before."""

import random

import pytest
from rankd_client import Completed, Item, RankClient

LONG, SHORT = "zolmer", "quibbet"
"""Invented words, which no ranker was trained on: answers to prompts with the one are ten times as long."""
VERBS = ("describe", "name", "compare", "list", "explain")
THINGS = ("rivers", "the harbour", "three bridges", "old clocks", "a garden", "winter birds", "stone walls", "maps")


class Traffic:
    """Prompts of either kind, some at a time."""

    def __init__(self, client):
        self._client, self._draw, self._number = client, random.Random(1), 0

    def items(self, words):
        """Requests with these words."""
        for word in words:
            self._number += 1
            begin, end = (f"{self._draw.choice(VERBS)} {self._draw.choice(THINGS)}" for _ in range(2))
            yield Item(f"{begin} {word} {end}", f"{word}-{self._number}", arrival=1000.0)

    def serve(self, count):
        """Rank and report so many requests."""
        items = list(self.items(self._draw.choice((LONG, SHORT)) for _ in range(count)))
        done = [
            Completed(r.request_id, r.prediction, round(self._draw.lognormvariate(6.0 if long else 3.5, 0.5)))
            for r in self._client.rank(items)
            for long in [r.request_id.startswith(LONG)]
        ]
        assert self._client.report(done, timeout=30).accepted == count


@pytest.fixture
def client(start_daemon):
    """Of a daemon that orders by score, and that learned of some requests, but does not use it yet."""
    daemon = start_daemon(ranker="ngram", order={"policy": "score"}, guard={"enabled": False})
    with RankClient(daemon.target, model="m", timeout=30) as client:
        client.daemon = daemon
        client.traffic = Traffic(client)
        yield client


def learn(client, wait_until):
    """Serve until what was learned orders."""
    jobs = client.daemon.app.monitor.jobs
    for _ in range(60):
        client.traffic.serve(32)
        (window,) = client.daemon.app.monitor.reported_windows()
        wait_until(lambda w=window: not jobs.adaptations.flight(w) and not jobs.switches.flight(w), what="what was due")
        if window.learned_in_use:
            client.traffic.serve(320)  # reported in the order in which it was served: short answers first
            return
    raise AssertionError("it was not taken into use")


def kinds(ids):
    return [i.split("-")[0] for i in ids]


def test_learned_scores_order_where_they_are_in_use(client, wait_until):
    """In a call, in its echo and in a stream; beside predictions of before the switch, expected lengths do."""
    before = client.rank(client.traffic.items([LONG, SHORT]))
    assert all(r.prediction.features and not r.prediction.HasField("learned_score") for r in before)
    learn(client, wait_until)

    words, right = [LONG, SHORT] * 6, [SHORT] * 6 + [LONG] * 6
    queue = client.rank(client.traffic.items(words))
    assert kinds(r.request_id for r in queue) == right
    assert all(r.prediction.HasField("learned_score") for r in queue)
    learned = [r.prediction.learned_score for r in queue]
    assert learned == sorted(learned)
    assert [r.score for r in queue] != sorted(r.score for r in queue), "the ranker's own score stays what it is"
    expected = [r.expected_tokens for r in queue]
    assert expected[0] < 100
    assert expected[-1] > 200

    again = client.rank(Item(prediction=r.prediction, request_id=r.request_id, arrival=1000.0) for r in queue)
    assert [(r.request_id, r.prediction) for r in again] == [(r.request_id, r.prediction) for r in queue]
    mixed = client.rank(
        Item(prediction=r.prediction, request_id=r.request_id, arrival=1000.0) for r in [*queue, *before]
    )
    lengths = [r.expected_tokens for r in mixed]
    assert lengths == sorted(lengths)

    with client.stream() as stream:
        ids = stream.step(client.traffic.items(words), max_wait=10)
        assert kinds(ids) == right
        assert all(stream.prediction(i).HasField("learned_score") for i in ids)
        assert stream.step() == ids


def test_a_stream_is_ordered_anew_when_what_was_learned_is_taken_into_use(client, wait_until):
    """Its last answer rests on the ranker's own scores: what arrives from then on has learned ones."""
    with client.stream() as stream:
        first = stream.step(client.traffic.items([LONG, SHORT]), max_wait=10)
        assert stream.step() == first
        learn(client, wait_until)
        ids = stream.step(client.traffic.items([LONG, SHORT] * 3), max_wait=10)
        new = [i for i in ids if i not in first]
        assert kinds(new) == [SHORT] * 3 + [LONG] * 3
        assert {stream.prediction(i).HasField("learned_score") for i in new} == {True}
        assert {stream.prediction(i).HasField("learned_score") for i in first} == {False}
        lengths = [stream.prediction(i).expected_token_count for i in ids]
        assert lengths == sorted(lengths)
