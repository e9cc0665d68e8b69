"""Predictions that prove whose they are: what is replayed, tampered with or unsigned is not believed."""

import time

import hypothesis
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from rankd_client.v1 import completion_pb2, prediction_pb2, rank_pb2
from support.credentials import bearer, write_keys, write_tokens
from support.examples import examples
from support.wire import completion_stub, item, rank_stub, request

from rankd.transport.signing import canonical

STOP = completion_pb2.FINISH_REASON_STOP


@pytest.fixture(scope="module")
def signing(tiny, tmp_path_factory):
    """A daemon that signs, and knows its callers."""
    from support.daemon import Daemon

    directory = tmp_path_factory.mktemp("signing")
    daemon = Daemon(
        ranker=tiny,
        auth={"file": write_tokens(directory / "auth.toml")},
        signing={"file": write_keys(directory / "keys.toml", "k1")},
    )
    yield daemon
    daemon.stop()


def predict(channel, request_id, prompt="long long", *, model="m", who="a", **fields):
    asked = request(item(request_id, prompt, **fields), model=model)
    return rank_stub(channel).Rank(asked, timeout=30, metadata=bearer(who)).items[0].prediction


def echo(channel, request_id, prediction, *, model="m", who="a", **fields):
    """What an echo without its prompt comes back as."""
    asked = request(item(request_id, prediction=prediction, **fields), model=model)
    return rank_stub(channel).Rank(asked, timeout=30, metadata=bearer(who)).items[0]


def echo_in_a_stream(channel, request_id, prediction, *, model="m", who="a", **fields):
    message = rank_pb2.RankStreamRequest(arrived=[item(request_id, prediction=prediction, **fields)])
    message.options.model = model
    answers = rank_stub(channel).RankStream(iter([message]), timeout=30, metadata=bearer(who))
    return next(answers).changed_items[0]


def report(channel, *reports, model="m", who="a"):
    """Report (id, prediction) pairs; gives the reasons of those rejected, by index."""
    message = completion_pb2.ReportCompletionsRequest(model=model)
    for request_id, prediction in reports:
        message.completions.add(request_id=request_id, prediction=prediction, output_token_count=9, finish_reason=STOP)
    answer = completion_stub(channel).ReportCompletions(message, timeout=30, metadata=bearer(who))
    assert answer.accepted_count + answer.duplicate_count + len(answer.rejected) == len(reports)
    return {
        r.index: completion_pb2.RejectionReason.Name(r.reason).removeprefix("REJECTION_REASON_")
        for r in answer.rejected
    }


def changed(prediction, **fields):
    out = prediction_pb2.Prediction()
    out.CopyFrom(prediction)
    for name, value in fields.items():
        setattr(out, name, value)
    return out


def with_shadow(prediction):
    out = changed(prediction)
    out.shadow_scores.add(ranker_version="other@1", score=1.0)
    return out


def later(prediction):
    out = changed(prediction)
    out.scored_at.seconds += 1
    return out


TAMPERED = {
    "score": lambda p: changed(p, score=p.score + 1e-9),
    "ranker version": lambda p: changed(p, ranker_version="other@1"),
    "expected": lambda p: changed(p, expected_token_count=1.0),
    "p50": lambda p: changed(p, p50_token_count=1.0),
    "p90": lambda p: changed(p, p90_token_count=1.0),
    "pilot slot": lambda p: changed(p, pilot_slot=7),
    "shadow": with_shadow,
    "time": later,
    "signature": lambda p: changed(p, signature=bytes([p.signature[0] ^ 1]) + p.signature[1:]),
    "signature cut": lambda p: changed(p, signature=p.signature[:-1]),
    "no signature": lambda p: changed(p, signature=b"", key_id=""),
    "another key": lambda p: changed(p, key_id="k2"),
}


