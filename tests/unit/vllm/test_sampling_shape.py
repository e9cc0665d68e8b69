"""What rankd-vllm's scheduler reads of sampling parameters; needs no vLLM."""

from types import SimpleNamespace

import pytest
from rankd_client import RequestShape
from rankd_vllm.sampling_shape import shape_of_sampling


@pytest.mark.parametrize(
    ("params", "shape"),
    [
        ({}, None),
        ({"stop": [], "structured_outputs": None, "extra_args": None, "thinking_token_budget": None}, None),
        ({"stop": ["a", "b"]}, RequestShape(stops=2)),
        ({"stop": "a"}, RequestShape(stops=1)),
        ({"structured_outputs": SimpleNamespace(json={"type": "object"})}, RequestShape(response_format="json_schema")),
        ({"structured_outputs": SimpleNamespace(json=None, choice=["a"])}, RequestShape(response_format="choice")),
        ({"thinking_token_budget": 300}, RequestShape(thinking_budget=300)),
        ({"extra_args": {"rankd_step": "plan"}}, RequestShape(step="plan")),
        ({"extra_args": {"rankd_step": ["plan"], "other": 1}}, None),
        ({"extra_args": {"rankd_step": "x" * 999}}, RequestShape(step="x" * 256)),
    ],
)
def test_what_is_said_of_an_answer(params, shape):
    """Of versions that have more and of ones that have less."""
    assert shape_of_sampling(SimpleNamespace(**params)) == shape
