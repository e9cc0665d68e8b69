"""A stream's queue on plain values: what it holds, and when its last answer still is one."""

import math
import sys
from dataclasses import replace

import numpy as np
import pytest
from rankd_client.ordering import Objective, Policy
from rankd_client.shape import RequestShape

from rankd.adaptation import Adaptation
from rankd.monitor.load import ModelLoad
from rankd.monitor.trust import Trust
from rankd.ranking.ranker import Basis
from rankd.ranking.stream import StreamItem, StreamQueue
from rankd.types import Answer, Reason, TenantService

TRUST = Trust(ranks=True, worth_waiting=True, calibration=None, level=1.0, load=ModelLoad())
BASIS = Basis("r@1", TRUST, None)


def item(request_id, text="a prompt", **more):
    return StreamItem(request_id, text, arrival=1.0, max_tokens=100, generated=0, **more)


def queue_of(*ids):
    queue = StreamQueue(model="m", now=5.0)
    for request_id in ids:
        queue.put(item(request_id))
    return queue


def answer_of(queue, order, missing=(), keys=None, timeless=True):
    """An answer to a queue: places by index, and the indices without a score."""
    count = len(queue.items)
    unknown = np.full(count, np.nan)
    return Answer(
        order=np.array(order, dtype=np.intp),
        serving_key=np.array(keys or range(count), dtype=np.int64),
        policy=Policy.BOOST,
        reason=Reason.NONE,
        ranker_version="r@1",
        score=unknown,
        expected=unknown,
        p50=None,
        p90=None,
        fresh=np.array([i not in missing for i in range(count)]),
        missing=dict.fromkeys(missing, Reason.OVERLOADED),
        shadow_scores={},
        pilot_slots={},
        patience=0.2,
        objective=Objective.BALANCED,
        prompt_cost=0.0,
        timeless=timeless,
        scored_at=0.0,
    )


def test_items_join_leave_and_progress():
    queue = queue_of("a", "b")
    queue.put(item("a", text="another prompt", tenant="t"))
    queue.drop("b")
    queue.drop("never there")
    queue.progress("a", 7, True, 2)
    queue.progress("never there", 1, None, None)
    columns = queue.rank_queue()
    assert columns.request_ids == ["a"]
    assert columns.prompts == ["another prompt"]
    assert columns.generated.tolist() == [7.0]
    assert columns.constraints.running.tolist() == [True]
    assert columns.constraints.overtaken.tolist() == [2]
    assert columns.constraints.tenant == ["t"]
    assert columns.constraints.deadline is None, "no item has one"
    queue.progress("a", 8, None, None)
    columns = queue.rank_queue()
    assert columns.generated.tolist() == [8.0]
    assert columns.constraints.running.tolist() == [True], "what is not said stays as it was"


def test_the_size_is_that_of_all_items():
    """Prompts count while they are kept, predictions from then on."""
    queue = queue_of("a", "b")
    first, second = queue.items.values()
    assert queue.size == first.size + second.size > 2 * sys.getsizeof("a prompt")
    queue.scored(first, packed=b"12345", score=1.0, version="r@1", expected=50.0, p90=math.nan)
    assert first.text is None
    assert queue.size == first.size + second.size
    queue.put(item("b", text="a prompt " * 1000))
    assert queue.size == sum(i.size for i in queue.items.values()) > 9000
    for request_id in ("a", "b"):
        queue.drop(request_id)
    assert queue.size == 0


def test_a_new_prediction_stands_for_the_text():
    queue = queue_of("a", "b")
    queue.scored(queue.items["b"], packed=b"p", score=3.0, version="r@1", expected=50.0, p90=90.0)
    columns = queue.rank_queue()
    assert columns.prompts == ["a prompt", None]
    assert columns.score_versions == [None, "r@1"]
    assert columns.echoes
    assert [columns.score[1], columns.expected[1], columns.p90[1]] == [3.0, 50.0, 90.0]


def test_a_shape_is_kept_until_its_request_is_scored():
    """It counts as memory until then; a learned score stands in its place."""
    queue = queue_of("a")
    plain = queue.size
    queue.put(item("b", shape=RequestShape(messages=3, step="s" * 200)))
    queue.put(item("c", shape=RequestShape()))
    assert queue.size > 3 * plain + 700
    columns = queue.rank_queue()
    assert columns.shapes == [None, RequestShape(messages=3, step="s" * 200), RequestShape()]
    assert columns.learned is None
    for request_id in ("b", "c"):
        before = queue.size
        queue.scored(queue.items[request_id], b"p" * 900, 3.0, "r@1", expected=50.0, p90=90.0, learned=4.0)
        assert queue.items[request_id].shape is None
        assert queue.size == sum(i.size for i in queue.items.values()) != before
    columns = queue.rank_queue()
    assert columns.shapes is None
    assert columns.learned.tolist()[1:] == [4.0, 4.0]
    assert math.isnan(columns.learned[0])
    assert queue.size >= plain + 2 * 900