def test_what_is_echoed_unchanged_is_believed(signing):
    """In later Rank calls and streams the prediction comes back as it was signed; its report is taken, once."""
    with signing.channel() as channel:
        prediction = predict(channel, "own")
        assert (prediction.key_id, len(prediction.signature), prediction.tenant) == ("k1", 32, "team-a")
        for way in (echo, echo_in_a_stream):
            assert way(channel, "own", prediction).prediction == prediction
        assert report(channel, ("own", prediction)) == {}
        assert report(channel, ("own", prediction)) == {}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
def test_what_was_tampered_with_is_not_believed(signing, tamper):
    """Whatever was changed: an echo is as without prediction, a report is rejected, and the others are taken."""
    with signing.channel() as channel:
        good = predict(channel, "t")
        bad = tamper(good)
        for way in (echo, echo_in_a_stream):
            answer = way(channel, "t", bad)
            assert answer.needs_prompt
            assert not answer.HasField("prediction")
        other = predict(channel, f"other-{time.monotonic_ns()}")
        assert report(channel, ("t", bad), ("nobody", other), ("t", good)) == {
            0: "INVALID_SIGNATURE",
            1: "INVALID_SIGNATURE",
        }


def test_with_its_prompt_beside_it_a_bad_echo_costs_nothing(signing):
    """The prompt is scored, and the prediction that comes back is signed anew."""
    with signing.channel() as channel:
        bad = changed(predict(channel, "p"), score=-99.0)
        asked = request(item("p", "long long", prediction=bad), model="m")
        answer = rank_stub(channel).Rank(asked, timeout=30, metadata=bearer("a")).items[0]
        assert answer.prediction.score != -99.0
        assert report(channel, ("p", answer.prediction)) == {}


@pytest.mark.parametrize(
    "elsewhere", [{"request_id": "q"}, {"model": "n"}, {"who": "b"}, {"who": "any", "tenant": "team-b"}, {"who": "any"}]
)
def test_a_prediction_replayed_elsewhere_is_not_believed(signing, elsewhere):
    """It is bound to its request, its served model and its tenant."""
    with signing.channel() as channel:
        prediction = predict(channel, "bound")
        place = {"request_id": "bound"} | elsewhere
        for way in (echo, echo_in_a_stream):
            assert way(channel, prediction=prediction, **place).needs_prompt


def test_reports_of_replayed_predictions_are_rejected(signing):
    """For another request, model or tenant; a credential that may act for any tenant reports for each."""
    with signing.channel() as channel:
        prediction = predict(channel, "r")
        assert report(channel, ("s", prediction)) == {0: "INVALID_SIGNATURE"}
        assert report(channel, ("r", prediction), model="n") == {0: "INVALID_SIGNATURE"}
        assert report(channel, ("r", prediction), who="b") == {0: "WRONG_TENANT"}
        assert report(channel, ("r", changed(prediction, tenant="team-b")), who="b") == {0: "INVALID_SIGNATURE"}
        assert report(channel, ("r", changed(prediction, tenant="")), who="a") == {0: "WRONG_TENANT"}
        assert report(channel, ("r", prediction), who="any") == {}


def test_ids_are_each_tenants_own(signing):
    """A tenant that reports another one's request id, for its own request, does not take that one's report away."""
    with signing.channel() as channel:
        predictions = {who: predict(channel, "shared", who=who) for who in ("a", "b")}
        before = signing.app.monitor.reported_windows()[0].tracker.completions
        for who in ("b", "a"):
            assert report(channel, ("shared", predictions[who]), who=who) == {}
        assert signing.app.monitor.reported_windows()[0].tracker.completions == before + 2


def test_keys_rotate_without_a_break(start_daemon, tmp_path, wait_until):
    """A new first key signs from then on, the old one verifies and is signed over until it is taken out."""
    file = write_keys(tmp_path / "keys.toml", "k1")
    daemon = start_daemon(signing={"file": file})
    with daemon.channel() as channel:
        first = predict(channel, "x")
        assert first.key_id == "k1"
        write_keys(file, "k2", "k1")
        wait_until(lambda: daemon.app.signer.keys.first == "k2")
        again = echo(channel, "x", first).prediction
        assert again.key_id == "k2"
        assert again.score == first.score
        assert echo(channel, "x", again).prediction == again
        file.write_text("[[key]]\nid = ")
        time.sleep(1.5)
        assert daemon.app.signer.keys.first == "k2", "a broken file changes nothing"
        write_keys(file, "k2")
        wait_until(lambda: echo(channel, "x", first).needs_prompt)
        assert report(channel, ("x", first), ("x", again)) == {0: "INVALID_SIGNATURE"}


