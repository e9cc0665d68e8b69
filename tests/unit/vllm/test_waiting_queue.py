"""The waiting queue of rankd-vllm's scheduler, called as vLLM calls it."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rankd_client.ordering import OrderColumns, Policy, Rules, order_queue
from rankd_client.v1.prediction_pb2 import Prediction
from rankd_vllm.waiting_queue import RankedRequests


@dataclass(eq=False)
class Request:
    """What the queue reads of vLLM's request."""

    request_id: str
    arrival_time: float
    priority: int = 0
    num_output_tokens: int = 0
    max_tokens: int = 1000
    num_tokens: int = 8


RULES = st.builds(
    Rules,
    policy=st.sampled_from(Policy),
    patience=st.sampled_from([0.0, 0.1, 5.0]),
    wait_cap=st.sampled_from([float("inf"), 3.0]),
    overtake_cap=st.sampled_from([0, 2]),
    prompt_cost=st.sampled_from([0.0, 0.2]),
    prior_expected=st.sampled_from([None, 40.0]),
)


class Story:
    """A queue through which things happen, and who is in it. What is cached of a prompt is another at every look."""

    def __init__(self, rules):
        looks = itertools.count()
        self.queue, self.inside, self.now, self.rules, self.number = (
            RankedRequests(lambda _: next(looks) % 9),
            {},
            0.0,
            rules,
            0,
        )

    def add(self, value):
        self.number += 1
        request = Request(str(self.number), self.now - value, priority=value % 3)
        self.inside[request.request_id] = request
        self.queue.add_request(request)

    def begin_iteration(self, value):
        self.now += value
        self.queue.begin_iteration(self.now)
        self.queue.look_up_cached()

    def change_rules(self, value):
        self.queue.rules = self.rules[value]

    def pop(self, _):
        first = self.queue.peek_request()
        assert self.queue.pop_request() is first
        del self.inside[first.request_id]
        return first

    def skip(self, value):
        first = self.pop(value)
        self.queue.prepend_requests([first])
        self.inside[first.request_id] = first

    def peek(self, _):
        assert self.queue.peek_request().request_id in self.inside

    def drop(self, value):
        request = list(self.inside.values())[value % len(self.inside)]
        self.queue.remove_requests({request, Request("stranger", 0.0)})
        del self.inside[request.request_id]

    def predict(self, value):
        request_id = list(self.inside)[value % len(self.inside)]
        self.queue.predict(request_id, Prediction(score=value, expected_token_count=10.0 * value))


ALWAYS, WHERE_SOMEBODY_WAITS = ["add", "begin_iteration", "change_rules"], ["pop", "skip", "peek", "drop", "predict"]
ACTIONS = st.lists(st.tuples(st.sampled_from(ALWAYS + WHERE_SOMEBODY_WAITS), st.integers(0, 9)), max_size=40)


@given(ACTIONS, st.lists(RULES, min_size=10, max_size=10))
def test_nobody_is_lost_and_who_is_peeked_at_is_popped(actions, rules):
    """Whatever is called between: vLLM allocates for whom it peeked at, and relies on the same being popped."""
    story = Story(rules)
    for action, value in actions:
        if story.inside or action in ALWAYS:
            getattr(story, action)(value)
        assert len(story.queue) == len(story.inside)
        assert bool(story.queue) is bool(story.inside)
    assert {r.request_id for r in story.queue} == set(story.inside)
    while story.queue:
        story.pop(0)
    assert not story.inside
    with pytest.raises(IndexError):
        story.queue.peek_request()


ROW = st.tuples(
    st.integers(0, 5), st.integers(1, 9), st.sampled_from([0, 0, 1, 2**41]), st.integers(1, 900), st.integers(0, 300)
)


