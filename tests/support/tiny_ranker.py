"""Makes small, real ranker directories: a tiny ONNX model whose scores can be foretold, and a tokenizer to match."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from rankd.registry.artifact import write_manifest

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "long", "short", *[f"w{i}" for i in range(58)]]


def make_artifact(
    path: Path,
    *,
    name="tiny",
    version="1.0.0",
    scale=1.0,
    long=1.0,
    constant=False,
    nan=False,
    nan_word=None,
    input_names=("input_ids", "attention_mask"),
    declared_inputs=None,
    work=0,
    measured_tau=0.5,
    calibration=True,
    max_tokens=64,
    features=0,
    nan_features_word=None,
) -> Path:
    """Write a ranker whose score is ``scale * (long * count('long') - count('short') + 0.01 * tokens)``.

    ``work`` adds that many 256x256 matrix products per token; ``nan_word`` makes prompts with that word NaN.
    ``features`` gives it so many pooled ones: how often each of the first so many words is in the prompt, and zeros;
    ``nan_features_word`` makes those of prompts with that word NaN.
    """
    path.mkdir(parents=True, exist_ok=True)
    weights = _weights(scale, long)
    if constant or nan:
        weights[:] = np.nan if nan else 0
    if nan_word:
        weights[WORDS.index(nan_word)] = np.nan
    model = _model(weights, input_names, work)
    if features:
        _add_features(model, features, nan_features_word)
    onnx.save(model, path / "model.onnx")
    _tokenizer().save(str(path / "tokenizer.json"))
    fields = {
        "name": name,
        "version": version,
        "direction": "higher_is_longer",
        "truncation": {"max_tokens": max_tokens, "head_tokens": max_tokens // 2, "tail_tokens": max_tokens // 2},
        "licence": "Apache-2.0",
        "inputs": list(declared_inputs or input_names),
        "features_output": "features" if features else None,
        "measured_tau": measured_tau,
        "calibration": _calibration() if calibration else None,
    }
    write_manifest(path, {name: value for name, value in fields.items() if value is not None})
    return path


def _calibration():
    knots = [
        {"score": float(s), "expected": 100.0 + 10 * s, "p50": 80.0 + 8 * s, "p90": 200.0 + 20 * s}
        for s in range(-10, 11)
    ]
    return {"knots": knots, "mean_expected": 100.0}


def _weights(scale, long):
    weights = np.full(len(WORDS), 0.01 * scale, dtype=np.float32)
    weights[WORDS.index("long")] += scale * long
    weights[WORDS.index("short")] -= scale
    return weights


def _model(weights, input_names, work):
    ids, mask = (*input_names, "attention_mask")[:2]
    nodes = [
        helper.make_node("Gather", ["weights", ids], ["each"]),
        helper.make_node("Cast", [mask], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["real"], ["on"], to=TensorProto.BOOL),
        helper.make_node("Where", ["on", "each", "zero"], ["masked"]),
    ]
    last = "masked"
    initializers = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "axis"),
    ]
    if work:
        # Products that cancel out: they cost time and change nothing but the last bit.
        initializers += [
            numpy_helper.from_array(np.array([2], dtype=np.int64), "last_axis"),
            numpy_helper.from_array(np.full((1, 256), 1 / 256, dtype=np.float32), "spread"),
            numpy_helper.from_array(np.eye(256, dtype=np.float32), "eye"),
            numpy_helper.from_array(np.array([2], dtype=np.int64), "end"),
        ]
        nodes.append(helper.make_node("Unsqueeze", ["masked", "end"], ["wide0"]))
        nodes.append(helper.make_node("MatMul", ["wide0", "spread"], ["work0"]))
        nodes.extend(helper.make_node("MatMul", [f"work{i}", "eye"], [f"work{i + 1}"]) for i in range(work))
        nodes.append(helper.make_node("ReduceSum", [f"work{work}", "last_axis"], ["back"], keepdims=0))
        last = "back"
    nodes.append(helper.make_node("ReduceSum", [last, "axis"], ["score"], keepdims=0))
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "tokens"]) for n in (ids, mask)]
    graph = helper.make_graph(
        nodes, "tiny", inputs, [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch"])], initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _add_features(model, width, nan_word):
    """Count a prompt's words, as an output of its own."""
    table = np.eye(len(WORDS), width, dtype=np.float32)
    if nan_word:
        table[WORDS.index(nan_word)] = np.nan
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(table, "table"))
    graph.initializer.append(numpy_helper.from_array(np.array([2], dtype=np.int64), "beyond"))
    graph.node.extend(
        [
            helper.make_node("Gather", ["table", graph.input[0].name], ["rows"]),
            helper.make_node("Unsqueeze", ["on", "beyond"], ["on_rows"]),
            helper.make_node("Where", ["on_rows", "rows", "zero"], ["rows_masked"]),
            helper.make_node("ReduceSum", ["rows_masked", "axis"], ["features"], keepdims=0),
        ]
    )
    shape = ["batch", table.shape[1]]
    graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, shape))
    onnx.checker.check_model(model)


def _tokenizer():
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer
