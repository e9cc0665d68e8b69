"""Work and objectives over the wire: what prompts cost, what a queue is ordered for, in calls, streams and classes."""

import grpc
import pytest
from rankd_client import Completed, Item, Objective, RankClient
from rankd_client.v1 import prediction_pb2 as pb
from rankd_client.v1 import rank_pb2
from support.wire import T0, details, ids, item, rank_stub, request

SHORT, LONG = "short", "long " * 5
ORDER = {"patience_per_token": 10.0}


@pytest.fixture
def ranking(start_daemon):
    """A daemon that trusts its ranker; what prompts cost is set."""
    return lambda **order: start_daemon(order=ORDER | {"prompt_cost": 0.5} | order, guard={"enabled": False})


def rank(daemon, *items, **fields):
    with daemon.channel() as channel:
        return rank_stub(channel).Rank(request(*items, **fields), timeout=30)


def test_long_prompts_are_work_unless_they_are_cached(ranking):
    """A short answer to a long prompt is no short request; what the prefix cache holds costs nothing."""
    daemon = ranking()
    rows = [
        item("prompt", SHORT, prompt_token_count=8000),
        item("cached", SHORT, at=T0 + 1, prompt_token_count=8000, cached_prompt_token_count=7990),
        item("answer", LONG, at=T0 + 2, prompt_token_count=10),
    ]
    answer = rank(daemon, *rows)
    assert ids(answer) == ["cached", "answer", "prompt"]
    assert answer.prompt_token_cost == 0.5
    assert answer.objective == pb.OBJECTIVE_BALANCED
    plain = rank(ranking(prompt_cost=0.0), *rows)
    assert ids(plain) == ["prompt", "cached", "answer"]


def test_a_call_says_what_it_is_for(ranking):
    """The whole batch soonest is longest first, its first answers soonest shortest first; a policy goes before both."""
    daemon = ranking()
    rows = [item("a", SHORT), item("b", LONG), item("c", "long long")]
    orders = {
        pb.OBJECTIVE_MAKESPAN: (["b", "c", "a"], pb.POLICY_LONGEST),
        pb.OBJECTIVE_FIRST: (["a", "c", "b"], pb.POLICY_SCORE),
        pb.OBJECTIVE_MEAN: (["a", "c", "b"], pb.POLICY_BOOST),
    }
    for objective, (order, policy) in orders.items():
        answer = rank(daemon, *rows, objective=objective)
        assert (ids(answer), answer.policy, answer.objective) == (order, policy, objective)
    both = rank(daemon, *rows, objective=pb.OBJECTIVE_MAKESPAN, policy=pb.POLICY_SCORE)
    assert (ids(both), both.policy) == (["a", "c", "b"], pb.POLICY_SCORE)
    keys = [i.serving_key for i in rank(daemon, *rows, objective=pb.OBJECTIVE_MAKESPAN).items]
    assert keys == sorted(keys)
    assert keys[-1] <= 0


def test_the_configured_objective_holds_where_a_call_names_none(ranking):
    """In a client, too, which may have one of its own."""
    daemon = ranking(objective="makespan")
    prompts = [Item(SHORT, request_id="a"), Item(LONG, request_id="b")]
    with RankClient(daemon.target, timeout=30) as client:
        ranked = client.rank(prompts)
        assert ([r.request_id for r in ranked], ranked.objective) == (["b", "a"], Objective.MAKESPAN)
        first = client.rank(prompts, objective=Objective.FIRST)
        assert ([r.request_id for r in first], first.objective) == (["a", "b"], Objective.FIRST)
    with RankClient(daemon.target, timeout=30, objective=Objective.FIRST) as client:
        assert [r.request_id for r in client.rank(prompts)] == ["a", "b"]
        with client.stream() as stream:
            assert stream.step(prompts, max_wait=5.0) == ["a", "b"]


def test_classes_may_have_objectives_of_their_own(ranking):
    """A class of batches behind the chat: longest first among themselves."""
    daemon = ranking(class_objectives={1: "makespan"})
    rows = [
        item("batch short", SHORT, priority_class=1),
        item("batch long", LONG, priority_class=1),
        item("chat long", LONG),
        item("chat short", SHORT),
    ]
    assert ids(rank(daemon, *rows)) == ["chat short", "chat long", "batch long", "batch short"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [({"objective": 9}, "MAKESPAN (5)"), ({"objective": pb.OBJECTIVE_SLO}, "order.slo")],
)
def test_an_objective_that_is_none_is_refused_by_name(ranking, fields, named):
    """In a call as in a stream, with the remedy."""
    daemon = ranking()
    with daemon.channel() as channel:
        with pytest.raises(grpc.RpcError) as refused:
            rank_stub(channel).Rank(request(item("a", SHORT), **fields), timeout=30)
        options = rank_pb2.RankStreamOptions(**fields)
        with pytest.raises(grpc.RpcError) as ended:
            next(rank_stub(channel).RankStream(iter([rank_pb2.RankStreamRequest(options=options)]), timeout=30))
    for error, field in ((refused.value, "objective"), (ended.value, "options.objective")):
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert named in str(details(error))
        assert field in str(details(error))


def test_a_stream_knows_what_is_cached(ranking):
    """Prompt counts, cached ones and the objective stay with the stream's items."""
    daemon = ranking()
    rows = [
        item("prompt", SHORT, prompt_token_count=8000),
        item("cached", SHORT, at=T0 + 1, prompt_token_count=8000, cached_prompt_token_count=7990),
    ]
    options = rank_pb2.RankStreamOptions(objective=pb.OBJECTIVE_MEAN)
    message = rank_pb2.RankStreamRequest(options=options, arrived=rows)
    message.now.seconds, message.max_wait.seconds = T0 + 100, 5
    with daemon.channel() as channel:
        answer = next(rank_stub(channel).RankStream(iter([message]), timeout=10))
    assert list(answer.request_ids) == ["cached", "prompt"]
    assert (answer.objective, answer.prompt_token_cost) == (pb.OBJECTIVE_MEAN, 0.5)


def test_counts_that_cannot_be_are_refused_alone(daemon):
    """A report with more cached prompt tokens than prompt tokens, beside one that is good."""
    with RankClient(daemon.target, timeout=30) as client:
        first = client.rank([Item(SHORT, request_id="a"), Item(SHORT, request_id="b")])
        done = [
            Completed("a", first[0].prediction, 5, prompt_tokens=10, cached_prompt_tokens=11),
            Completed("b", first[1].prediction, 5, prompt_tokens=10, cached_prompt_tokens=10),
        ]
        result = client.report(done)
    assert result.accepted == 1
    assert "cached_prompt_token_count" in result.rejected[0][2]
