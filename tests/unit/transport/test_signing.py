"""What is signed, to the byte: the contract between replicas of different versions."""

from rankd_client.v1 import prediction_pb2

from rankd.transport.signing import canonical


def a_prediction(**more):
    prediction = prediction_pb2.Prediction(
        score=1.5, ranker_version="r@1", expected_token_count=20.0, pilot_slot=3, tenant="t", **more
    )
    prediction.scored_at.seconds, prediction.scored_at.nanos = 1_700_000_000, 5
    prediction.shadow_scores.add(ranker_version="s@2", score=-2.0)
    return prediction


FIRST = bytes.fromhex(
    "72616e6b642070726564696374696f6e20310a"  # rankd prediction 1
    "03"  # scored_at and expected
    "000000000000f83f" "00f1536500000000" "05000000"  # score, scored_at
    "0000000000003440" "0000000000000000" "0000000000000000"  # expected, p50, p90
    "0300000000000000" "01000000"  # pilot slot, one shadow
    "02000000" "01000000" "01000000" "03000000"  # sizes
    "6964" "74" "6d" "724031"  # id, tenant, model, ranker version
    "00000000000000c0" "03000000" "734032"  # the shadow
)  # fmt: skip


def test_what_learns_nothing_is_signed_as_by_the_first_release():
    """Byte for byte: a replica of 0.1.0 takes it, and its own are taken here."""
    assert canonical(a_prediction(), "id", "m") == FIRST


def test_features_and_learned_scores_have_an_encoding_of_their_own():
    """Another first line, then what the first encoding says, then what is new."""
    after = b"rankd prediction 2\n" + FIRST[len(b"rankd prediction 1\n") :]
    features = a_prediction(features=b"\x01\x02")
    assert canonical(features, "id", "m") == after + bytes.fromhex("000000000000000000020000000102")
    learned = a_prediction(learned_score=0.0)
    assert canonical(learned, "id", "m") == after + bytes.fromhex("01000000000000000000000000")
    both = a_prediction(features=b"\x01\x02", learned_score=2.0)
    assert canonical(both, "id", "m") == after + bytes.fromhex("010000000000000040020000000102")