def test_replicas_that_share_keys_believe_each_other(start_daemon, tmp_path):
    """Any replica takes the report; one with other keys does not."""
    same, other = write_keys(tmp_path / "same.toml", "k1"), write_keys(tmp_path / "other.toml", "k9")
    one, two, three = (start_daemon(signing={"file": f}) for f in (same, same, other))
    with one.channel() as channel:
        prediction = predict(channel, "x")
    with two.channel() as channel:
        assert report(channel, ("x", prediction)) == {}
    with three.channel() as channel:
        assert report(channel, ("x", prediction)) == {0: "INVALID_SIGNATURE"}


def test_a_long_queue_is_signed_and_looked_at_in_turns(start_daemon, tmp_path):
    """16,384 predictions are given and believed, and other calls are answered meanwhile."""
    daemon = start_daemon(signing={"file": write_keys(tmp_path / "keys.toml", "k1")})
    ids = [f"request-{n:06}" for n in range(16384)]
    with daemon.channel() as channel:
        queue = request(*(item(i, "long") for i in ids))
        answer = rank_stub(channel).Rank(queue, timeout=60)
        predictions = {i.request_id: i.prediction for i in answer.items}
        assert all(p.signature for p in predictions.values())
        again = request(*(item(i, prediction=predictions[i]) for i in ids))
        answering = rank_stub(channel).Rank.future(again, timeout=60)
        with daemon.channel() as other:
            meanwhile = 0
            while not answering.done():
                rank_stub(other).Rank(rank_pb2.RankRequest(), timeout=30)
                meanwhile += 1
        assert {i.request_id: i.prediction for i in answering.result().items} == predictions
    assert meanwhile > 5


def test_without_keys_nothing_is_signed(daemon):
    """And predictions are believed as ever."""
    with daemon.channel() as channel:
        prediction = rank_stub(channel).Rank(request(item("u", "long")), timeout=30).items[0].prediction
        assert (prediction.key_id, prediction.signature, prediction.tenant) == ("", b"", "")
        prediction.score = 5.0
        answer = rank_stub(channel).Rank(request(item("u", prediction=prediction)), timeout=30).items[0]
    assert answer.prediction.score == 5.0


a_prediction = st.builds(
    lambda fields, shadows: prediction_pb2.Prediction(
        **fields, shadow_scores=[prediction_pb2.ShadowScore(ranker_version=v, score=s) for v, s in shadows]
    ),
    st.fixed_dictionaries(
        {"score": st.floats()},
        optional={
            "ranker_version": st.text(max_size=3), "tenant": st.text(max_size=3), "expected_token_count": st.floats(),
            "p50_token_count": st.floats(), "p90_token_count": st.floats(), "pilot_slot": st.integers(0, 2**64 - 1),
            "features": st.binary(max_size=3), "learned_score": st.floats(),
            "scored_at": st.builds(
                Timestamp, seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1)
            ),
        },
    ),
    st.lists(st.tuples(st.text(max_size=3), st.floats()), max_size=3),
)  # fmt: skip
place = st.tuples(st.text(max_size=3), st.text(max_size=3))


@hypothesis.settings(max_examples=examples(200))
@given(one=a_prediction, other=a_prediction, here=place, there=place)
def test_whatever_a_prediction_says_its_encoding_is_its_own(one, other, here, there):
    """Any message has an encoding, and two that differ in anything, or in whose they are, never share one."""
    same = one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True) and here == there
    assert (canonical(one, *here) == canonical(other, *there)) == same
    one.key_id, one.signature = "k", b"s"
    assert canonical(one, *here) == canonical(prediction_pb2.Prediction.FromString(one.SerializeToString()), *here)
