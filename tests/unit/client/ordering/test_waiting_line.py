"""Long queues, of which only the first are lined up: who goes next is whom order_queue lists first, always."""

import random

import numpy as np
import pytest
from rankd_client.ordering import OrderColumns, Policy, Rules, WaitingQueue, order_queue


class Story:
    """A queue, and beside it what is known of those who wait."""

    def __init__(self, rules, seed, *, tied):
        self.random, self.rules, self.tied = random.Random(seed), rules, tied
        self.queue, self.inside, self.count = WaitingQueue(rules), {}, 0

    def add(self):
        arrival = 5.0 if self.tied else self.random.uniform(0, 50)
        row = (arrival, self.length(), self.random.choice([0, 0, 0, 1]))
        request_id = f"{self.random.randrange(10**6)}-{self.count}"
        self.count += 1
        self.inside[request_id] = row
        self.queue.add(request_id, row[0], expected=row[1], priority_class=row[2])

    def length(self):
        return 30.0 if self.tied else float(self.random.randrange(1, 400))

    def predict(self):
        request_id = self.random.choice(list(self.inside))
        arrival, _, of_class = self.inside[request_id]
        self.inside[request_id] = arrival, self.length(), of_class
        self.queue.predict(request_id, expected=self.inside[request_id][1])

    def remove(self):
        request_id = self.random.choice(list(self.inside))
        del self.inside[request_id]
        self.queue.remove(request_id)

    def pop(self):
        del self.inside[self.queue.pop(60.0)]

    def change(self):
        self.queue.rules = self.rules = Rules(
            self.rules.policy, patience=self.random.choice([0.01, 0.1]), prior_expected=50.0
        )

    def first(self):
        rows = list(self.inside.items())
        columns = OrderColumns(
            [request_id for request_id, _ in rows],
            np.array([row[0] for _, row in rows]),
            np.full(len(rows), np.nan),
            np.array([row[1] for _, row in rows]),
            priority_class=np.array([row[2] for _, row in rows]),
        )
        return rows[int(order_queue(columns, self.rules, now=60.0).order[0])][0]


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("policy", [Policy.BOOST, Policy.FCFS, Policy.SCORE])
def test_the_first_in_line_is_the_first_in_order(policy, tied):
    """While hundreds wait, some come, leave, are predicted or served, and rules change; down to the last one."""
    story = Story(Rules(policy, patience=0.1, prior_expected=50.0), seed=3, tied=tied)
    for _ in range(600):
        story.add()
    assert story.queue.peek(60.0) == story.first()
    for _ in range(300):
        story.random.choice([story.add, story.predict, story.remove, story.pop, story.pop])()
        if story.random.random() < 0.02:
            story.change()
        assert story.queue.peek(60.0) == story.first()
    for _ in range(len(story.inside)):
        if len(story.inside) % 7 == 0:
            assert story.queue.peek(60.0) == story.first()
        story.pop()
    assert not story.inside
    assert not len(story.queue)


def test_it_forgets_who_has_left():
    """Those who come and leave again do not pile up."""
    queue = WaitingQueue(Rules(patience=0.1, prior_expected=50.0))
    for number in range(8):
        queue.add(f"stays{number}", 1.0, expected=10.0)
    for number in range(3000):
        queue.add(f"goes{number}", 2.0, expected=500.0)
        queue.peek(3.0)
        queue.remove(f"goes{number}")
    assert len(queue._line._heap) < 500
