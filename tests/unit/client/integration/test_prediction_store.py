"""Predictions between ranking and report: what is kept, how much of it, and for how long."""

import pytest
from rankd_client.integration import PredictionStore, StoredPrediction
from rankd_client.v1.prediction_pb2 import Prediction


def entry(name="1", features=900):
    """A stored prediction of about so many bytes."""
    return StoredPrediction(name, Prediction(score=1.0, features=b"f" * features), 0.0, ignore_eos=False)


def test_what_is_taken_is_forgotten():
    """Features with it: they are kept no longer than the prediction that carries them."""
    store = PredictionStore()
    store.put("a", entry())
    assert store.nbytes > 900
    assert store.take("a").prediction.features == b"f" * 900
    assert store.take("a") is None
    assert (len(store), store.nbytes) == (0, 0)


@pytest.mark.parametrize("limit", [{"capacity": 10}, {"most_bytes": 10 * (900 + 800)}])
def test_the_oldest_make_room(limit):
    """In number and in bytes: engines never say the end of some requests."""
    store = PredictionStore(**limit)
    for number in range(100):
        store.put(str(number), entry())
    assert len(store) == 10
    assert store.take("89") is None
    assert store.take("90") is not None
    assert store.nbytes <= 10 * 1700


def test_one_of_the_same_id_is_replaced():
    """And counted once; one that is over the bound alone is kept until the next comes."""
    store = PredictionStore(most_bytes=5000)
    store.put("a", entry())
    before = store.nbytes
    store.put("a", entry("2"))
    assert (len(store), store.nbytes) == (1, before)
    store.put("b", entry(features=9000))
    assert len(store) == 1
    store.put("c", entry())
    assert len(store) == 1
    assert store.take("c") is not None
