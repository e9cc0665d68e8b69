"""Rankers that mean harm, or were made by somebody who did not look: what loading them must survive."""

import json

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from rankd.registry.artifact_files import MODEL, TOKENIZER
from support.ranker_start import rehash
from support.tiny_ranker import WORDS, make_artifact

BATCH = ["batch", "tokens"]


def _write(path, nodes, initializers, **options):
    """A tiny ranker's directory with another graph, from ``input_ids`` to ``score``."""
    make_artifact(path, **options)
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, BATCH) for n in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])]
    graph = helper.make_graph(nodes, "hostile", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path / MODEL)
    rehash(path)
    return path


def _sum():
    """``sum``, [batch]: of the token ids."""
    nodes = [
        helper.make_node("Cast", ["input_ids"], ["ids"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["ids", "axis"], ["sum"], keepdims=0),
    ]
    return nodes, [numpy_helper.from_array(np.array([1]), "axis")]


def endless(path, word=None, **options):
    """A loop that never ends; with ``word`` only for batches that have it."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["x", "one"], ["y"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"]),
        ],
        [numpy_helper.from_array(np.float32(0.5), "one")],
    )
    nodes, initializers = _sum()
    initializers.append(numpy_helper.from_array(np.int64(2**62), "most"))
    if word is None:
        initializers.append(numpy_helper.from_array(np.array(True), "start"))
    else:
        initializers.append(numpy_helper.from_array(np.int64(WORDS.index(word)), "word"))
        nodes += [
            helper.make_node("Equal", ["input_ids", "word"], ["is_word"]),
            helper.make_node("Cast", ["is_word"], ["word_number"], to=TensorProto.INT32),
            helper.make_node("ReduceMax", ["word_number"], ["any_word"], keepdims=0),
            helper.make_node("Cast", ["any_word"], ["start"], to=TensorProto.BOOL),
        ]
    nodes.append(helper.make_node("Loop", ["most", "start", "sum"], ["score"], body=body))
    return _write(path, nodes, initializers, **options)


def huge(path, numbers, **options):
    """A constant of so many numbers that the file only describes."""
    nodes, initializers = _sum()
    initializers.append(numpy_helper.from_array(np.array([numbers]), "numbers"))
    nodes += [
        helper.make_node("ConstantOfShape", ["numbers"], ["much"]),
        helper.make_node("ReduceSum", ["much"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["sum", "nothing"], ["score"]),
    ]
    return _write(path, nodes, initializers, **options)


def expanding(path, numbers, **options):
    """So many numbers of one, in two dimensions."""
    nodes, initializers = _sum()
    initializers.append(numpy_helper.from_array(np.array([numbers, numbers]), "shape"))
    nodes += [
        helper.make_node("ReduceSum", ["sum"], ["all"], keepdims=0),
        helper.make_node("Expand", ["all", "shape"], ["much"]),
        helper.make_node("ReduceSum", ["much"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["sum", "nothing"], ["score"]),
    ]
    return _write(path, nodes, initializers, **options)


def foreign(path, domain="", version=17, operator="ReduceSum", **options):
    """An operator, or a version of them, that nobody has."""
    make_artifact(path, **options)
    model = onnx.load(path / MODEL)
    model.opset_import[0].version = version
    if domain:
        model.opset_import.add(domain=domain, version=1)
        model.graph.node[-1].domain = domain
    model.graph.node[-1].op_type = operator
    (path / MODEL).write_bytes(model.SerializeToString())
    rehash(path)
    return path


def exploding(path, depth=10, **options):
    """Functions that call each other ten times each: as many nodes as ten to the power of ``depth``."""
    make_artifact(path, **options)
    model = onnx.load(path / MODEL)
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    for level in range(depth):
        kind, domain = ("Identity", "") if level == 0 else (f"F{level - 1}", "f")
        nodes = [helper.make_node(kind, [f"x{i}"], [f"x{i + 1}"], domain=domain) for i in range(10)]
        model.functions.append(helper.make_function("f", f"F{level}", ["x0"], ["x10"], nodes, versions))
    model.opset_import.add(domain="f", version=1)
    model.graph.node.append(helper.make_node(f"F{depth - 1}", ["score"], ["last"], domain="f"))
    model.graph.output[0].name = "last"
    (path / MODEL).write_bytes(model.SerializeToString())
    rehash(path, output="last")
    return path


def external(path, location="weights.bin", **options):
    """A tiny ranker that keeps its weights in another file."""
    make_artifact(path, **options)
    model = onnx.load(path / MODEL)
    for tensor in model.graph.initializer:
        if tensor.name == "weights":
            (path / "weights.bin").write_bytes(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value=location)
    (path / MODEL).write_bytes(model.SerializeToString())
    rehash(path)
    return path


def with_tokenizer(path, tokenizer, **options):
    """A tiny ranker with another tokenizer: its text, or a ``Tokenizer``."""
    make_artifact(path, **options)
    text = tokenizer if isinstance(tokenizer, str) else tokenizer.to_str()
    (path / TOKENIZER).write_text(text)
    rehash(path)
    return path


def plain_tokenizer(words=()):
    """The tiny ranker's words, and more that the model takes for the first ones."""
    vocabulary = {w: i for i, w in enumerate(WORDS)}
    for word in words:
        vocabulary.setdefault(word, len(vocabulary))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def growing_tokenizer(pattern, times=5):
    """Makes a thousand of each ``pattern``, ``times`` times over."""
    tokenizer = plain_tokenizer()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(pattern, pattern * 1000) for _ in range(times)])
    return tokenizer


def repeating_tokenizer(times):
    """A template that has the text itself so many times."""
    fields = json.loads(plain_tokenizer().to_str())
    text = {"Sequence": {"id": "A", "type_id": 0}}
    fields["post_processor"] = {
        "type": "TemplateProcessing", "single": [text] * times, "pair": [text], "special_tokens": {},
    }  # fmt: skip
    return json.dumps(fields)


def hungry(path, word, numbers, **options):
    """Takes memory for so many numbers, for batches that have ``word``."""
    nodes, initializers = _sum()
    for name, value in (("word", WORDS.index(word)), ("many", numbers), ("few", 1)):
        initializers.append(numpy_helper.from_array(np.array([value]), name))
    nodes += [
        helper.make_node("Equal", ["input_ids", "word"], ["is_word"]),
        helper.make_node("Cast", ["is_word"], ["word_number"], to=TensorProto.INT32),
        helper.make_node("ReduceMax", ["word_number"], ["any_word"], keepdims=0),
        helper.make_node("Cast", ["any_word"], ["has_word"], to=TensorProto.BOOL),
        helper.make_node("Where", ["has_word", "many", "few"], ["numbers"]),
        helper.make_node("ConstantOfShape", ["numbers"], ["much"]),
        helper.make_node("ReduceSum", ["much"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["sum", "nothing"], ["score"]),
    ]
    return _write(path, nodes, initializers, **options)