@given(RULES, st.lists(ROW, max_size=12))
def test_it_pops_what_order_queue_lists(rules, rows):
    """The order is that of the daemon's own code; a client's small priority is a class, a serving key is none."""
    # Without a prior BOOST measures by the average of what waits, which changes as requests leave.
    rules = replace(rules, overtake_cap=0, prior_expected=rules.prior_expected or 50.0)
    queue = RankedRequests(lambda request: rows[int(request.request_id)][4])
    queue.rules = rules
    queue.begin_iteration(6.0)
    for number, (arrival, length, priority, prompt, _) in enumerate(rows):
        request = Request(str(number), float(arrival), priority=priority, num_tokens=prompt)
        queue.predictions[request.request_id] = Prediction(score=length, expected_token_count=10.0 * length)
        queue.add_request(request)
    columns = OrderColumns(
        request_ids=[str(n) for n in range(len(rows))],
        arrival=np.array([float(a) for a, *_ in rows]),
        score=np.array([float(length) for _, length, *_ in rows]),
        expected=np.array([10.0 * length for _, length, *_ in rows]),
        max_tokens=np.full(len(rows), 1000.0),
        priority_class=np.array([p if p < 100 else 0 for _, _, p, *_ in rows], dtype=np.int64),
        prompt_tokens=np.array([float(row[3]) for row in rows]),
        cached_prompt_tokens=np.array([float(row[4]) for row in rows]),
    )
    expected = [str(i) for i in order_queue(columns, rules, now=6.0).order] if rows else []
    assert [queue.pop_request().request_id for _ in range(len(rows))] == expected


def by_work(**more):
    """Rules under which prompts count."""
    return Rules(Policy.SCORE, prior_expected=50.0, prompt_cost=0.1, **more)


def test_prompts_are_work_before_any_score_is_there():
    """How long a prompt is, is known at once; of one that the engine holds nothing is to be read."""
    cached = {"long": 0, "short": 0, "held": 3990}
    queue = RankedRequests(lambda request: cached[request.request_id])
    queue.rules = by_work()
    for number, (name, prompt) in enumerate({"long": 4000, "short": 300, "held": 4000}.items()):
        queue.add_request(Request(name, float(number), num_tokens=prompt))
    assert [queue.pop_request().request_id for _ in cached] == ["held", "short", "long"]


def test_what_is_cached_is_looked_up_again_in_turn():
    """A few at each iteration, all of them in the end: others leave their blocks in the cache and take them away."""
    cached, asked = {}, []

    def look(request):
        asked.append(request.request_id)
        return cached.get(request.request_id, 0)

    queue = RankedRequests(look)
    queue.rules = by_work()
    for number in range(20):
        queue.add_request(Request(f"{number:02d}", float(number), num_tokens=1000))
    assert queue.peek_request().request_id == "00"
    cached["19"] = 900
    asked.clear()
    while len(asked) < 20:
        before = len(asked)
        queue.look_up_cached()
        assert before < len(asked) <= before + 8, "an iteration must not get longer with the queue"
    assert set(asked) == {f"{number:02d}" for number in range(20)}
    assert queue.peek_request().request_id == "19"
    cached.clear()
    for _ in range(20):
        queue.look_up_cached()
    assert queue.peek_request().request_id == "00"


def test_nobody_is_looked_up_where_prompts_cost_nothing():
    """The order would be the same."""
    asked = []
    queue = RankedRequests(lambda request: asked.append(request.request_id) or 0)
    queue.rules = Rules(Policy.SCORE, prior_expected=50.0)
    queue.add_request(Request("a", 0.0))
    asked.clear()
    queue.look_up_cached()
    assert not asked


def test_a_queue_that_cannot_be_ordered_goes_by_arrival(monkeypatch, caplog):
    """Should the ordering fail, the engine goes on, in arrival order."""
    queue = RankedRequests()
    for number in (2, 0, 1):
        queue.add_request(Request(str(number), float(number)))
    monkeypatch.setattr(queue._queue, "peek", lambda _: 1 / 0)
    assert [queue.pop_request().request_id for _ in range(3)] == ["0", "1", "2"]
    assert caplog.text.count("could not be ordered") == 1
