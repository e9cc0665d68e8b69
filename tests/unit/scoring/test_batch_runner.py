"""Several workers on one queue, on a clock that the test turns."""

import math
import time
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples
from support.tiny_ranker import WORDS, make_artifact
from support.virtual_time import TimedModel, VirtualLoop

from rankd.errors import InferenceError
from rankd.registry.artifact import load_artifact
from rankd.scoring.batch_queue import URGENT_SECONDS, BatchQueue, CallWaiter, QueuedPrompt
from rankd.scoring.batch_runner import BatchRunner
from rankd.scoring.onnx_model import OnnxModel, pad
from rankd.scoring.session import ModelSpec, SessionOptions
from rankd.scoring.workers import ModelWorkers
from rankd.telemetry.telemetry import Telemetry
from rankd.types import Reason

PACE = 1e-3
"""Seconds that the model takes per token."""
BAD = WORDS.index("w50")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    artifact = load_artifact(make_artifact(tmp_path_factory.mktemp("ranker")))
    spec = ModelSpec(str(artifact.model_path), ("input_ids", "attention_mask"), "score", 64, artifact.model)
    return OnnxModel(spec, SessionOptions("cpu"))


class Bench:
    """A runner, its queue, and what came out of it."""

    def __init__(self, loop, model, workers, **limits):
        self.loop, self.done, self.found = loop, [], {}
        self.model = TimedModel(model, loop, PACE, BAD)
        options = {"max_tokens": 32, "max_prompts": 64, "max_padding_share": 1.0} | limits
        self.queue = BatchQueue(64, **options)

        async def make():
            return BatchRunner(self.queue, self.model, ModelWorkers(workers, 0), Telemetry("0"), self._take)

        self.runner = loop.run_until_complete(make())
        self.batches = []

    def _take(self, entries, found):
        self.batches.append(entries)
        for n, entry in enumerate(entries):
            assert entry not in self.found
            self.found[entry] = None if found is None else found[n].score
            entry.decide(Reason.RANKER_UNAVAILABLE if found is None else found[n])

    def add(self, ids, deadline=math.inf):
        entry = QueuedPrompt(bytes(8), None, len(ids), ids=np.array(ids, dtype=np.int64))
        entry.join(CallWaiter(deadline, self.loop.create_future()))
        self.runner.demand.count(entry, self.loop.now)
        self.queue.add(entry)
        return entry

    def pump(self, running):
        """Hand over what may be, and wait until so many run."""
        self.runner.pump()
        self.loop.until(lambda: len(self.model.running) == running)

    def end_next(self):
        """Turn the clock to the end of the batch that ends first, and let it."""
        end, _, release = min(self.model.running, key=lambda r: r[0])
        before = len(self.batches)
        self.loop.now = max(self.loop.now, end)
        release.set()
        self.loop.until(lambda: len(self.batches) > before)

    def learn_pace(self):
        """One batch, after which the pace is known."""
        self.add([4] * 4)
        self.pump(1)
        self.end_next()


@contextmanager
def bench(model, workers, **limits):
    loop = VirtualLoop()
    made = Bench(loop, model, workers, **limits)
    try:
        yield made
    finally:
        made.model.let_go()
        made.runner._workers.shutdown(cancel_futures=True)
        loop.close()


prompts = st.lists(st.lists(st.sampled_from([4, 5, 6, BAD]), min_size=1, max_size=40), min_size=1, max_size=40)


@settings(max_examples=examples(100), deadline=None)
@given(prompts, st.integers(1, 4))
def test_every_prompt_is_read_once_by_as_many_workers_as_can_be(model, rows, workers):
    """None is idle while something waits; a batch that fails fails its own prompts; scores are the model's own."""
    with bench(model, workers) as b:
        entries = [b.add(row) for row in rows]
        b.runner.pump()
        while len(b.found) < len(entries):
            handed = len(b.runner._batches)
            assert handed <= 2 * workers
            assert handed >= min(workers, len(b.queue) + handed)
            b.loop.until(lambda: len(b.model.running) == min(workers, len(b.runner._batches)))
            b.end_next()
        assert b.model.most <= workers
        assert b.runner.counts.scored + sum(score is None for score in b.found.values()) == len(entries)
        for batch in b.batches:
            failed = any(BAD in row for row in (rows[entries.index(e)] for e in batch))
            for entry in batch:
                alone = model.run(*pad([np.array(rows[entries.index(entry)], dtype=np.int64)]))[0]
                assert b.found[entry] is None if failed else b.found[entry] == pytest.approx(alone, abs=1e-4)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 4))
def test_what_is_promised_by_a_deadline_is_read_by_then(model, lengths, workers):
    """Of all workers: what they have in hand comes first, and they read no more than that in the time."""
    with bench(model, workers) as b:
        b.learn_pace()
        for length in lengths:
            b.add([4] * length)
        b.runner.pump()
        now, handed = b.loop.now, sum(batch.ids.size for batch in b.runner._batches)
        b.loop.until(lambda: len(b.model.running) == min(workers, len(b.runner._batches)))
        assert b.runner.tokens_until(now) == (0, pytest.approx((now - b.runner._free_at(now)[0]) / PACE))
        far = now + 10.0
        tokens, longest = b.runner.tokens_until(far)
        assert tokens == pytest.approx(workers * 10.0 / PACE - handed)
        assert tokens / workers <= longest * (1 + 1e-9) <= 10.0 / PACE * (1 + 1e-9)


