"""Which nodes CUDA leaves to the CPU, by the table of its kernels: of bundled graphs, and of nodes made for it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rankd.registry.bundled import default_ranker_path
from rankd.training.export.cuda_kernels import CudaKernel, cuda_kernels, nodes_without_kernel

BUNDLED = default_ranker_path().parent


def graph(nodes, opset=21, kind=TensorProto.FLOAT16, **weights):
    """A model with input ``x`` and weights; ``com.microsoft`` may be used."""
    values = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    x, y = (helper.make_tensor_value_info(name, k, None) for name, k in (("x", kind), ("y", TensorProto.UNDEFINED)))
    made = helper.make_graph(nodes, "g", [x], [y], values)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(made, opset_imports=opsets)


def operators(model):
    """What is left to the CPU."""
    return [node.operator for node in nodes_without_kernel(model)]


@pytest.mark.parametrize("path", sorted(BUNDLED.glob("*/model.cuda.onnx")), ids=lambda path: path.parent.name)
def test_every_node_of_a_bundled_graph_for_cuda_has_a_kernel(path):
    """No GPU is needed to see that it would not be used."""
    assert [str(node) for node in nodes_without_kernel(onnx.load(path))] == []


def test_the_int8_graph_has_no_kernel_for_its_products():
    """This is why a ranker has a graph for CUDA: all 36 products of quantised weights stay on the CPU."""
    missing = nodes_without_kernel(onnx.load(BUNDLED / "minilm-l6" / "model.onnx"))
    products = [node for node in missing if node.is_product]
    assert [node.operator for node in products] == ["MatMulIntegerToFloat"] * 36
    assert {node.inputs[:2] for node in products} == {("uint8", "int8")}
    assert missing == products
    assert str(products[0]).endswith("MatMulIntegerToFloat(uint8, int8, float, float, uint8, ?, float)")


def test_the_ngram_graph_has_none_for_unsigned_bytes():
    """CUDA multiplies int8 by int8 only."""
    missing = nodes_without_kernel(onnx.load(BUNDLED / "ngram" / "model.onnx"))
    assert {(node.operator, node.inputs) for node in missing} == {("MatMulInteger", ("uint8", "int8", "uint8"))}


def test_fused_half_precision_runs_on_cuda():
    """Types are followed through onnxruntime's own operators too."""
    half = np.zeros((8, 8), np.float16)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("BiasGelu", ["a", "b"], ["c"], domain="com.microsoft"),
        helper.make_node("SkipLayerNormalization", ["c", "a", "b", "b"], ["d"], domain="com.microsoft"),
        helper.make_node("Attention", ["d", "w", "b", "", "", ""], ["e"], domain="com.microsoft", num_heads=2),
        helper.make_node("Cast", ["e"], ["y"], to=TensorProto.FLOAT),
    ]
    assert operators(graph(nodes, w=half, b=half[0])) == []


def test_what_mixes_types_has_no_kernel():
    """A weight that stayed in single precision: the kernel's types must agree."""
    node = helper.make_node("BiasGelu", ["x", "b"], ["y"], domain="com.microsoft")
    missing = nodes_without_kernel(graph([node], b=np.zeros(8, np.float32)))
    assert [missing_node.inputs for missing_node in missing] == [("float16", "float")]


def test_an_operator_that_changed_since_the_kernel_was_made_has_none():
    """Of an open-ended kernel onnxruntime knows only the version that it begins with."""
    node, weight = helper.make_node("InstanceNormalization", ["x", "w", "w"], ["y"]), np.ones(8, np.float16)
    assert operators(graph([node], opset=21, w=weight)) == []
    assert operators(graph([node], opset=22, w=weight)) == ["InstanceNormalization"]


def test_any_number_of_inputs_is_told_once():
    """As of Concat."""
    node = helper.make_node("Concat", ["x", "x", "x"], ["y"], axis=0)
    assert operators(graph([node])) == []


def test_a_type_that_is_not_known_does_not_count_against_a_kernel():
    """What an operator unknown to all gives may be anything; that operator itself has no kernel."""
    nodes = [
        helper.make_node("Strange", ["z"], ["a"], domain="com.microsoft"),
        helper.make_node("Gelu", ["a"], ["y"], domain="com.microsoft"),
    ]
    assert operators(graph(nodes)) == ["Strange"]


def test_an_operator_without_kernel_hands_a_type_on():
    """A float product of int8 weights is a float for what follows."""
    nodes = [
        helper.make_node("MatMulIntegerToFloat", ["q", "w", "s", "s"], ["a"], domain="com.microsoft"),
        helper.make_node("BiasGelu", ["a", "x"], ["y"], domain="com.microsoft"),
    ]
    byte = np.zeros((8, 8), np.uint8)
    model = graph(nodes, kind=TensorProto.FLOAT, q=byte, w=byte, s=np.ones(1, np.float32))
    assert operators(model) == ["MatMulIntegerToFloat"]
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    assert operators(model) == ["MatMulIntegerToFloat", "BiasGelu"]


def test_the_table_is_whole():
    """Every line is a kernel; what has none at all is not there."""
    kernels = cuda_kernels()
    assert sum(map(len, kernels.values())) > 100
    assert ("com.microsoft", "MatMulIntegerToFloat") not in kernels
    ranges = [(k.first, k.last) for k in kernels["ai.onnx", "Reshape"]]
    assert ranges == [(25, None), (23, 24), (21, 22), (19, 20), (14, 18), (13, 13)]
    assert all(isinstance(k, CudaKernel) and k.forms and k.types for found in kernels.values() for k in found)
    assert {domain for domain, _ in kernels} == {"ai.onnx", "com.microsoft"}
