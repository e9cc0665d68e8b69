"""What predictions carry to be learned from: made, echoed, reported, altered and forged, over a real connection."""

import random

import grpc
import pytest
from rankd_client import Completed, Item, RankClient, RequestShape
from rankd_client.v1 import completion_pb2, rank_pb2
from support.wire import completion_stub, details, ids, item, rank_stub, request

from rankd.adaptation import unpack


@pytest.fixture
def stub(daemon):
    with daemon.channel() as channel:
        yield rank_stub(channel)


def shaped(request_id, prompt, **fields):
    shape = rank_pb2.RequestShape(**fields)
    return item(request_id, prompt, shape=shape)


def test_shapes_are_part_of_features(stub):
    """Also of a prompt that is known already: one text in two steps has features of two kinds."""
    answer = stub.Rank(request(shaped("a", "long", step="plan"), shaped("b", "long", step="answer")), timeout=30)
    again = stub.Rank(request(shaped("c", "long", step="plan"), item("d", "long", tenant="t")), timeout=30)
    found = {i.request_id: unpack(i.prediction.features) for i in [*answer.items, *again.items]}
    assert len({tuple(found[i].shape.tolist()) for i in "abd"}) == 3
    assert found["a"].shape.tolist() == found["c"].shape.tolist()
    assert {tuple(f.words.tolist()) for f in found.values()} == {tuple(found["a"].words.tolist())}


def test_echoes_come_back_byte_for_byte(stub):
    """With features and learned scores as they are, those that this daemon would not make included."""
    first = stub.Rank(request(item("a", "long long"), item("b", "short")), timeout=30)
    predictions = {i.request_id: i.prediction for i in first.items}
    assert all(p.features for p in predictions.values())
    predictions["a"].learned_score = 7.5
    predictions["b"].features = b"of another layout"
    second = stub.Rank(request(*(item(i, prediction=p) for i, p in predictions.items())), timeout=30)
    assert {i.request_id: i.prediction for i in second.items} == predictions
    assert ids(second) == ids(first)


def test_who_strips_features_is_served_all_the_same(start_daemon):
    """As a client that knows no such field, and keeps none that it does not know."""
    with start_daemon().channel() as channel:
        prediction = rank_stub(channel).Rank(request(item("a", "long")), timeout=30).items[0].prediction
        prediction.ClearField("features")
        prediction.ClearField("learned_score")
        answer = rank_stub(channel).Rank(request(item("a", prediction=prediction)), timeout=30)
        assert answer.items[0].prediction == prediction
        assert report(channel, prediction).accepted_count == 1


def report(channel, *predictions):
    """Report an answer of each."""
    return completion_stub(channel).ReportCompletions(
        completion_pb2.ReportCompletionsRequest(
            completions=[
                completion_pb2.Completion(request_id=f"r{i}", prediction=p, output_token_count=9, finish_reason=1)
                for i, p in enumerate(predictions)
            ]
        ),
        timeout=30,
    )


def forged(prediction, count):
    """Predictions with features that are noise, cut, lengthened, or altered in a place."""
    rng, good = random.Random(1), prediction.features
    made = [b"", b"\x01", b"\xff" * 2048, good[:-1], good + b"\0", good * 2]
    made += [rng.randbytes(rng.randrange(1, 200)) for _ in range(count)]
    made += [good[:at] + rng.randbytes(1) + good[at + 1 :] for at in range(len(good))]
    for features in made:
        other = type(prediction)()
        other.CopyFrom(prediction)
        other.features = features[:2048]
        yield other


def test_forged_features_cost_nobody_anything(start_daemon):
    """Echoed, put into a stream and reported: each is used for all else that a prediction is for."""
    daemon = start_daemon()
    with daemon.channel() as channel:
        stub = rank_stub(channel)
        prediction = stub.Rank(request(shaped("a", "long", step="s")), timeout=30).items[0].prediction
        some = list(forged(prediction, 200))
        echoes = [item(f"r{i}", prediction=p) for i, p in enumerate(some)]
        answer = stub.Rank(request(*echoes), timeout=30)
        assert [i.prediction for i in sorted(answer.items, key=lambda i: i.index)] == some
        streamed = next(stub.RankStream(iter([rank_pb2.RankStreamRequest(arrived=echoes)]), timeout=30))
        assert sorted(streamed.request_ids) == sorted(e.request_id for e in echoes)
        assert {i.request_id: i.prediction for i in streamed.changed_items} == {
            e.request_id: e.prediction for e in echoes
        }
        taken = report(channel, *some)
        assert (taken.accepted_count, len(taken.rejected)) == (len(some), 0)
        assert stub.Rank(request(item("b", "short")), timeout=30).items[0].prediction.features


def test_what_is_too_long_names_its_field(daemon, stub):
    """In a queue, in a stream and in a report, where the others are taken."""
    prediction = stub.Rank(request(item("a", "long")), timeout=30).items[0].prediction
    prediction.features = b"x" * 2049
    long_step = shaped("b", "short", step="x" * 257)
    with pytest.raises(grpc.RpcError) as error:
        stub.Rank(request(item("a", prediction=prediction), long_step), timeout=30)
    fields = {v.field for v in details(error.value)["BadRequest"].field_violations}
    assert fields == {"items[0].prediction.features", "items[1].shape.step"}
    with pytest.raises(grpc.RpcError) as error:
        next(stub.RankStream(iter([rank_pb2.RankStreamRequest(arrived=[long_step])]), timeout=30))
    assert "arrived[0].shape.step" in error.value.details()


def test_a_report_with_too_much_is_refused_alone(start_daemon):
    """With the reason; the one beside it is taken."""
    with start_daemon().channel() as channel:
        good = rank_stub(channel).Rank(request(item("a", "long")), timeout=30).items[0].prediction
        bad = type(good)()
        bad.CopyFrom(good)
        bad.features = b"x" * 2049
        answer = report(channel, bad, good)
        assert answer.accepted_count == 1
        assert [(r.index, r.reason) for r in answer.rejected] == [
            (0, completion_pb2.REJECTION_REASON_INVALID_PREDICTION)
        ]
        assert "prediction.features" in answer.rejected[0].description


def test_thousands_of_echoes_are_ranked_in_one_call(start_daemon):
    """With predictions of a kilobyte, too: the client sends one message, and gets each prediction back."""
    daemon = start_daemon()
    with RankClient(daemon.target, timeout=60) as client:
        first = client.rank([Item("long", request_id="a", shape=RequestShape(step="s"))])[0].prediction
        first.features = b"\xff" * 900
        echoes = [Item(request_id=f"{i}", prediction=first, arrival=1000.0 + i) for i in range(4096)]
        queue = client.rank(echoes)
        assert (queue.reason, queue.failed, len(queue)) == ("", False, 4096)
        assert all(r.prediction == first for r in queue)
        assert client.report([Completed("a", first, 9)]).accepted == 1