def test_an_answer_holds_until_what_was_learned_is_taken_into_use_or_out_of_it():
    """The order rests on it, as it does on the trust in the ranker."""
    queue = queue_of("a")
    queue.answered(answer_of(queue, [0]), BASIS)
    assert queue.holds_until(BASIS) == math.inf
    learning = replace(BASIS, trust=replace(TRUST, adaptation=Adaptation()))
    assert queue.holds_until(learning) == math.inf, "that something is learned changes no order"
    assert queue.holds_until(replace(BASIS, trust=replace(TRUST, learned_in_use=True))) == -math.inf


def test_columns_are_made_anew_only_after_a_change():
    queue = queue_of("a")
    columns = queue.rank_queue()
    queue.now = 9.0
    assert queue.rank_queue() is columns
    assert columns.now == 9.0
    queue.progress("a", 0, None, None)
    assert queue.rank_queue() is columns, "progress that changes nothing"
    queue.put(item("b"))
    assert queue.rank_queue() is not columns


def test_only_what_the_caller_does_not_know_is_sent():
    """Keys and predictions go over the wire once, places with every answer."""
    queue = queue_of("a", "b", "c")
    assert queue.answered(answer_of(queue, [2, 0, 1], missing=[1]), BASIS) == [(0, 2), (1, 0), (2, 1)]
    assert queue.last_answer.ids == ["c", "a", "b"]
    assert queue.last_answer.missing == (Reason.OVERLOADED,)
    assert queue.answered(answer_of(queue, [2, 0, 1], missing=[1]), BASIS) == []
    assert queue.answered(answer_of(queue, [0, 1, 2], missing=[]), BASIS) == [(1, 1)], "b has a prediction now"
    assert queue.answered(answer_of(queue, [0, 1, 2], keys=[5, 1, 2]), BASIS) == [(0, 0)], "a has another key"


def test_the_last_answer_holds_while_nothing_changes():
    queue = queue_of("a", "b")
    assert queue.holds_until(BASIS) == -math.inf, "there was none"
    queue.answered(answer_of(queue, [0, 1]), BASIS)
    assert queue.holds_until(BASIS) == math.inf
    assert queue.holds_until(replace(BASIS, trust=replace(TRUST, level=0.5))) == -math.inf
    assert queue.holds_until(replace(BASIS, policy=Policy.SCORE)) == -math.inf, "a pilot's slot began"
    assert queue.holds_until(replace(BASIS, ranker_version="r@2")) == -math.inf
    queue.answered(answer_of(queue, [0, 1], timeless=False), BASIS)
    assert queue.holds_until(BASIS) == -math.inf, "time alone changes it"


@pytest.mark.parametrize(
    "change",
    [
        lambda queue: queue.put(item("c")),
        lambda queue: queue.drop("a"),
        lambda queue: queue.progress("a", 3, None, None),
        lambda queue: queue.update_tenant_service(TenantService({"t": 5.0}, {})),
    ],
    ids=["arrived", "gone", "progressed", "tenants served"],
)
def test_a_change_ends_the_last_answer(change):
    queue = queue_of("a", "b")
    queue.answered(answer_of(queue, [0, 1]), BASIS)
    change(queue)
    assert queue.holds_until(BASIS) == -math.inf


def test_missing_scores_are_looked_for_again_after_a_while():
    """Four times what the last answer took; where no text is left to score there is nothing to look for."""
    queue = queue_of("a", "b")
    queue.answered(answer_of(queue, [0, 1], missing=[1]), BASIS)
    queue.delay_look(100.0, 100.5)
    assert queue.holds_until(BASIS) == 102.5
    queue.put(item("b", text=None))
    queue.answered(answer_of(queue, [0, 1], missing=[1]), BASIS)
    assert queue.holds_until(BASIS) == math.inf


def test_names_of_tenants_count_as_memory():
    """Once each, however often they are told, by what they take: not every character is a byte."""
    queue = StreamQueue()
    empty = queue.memory
    names = {"\N{GRINNING FACE}" * 64 + str(i): 1.0 for i in range(100)}
    queue.update_tenant_service(TenantService(dict(names), {}))
    told = queue.memory
    queue.update_tenant_service(TenantService(dict(names), dict(names)))
    assert queue.memory == told > empty + 100 * (256 + 64 * 4)
