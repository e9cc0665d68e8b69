"""What rows say of their requests beside the prompt, however it is spelled."""

import pytest
from rankd_client.shape import NO_SHAPE, RequestShape

from rankd.datafiles import Seconds
from rankd.datafiles.shapes import prompt_tokens_of, shape_of, tenant_of, time_of


def test_bodies_and_columns_give_the_same_shape():
    """Lists count by their length, objects by their type; text of CSV files is read as what it says."""
    body = {
        "messages": [{"role": "system"}, {"role": "user"}],
        "tools": [{}, {}, {}],
        "last_role": "user",
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema"},
        "thinking_budget": 1024,
        "step": "plan",
    }
    columns = {"messages": "2", "tools": "3", "last_role": "user", "tool_choice": "function"}
    columns |= {"response_format": "json_schema", "thinking_budget": "1024", "step": "plan", "stops": "null"}
    wanted = RequestShape(
        messages=2,
        tools=3,
        last_role="user",
        tool_choice="function",
        response_format="json_schema",
        thinking_budget=1024,
        step="plan",
    )
    assert shape_of(body) == shape_of(columns) == wanted


@pytest.mark.parametrize("value", [None, "", "null", -3, float("nan"), float("inf"), 2**40, True, "many", b"\xff", {}])
def test_what_cannot_be_read_counts_as_not_given(value):
    """No value, nonsense and numbers beyond any body are none; a row is not lost for it."""
    assert shape_of({"messages": value, "choices": value}) == NO_SHAPE
    assert prompt_tokens_of({"prompt_tokens": value}) == 0
    assert prompt_tokens_of({"prompt_tokens": value, "usage.prompt_tokens": 7}) == 7


def test_names_are_bounded():
    """A step may be 256 characters long, other names 64."""
    found = shape_of({"step": "s" * 999, "last_role": "r" * 999})
    assert (len(found.step), len(found.last_role)) == (256, 64)
    assert len(tenant_of({"tenant": "t" * 999})) == 256


@pytest.mark.parametrize(
    "value", [1.7e9, "1700000000", 1.7e12, 1.7e15, 1.7e18, "2023-11-14T22:13:20Z", Seconds(1.7e9, "instant")]
)
def test_a_time_is_seconds_whatever_its_unit(value):
    """Epochs of four units, ISO times, and what a file states itself."""
    assert time_of({"ended_at": value}) == pytest.approx(1.7e9)
    assert time_of({"t_s": 12.5}) == 12.5
    assert time_of({"ended_at": "soon", "arrival": None}) is None