def test_a_call_is_divided_among_idle_workers(model):
    """Two batches for two, of which each is as long as half of it; one for one."""
    for workers, sizes in ((1, [24]), (2, [12, 12]), (3, [8, 8, 8])):
        with bench(model, workers) as b:
            for _ in range(6):
                b.add([4] * 4)
            b.pump(workers)
            assert [batch.ids.size for batch in b.runner._batches] == sizes


def test_batches_are_whole_where_much_waits(model):
    """Of a long queue no batch is made small: all workers have enough to do."""
    with bench(model, 3) as b:
        for _ in range(200):
            b.add([4] * 4)
        b.pump(3)
        assert [batch.ids.size for batch in b.runner._batches] == [32] * 6


def test_an_urgent_prompt_waits_for_the_worker_that_is_free_first(model):
    """It leads the next batch, before what came earlier."""
    with bench(model, 2) as b:
        b.learn_pace()
        for _ in range(60):
            b.add([4] * 8)
        b.pump(2)
        lined_up = list(b.runner._batches)[2:]
        urgent = b.add([5, 4], b.loop.now + URGENT_SECONDS / 2)
        for batch in lined_up:
            b.end_next()
            b.loop.until(lambda batch=batch: batch.began)
        assert urgent in [e for batch in list(b.runner._batches)[2:] for e in batch.entries]


def test_a_batch_that_hangs_keeps_no_other_waiting(model):
    """The rest goes on in the other worker; the one that hangs is not counted on, and it alone is given up."""
    with bench(model, 2) as b:
        b.learn_pace()
        hung = b.add([4] * 32)
        b.pump(1)
        _, thread, release = b.model.running[0]
        for _ in range(10):
            b.add([5] * 32)
        for _ in range(10):
            b.pump(2)
            b.model.running.sort(key=lambda r: r[1] == thread)
            before = len(b.batches)
            b.loop.now += 0.5
            b.model.running[0][2].set()
            b.loop.until(lambda before=before: len(b.batches) > before)
        assert hung not in b.found
        assert len(b.found) == 11
        assert b.runner.stalled_for == 0
        deadline = b.loop.now + 1.0
        assert b.runner.tokens_until(deadline)[0] == pytest.approx(1.0 / b.runner._seconds_per_token)
        given_up = []
        b.model.give_up = given_up.append
        b.runner.give_up_after(4.0)
        assert given_up == [thread]
        b.runner.give_up_after(6.0)
        assert given_up == [thread]
        release.set()
        b.loop.until(lambda: hung in b.found)


def test_a_batch_that_ended_late_is_not_given_up_in_place_of_the_next(model):
    """Its worker reads another one by the time that the event loop comes to know of its end."""
    with bench(model, 1) as b:
        b.learn_pace()
        b.add([4] * 32)
        b.add([5] * 32)
        b.pump(1)
        b.loop.now += 8.0
        b.model.running[0][2].set()
        end = time.monotonic() + 60
        while len(b.runner._batches) != 2 or not all(batch.began for batch in b.runner._batches):
            assert time.monotonic() < end  # and the event loop does not run meanwhile
            time.sleep(0.001)
        given_up = []
        b.model.give_up = given_up.append
        b.runner.give_up_after(4.0)
        assert given_up == []


def test_all_workers_that_hang_are_a_ranker_that_does(model):
    """Only then: by the one that began last. Nobody waits for them, and nothing more is lined up."""
    with bench(model, 2) as b:
        b.learn_pace()
        b.add([4] * 32)
        b.pump(1)
        b.loop.now += 3.0
        assert b.runner.stalled_for == 0
        b.add([4] * 32)
        b.pump(2)
        b.loop.now += 2.0
        assert b.runner.stalled_for == pytest.approx(2.0)
        assert b.runner.tokens_until(b.loop.now + 0.5) == (0, -math.inf)
        b.add([4] * 4, b.loop.now + 0.5)
        b.runner.pump()
        assert len(b.queue) == 1
        b.end_next()
        b.loop.until(lambda: len(b.queue) == 0)


def test_other_workers_take_over(model):
    """Those before end with what they were handed; what comes next is read by the new ones."""
    with bench(model, 4) as b:
        for _ in range(40):
            b.add([4] * 32)
        b.pump(4)
        old = b.runner._workers
        b.runner.run_in(ModelWorkers(1, 0))
        assert b.runner.workers == 1
        b.pump(5)
        assert sum(batch.workers is not old for batch in b.runner._batches) == 2
        while len(b.found) < 40:
            b.loop.until(lambda: b.model.running)
            b.end_next()
        assert all(score is not None for score in b.found.values())


def test_a_model_that_was_ended_reads_nothing(tmp_path):
    """Whatever thread asks, at once or later."""
    artifact = load_artifact(make_artifact(tmp_path / "r"))
    spec = ModelSpec(str(artifact.model_path), ("input_ids", "attention_mask"), "score", 64, artifact.model)
    model = OnnxModel(spec, SessionOptions("cpu"))
    rows = [np.array([4, 5], dtype=np.int64)]
    before = model.run(*pad(rows))
    model.give_up()  # ends what runs, and nothing does
    assert model.run(*pad(rows)) == before
    model.end()
    with pytest.raises(InferenceError), ModelWorkers(2, 0) as workers:
        list(workers.map(lambda _: model.run(*pad(rows)), range(4)))
    assert not model._running
