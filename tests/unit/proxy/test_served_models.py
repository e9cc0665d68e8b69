"""Names of models: those that the engine serves, a bounded number of them, whatever is asked for."""

import pytest
import structlog

from rankd.proxy.served_models import OTHER, ServedModels


def asked(models, name, status=200):
    """One request for a model: what it was ranked by, and what it was counted by."""
    claimed = models.claim(name)
    return claimed, models.settle(name, claimed, status)


def test_a_model_is_ranked_by_its_name_from_the_first_request():
    """And counted by it once the engine served it."""
    models = ServedModels(4)
    assert asked(models, "a", 503) == ("a", OTHER)
    assert asked(models, "a") == ("a", "a")
    assert asked(models, "a", 404) == ("a", "a")
    assert asked(models, "b", None) == ("b", OTHER)


def test_a_name_for_all_goes_before_those_of_bodies():
    """As RANKD_MODEL has it."""
    assert asked(ServedModels(4, "mine"), "a", 404) == ("mine", "mine")
    assert asked(ServedModels(0, "mine"), "") == ("mine", "mine")


@pytest.mark.parametrize("name", ["", "x" * 257, "é" * 129, "a\nb", "\ud800", "\0"])
def test_what_is_no_name_is_none(name):
    """The daemon takes no longer one, and a page of metrics no other."""
    models = ServedModels(4)
    assert asked(models, name) == ("", OTHER)
    assert not models._known


def test_names_are_bounded():
    """Served ones keep their places; what finds none has no name, and that is told."""
    models = ServedModels(2)
    assert [asked(models, name)[0] for name in "abcab"] == ["a", "b", "", "a", "b"]
    assert models.full
    assert asked(ServedModels(0), "a") == ("", OTHER)


def test_names_that_are_tried_at_once_are_bounded():
    """Also before the engine answered any of them."""
    models = ServedModels(3)
    claims = [(name, models.claim(name)) for name in "aabcdeb"]
    assert [claimed for _, claimed in claims] == ["a", "a", "b", "c", "", "", "b"]
    for name, claimed in claims:
        models.settle(name, claimed, 200)
    assert models._known == {"a", "b", "c"}
    assert not models._tried


def test_made_up_names_leave_no_trace_and_use_up_their_credit():
    """What the engine refuses takes no place; after some of that a name waits for its first answer."""
    models = ServedModels(3)
    assert [asked(models, f"made up {n}", 404)[0] for n in range(5)] == ["made up 0", "made up 1", "made up 2", "", ""]
    assert not models._tried
    assert asked(models, "real") == ("", "real")
    assert asked(models, "real") == ("real", "real")


def test_failures_of_the_engine_are_no_made_up_names():
    """Nor are clients that hang up."""
    models = ServedModels(2)
    for status in (500, 503, 429, 401, None) * 3:
        assert asked(models, "real", status)[0] == "real"
    assert not models._tried


def test_that_there_is_no_place_is_said_once():
    """And not where nobody is to have one."""
    with structlog.testing.capture_logs() as logged:
        for models in (ServedModels(1), ServedModels(0)):
            for name in ("a", "b", "c", "b"):
                asked(models, name)
    assert [(event["event"], "RANKD_PROXY_MAX_MODELS" in event["reason"]) for event in logged] == [
        ("models_without_place", True)
    ]
