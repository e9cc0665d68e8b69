"""A tensor outside of the model's file is found wherever ONNX lets one be, and by whatever path."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.tiny_ranker import make_artifact

from rankd.errors import ArtifactError
from rankd.registry.artifact_files import MODEL
from rankd.registry.bundled import default_ranker_path
from rankd.registry.external_data import refuse_external_data


def outside(location="weights.bin"):
    """A tensor whose values are in another file."""
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def inside():
    return numpy_helper.from_array(np.ones(4, np.float32), "t")


def constant(tensor):
    return helper.make_node("Constant", [], ["t"], value=tensor)


def graph(nodes=(), initializers=(), sparse=()):
    return helper.make_graph(list(nodes), "g", [], [], list(initializers), sparse_initializer=list(sparse))


def sparse(tensor):
    return onnx.SparseTensorProto(values=tensor, indices=numpy_helper.from_array(np.arange(4)), dims=[9])


def function(node):
    return helper.make_function("own", "f", [], ["t"], [node], [helper.make_opsetid("", 17)])


def training(tensor):
    model = helper.make_model(graph())
    model.training_info.add(initialization=graph(initializers=[tensor]))
    return model


PLACES = {
    "initializer": lambda t: helper.make_model(graph(initializers=[t])),
    "constant": lambda t: helper.make_model(graph([constant(t)])),
    "list of an attribute": lambda t: helper.make_model(graph([helper.make_node("X", [], ["y"], many=[t])])),
    "branch": lambda t: helper.make_model(
        graph([helper.make_node("If", ["c"], ["y"], then_branch=graph([constant(t)]), else_branch=graph())])
    ),
    "loop in a loop": lambda t: helper.make_model(
        graph([helper.make_node("Loop", [], [], body=graph([helper.make_node("Scan", [], [], body=graph([], [t]))]))])
    ),
    "function": lambda t: helper.make_model(graph(), functions=[function(constant(t))]),
    "sparse": lambda t: helper.make_model(graph(sparse=[sparse(t)])),
    "training": training,
}


def check(model):
    refuse_external_data(memoryview(model if isinstance(model, bytes) else model.SerializeToString()), "a/model.onnx")


@pytest.mark.parametrize("place", PLACES)
def test_every_place_is_looked_at(place):
    """The message names the tensor, the file and the remedy; the same model with its values inside is taken."""
    with pytest.raises(ArtifactError, match=r"a/model.onnx.*'t'.*'weights.bin'.*one file") as caught:
        check(PLACES[place](outside()))
    assert caught.value.reason == "EXTERNAL_DATA"
    check(PLACES[place](inside()))


@pytest.mark.parametrize("location", ["../x", "/etc/passwd", "", "a\nb", "x" * 10_000, "sub/../../../y"])
def test_no_path_makes_a_difference(location):
    """Below the directory, out of it or nowhere: none of them is hashed. The message is one short line."""
    with pytest.raises(ArtifactError) as caught:
        check(PLACES["initializer"](outside(location)))
    assert caught.value.reason == "EXTERNAL_DATA"
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_location_without_the_mark_and_a_mark_without_location():
    """Readers differ in which of the two they believe: either is enough."""
    unmarked, bare = outside(), outside()
    unmarked.ClearField("data_location")
    bare.ClearField("external_data")
    for tensor in (unmarked, bare):
        with pytest.raises(ArtifactError, match="another file"):
            check(PLACES["initializer"](tensor))


def test_a_graph_in_two_parts_is_one():
    """Protobuf joins a message that is given twice: the second part is read too."""
    first = helper.make_model(graph()).SerializeToString()
    second = onnx.ModelProto(graph=graph(initializers=[outside()])).SerializeToString()
    with pytest.raises(ArtifactError, match="another file"):
        check(first + second)


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04 a zip", b"\x80\x04 a pickle", b"\x3a\xff\xff\xff\xff\x0f", b"\xff" * 20, b"\x00\x00", b"\x0b"],
    ids=["zip", "pickle", "longer than itself", "endless number", "field 0", "group"],
)
def test_what_is_no_protobuf(content):
    """It is said to be no model; nothing else is tried."""
    with pytest.raises(ArtifactError, match="no ONNX model") as caught:
        check(content)
    assert caught.value.reason == "BAD_MODEL"


def test_models_of_one_file_are_taken(tmp_path):
    """The bundled ranker, and the one of the tests."""
    check((default_ranker_path() / MODEL).read_bytes())
    check((make_artifact(tmp_path / "r", work=3) / MODEL).read_bytes())
