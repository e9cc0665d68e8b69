"""A queue of one without columns, against the steps for columns: the same request, the same answer, the same errors."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.ordering import Objective, Policy
from rankd_client.v1 import prediction_pb2, rank_pb2

from rankd.errors import InvalidRequestError
from rankd.monitor.load import ModelLoad
from rankd.monitor.trust import Trust
from rankd.ranking.policy import in_force
from rankd.ranking.ranker import finish
from rankd.ranking.single import SingleAnswer, SingleExpectation, is_single, single_of
from rankd.settings import LimitsSection, OrderSection
from rankd.transport.convert.answer import response_steps
from rankd.transport.convert.queue import queue_steps
from rankd.transport.convert.single import single_request, single_response
from rankd.types import Reason

LIMITS = LimitsSection(max_request_id_bytes=8, max_name_bytes=8, max_prompt_bytes=16)
TRUST = Trust(ranks=True, worth_waiting=True, calibration=None, level=1.0, load=ModelLoad())
TEXTS = st.sampled_from(["", "a", "ééé", "ééééé", "12345678", "123456789"])
SECONDS = st.sampled_from([0, 5, 6, -(10**12), 10**12, -62135596800])
NANOS = st.sampled_from([0, 7, 999_999_999, 10**9, -1])
NUMBERS = st.sampled_from([0, 0, 0, 1, 64])
FOUND = st.none() | st.floats(0, 1e6) | st.just(math.nan)


@st.composite
def requests(draw):
    """Requests of one item, most of them with something unusual."""
    item = rank_pb2.RankItem(
        request_id=draw(TEXTS), max_token_count=draw(NUMBERS), generated_token_count=draw(NUMBERS),
        overtaken_count=draw(NUMBERS), tenant=draw(TEXTS), running=draw(st.booleans()),
        cached_prompt_token_count=draw(NUMBERS),
    )  # fmt: skip
    if draw(st.integers(0, 9)):
        item.prompt = draw(st.sampled_from(["", "Hi", "Say hi.", "x" * 17, "é" * 9]))
    request = rank_pb2.RankRequest(
        model=draw(TEXTS), ranker_version=draw(TEXTS), policy=draw(st.sampled_from([0, 0, 1, 2, 3, 4, 5, 6, 77])),
        objective=draw(st.sampled_from([0, 0, 1, 2, 3, 4, 5, 6, 77])),
    )  # fmt: skip
    request.now.seconds, request.now.nanos = draw(SECONDS), draw(NANOS)
    if draw(st.booleans()):
        item.arrival_time.seconds, item.arrival_time.nanos = draw(SECONDS), draw(NANOS)
    match draw(st.integers(0, 14)):
        case 0:
            item.prediction.score = 1.0
        case 1:
            item.shape.message_count = 2
        case 2:
            item.deadline.seconds = 9
        case 3:
            item.priority_class = 1
        case 4:
            item.prompt_token_count = 5
        case 5:
            request.backlog_request_count = 3
        case 6:
            request.tenants.add(tenant="a", weight=-1.0)
    request.items.append(item)
    return request


@settings(max_examples=1500, deadline=None)
@given(request=requests())
def test_a_request_is_read_as_by_column(request):
    """What is wrong or unusual is left to the steps for columns; all else is the same."""
    order = OrderSection()
    found = single_request(request, request.items[0], LIMITS, order)
    try:
        queue = finish(queue_steps(request, LIMITS, order))
    except InvalidRequestError:
        assert found is None
        return
    if found is not None:
        assert is_single(queue)
        assert repr(found) == repr(single_of(queue))


def test_plain_requests_are_not_left_to_the_steps_for_columns():
    """The way is taken at all: by most engines' requests."""
    item = rank_pb2.RankItem(request_id="1", prompt="Say hi.", max_token_count=64, tenant="a", overtaken_count=2)
    request = rank_pb2.RankRequest(items=[item], model="m", policy=prediction_pb2.POLICY_BOOST)
    found = single_request(request, item, LIMITS, OrderSection())
    assert found is not None
    assert (found.prompt, found.policy, found.max_tokens, found.tenant) == ("Say hi.", Policy.BOOST, 64.0, "a")


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_an_answer_is_written_as_by_column(data):
    """Every field; but for the moment, which is each one's own."""
    draw = data.draw
    wanted, objective = draw(st.sampled_from(Policy)), draw(st.none() | st.sampled_from(Objective))
    effective = in_force(OrderSection(), TRUST, wanted, objective=objective)
    known = SingleExpectation(
        fresh=True, score=draw(st.floats(-30, 30)), expected=draw(st.floats(0, 1e6) | st.just(math.nan)),
        p50=draw(FOUND), p90=draw(FOUND), learned=draw(FOUND), features=draw(st.none() | st.binary(max_size=9)),
    )  # fmt: skip
    answer = SingleAnswer(
        draw(st.integers(-(2**53), 2**53)), wanted, draw(st.sampled_from(Reason)), "r@1", known, None, effective
    )
    item = rank_pb2.RankItem(request_id="1", tenant=draw(st.sampled_from(["", "t"])))
    by_column = finish(response_steps(answer.columns, [item]))
    single = single_response(answer, item.request_id, item.tenant)
    for response in (by_column, single):
        assert response.items[0].prediction.scored_at.seconds > 0
        response.items[0].prediction.scored_at.Clear()
    assert single == by_column
    assert single.SerializeToString(deterministic=True) == by_column.SerializeToString(deterministic=True)
