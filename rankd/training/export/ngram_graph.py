"""The n-gram tier as an ONNX graph, written by hand: the same bytes for the same weights, on any machine.

Only ONNX's own operators of opset 17, so that it runs on onnxruntime's CPU and CUDA alike. Word vectors are 8 bits in
every precision, as they are in training. ``int8`` also multiplies windows and spans in 8 bits, which takes a CPU a
quarter of the time: both factors have fixed scales, so that a score does not depend on its neighbours in a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper
from torch import Tensor, nn

from rankd.training.bases.ngram_model import (
    FIRST,
    HEAD_SHARE,
    HEAD_TOKENS,
    MOST,
    PLACE,
    SECOND,
    SHIFT,
    TYPICAL_LOG_LENGTH,
    NgramRanker,
)
from rankd.training.export.parity import FEATURES, SCORE
from rankd.training.fit.losses import spread_of

OPSET, IR = 17, 8
MIDDLE = 128
"""The byte that stands for 0 in a word vector."""
LARGEST_WEIGHT = 63
"""Of an 8-bit weight: seven bits, since CPUs without VNNI add two products up in 16 bits."""


def to_onnx(module: nn.Module, precision: Literal["fp32", "fp16", "int8"] = "fp32") -> ModelProto:
    """Write the graph: ``input_ids``, ``attention_mask`` int64[batch, tokens] → ``score`` float32[batch].

    Beside it ``features``, float32[batch, dimensions]: the mean word vector, from which more is learned of traffic than
    from windows, spans or all of these together.

    A spread that it learned is in the graph where it orders by expected lengths, and no output: nothing else reads it.
    ``fp16`` is not worth a graph of its own: it is ``fp32``.
    """
    assert isinstance(module, NgramRanker)
    return _NgramGraph(module, in_bytes=precision == "int8").model()


class _NgramGraph:
    """Nodes and weights in the order in which they are written."""

    def __init__(self, module: NgramRanker, *, in_bytes: bool) -> None:
        self._module, self._sizes, self._in_bytes = module, module.sizes, in_bytes
        self._nodes: list[NodeProto] = []
        self._weights: dict[str, Any] = {}

    def _add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self._nodes.append(helper.make_node(operator, list(inputs), [output], name=output, **attributes))
        return output

    def _weight(self, name: str, value: Any, kind: Any = np.float32) -> str:
        array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
        self._weights[name] = np.ascontiguousarray(array.astype(kind))
        return name

    def _int(self, name: str, *value: int) -> str:
        return self._weight(name, np.array(value), np.int64)

    def model(self) -> ModelProto:
        """Put the parts together and check them."""
        self._int("zero", 0), self._int("one", 1), self._int("minus_one", -1), self._int("last", 2**31)
        self._read()
        features = self._features()
        hidden = self._add("Relu", [self._dense("hidden", features)], "hidden_active")
        out = self._add("Add", [self._dense("top", hidden), self._dense("straight", features, bias=False)], "out")
        self._add("Squeeze", [self._column(out, 0) if self._module.has_spread else out, "one"], "head_score")
        by_expected = self._module.has_spread and self._module.by_expected
        self._add("Add", ["head_score", self._bag()], "median_score" if by_expected else "score")
        if by_expected:
            self._spread(out)
            self._add("Mul", ["spread", "spread"], "spread_squared")
            self._add("Mul", ["spread_squared", self._weight("half", 0.5)], "half_squared")
            self._add("Add", ["median_score", "half_squared"], "score")
        return self._finish()

    def _read(self) -> None:
        """Padding becomes token 0, whatever it was; neighbours of each token; mask and length as floats."""
        self._add("Equal", ["attention_mask", "zero"], "is_padding")
        self._add("Where", ["is_padding", "zero", "input_ids"], "ids")
        self._add("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
        self._add("ReduceSum", ["mask", "one"], "tokens", keepdims=1)
        self._add("Max", ["tokens", self._weight("least", [1.0])], "length")
        self._add("Slice", ["ids", "zero", "one", "one"], "first_column")
        self._add("Mul", ["first_column", "zero"], "blank")
        self._add("Slice", ["ids", "zero", "minus_one", "one"], "all_but_last")
        self._add("Slice", ["ids", "one", "last", "one"], "all_but_first")
        self._add("Concat", ["blank", "all_but_last"], "before", axis=1)
        self._add("Concat", ["all_but_first", "blank"], "after", axis=1)
        self._add("Unsqueeze", ["mask", self._int("two", 2)], "mask_wide")

    def _features(self) -> str:
        """The strongest windows and spans, the mean vector, and the length: [b, features]."""
        self._vectors()
        windows = self._layer("window", "near_bytes" if self._in_bytes else "near", MIDDLE, self._module.source.scale)
        spans = self._layer("span", self._near_windows(windows), 0, np.full(self._sizes.windows, MOST / 255))
        for name in (windows, spans):
            self._add("ReduceMax", [name], f"{name}_strongest", axes=[1], keepdims=0)
        self._add("ReduceSum", ["vectors", "one"], "vectors_sum", keepdims=0)
        self._add("Div", ["vectors_sum", "length"], FEATURES)
        self._add("Log", ["length"], "log_length")
        self._add("Sub", ["log_length", self._weight("typical", [TYPICAL_LOG_LENGTH])], "grade")
        self._add("Mul", ["grade", "grade"], "grade_squared")
        parts = [f"{windows}_strongest", f"{spans}_strongest", FEATURES, "grade", "grade_squared"]
        return self._add("Concat", parts, "all_features", axis=1)

    def _vectors(self) -> None:
        """Word vectors of each token, and with those beside it, as bytes or as floats: [b, t, 3 dimensions]."""
        source = self._module.source
        self._weight("words", source.table.astype(np.int16) + MIDDLE, np.uint8)
        self._weight("words_scale", source.scale)
        self._weight("words_middle", np.full(len(source.scale), MIDDLE), np.uint8)
        for name in ("before", "ids", "after"):
            self._add("Gather", ["words", name], f"{name}_bytes")
        self._add("DequantizeLinear", ["ids_bytes", "words_scale", "words_middle"], "vectors", axis=2)
        if self._in_bytes:
            self._add("Concat", ["before_bytes", "ids_bytes", "after_bytes"], "near_bytes", axis=2)
            return
        for name in ("before", "after"):
            self._add("DequantizeLinear", [f"{name}_bytes", "words_scale", "words_middle"], f"{name}_vectors", axis=2)
        self._add("Concat", ["before_vectors", "vectors", "after_vectors"], "near", axis=2)

    def _near_windows(self, windows: str) -> str:
        """The windows of each position with those beside it, as bytes or as floats: [b, t, 3 windows]."""
        blank, near = np.zeros((1, 1, self._sizes.windows)), windows
        if self._in_bytes:
            step = [
                self._weight("window_step", np.float32(MOST / 255)),
                self._weight("window_zero", np.uint8(0), np.uint8),
            ]
            near = self._add("QuantizeLinear", [windows, *step], "window_bytes")
        self._weight("blank_window", blank, np.uint8 if self._in_bytes else np.float32)
        self._add("Shape", ["ids"], "rows", start=0, end=1)
        self._add("Concat", ["rows", "one", "one"], "blank_shape", axis=0)
        self._add("Expand", ["blank_window", "blank_shape"], "blank_windows")
        self._add("Slice", [near, "zero", "minus_one", "one"], "windows_but_last")
        self._add("Slice", [near, "one", "last", "one"], "windows_but_first")
        self._add("Concat", ["blank_windows", "windows_but_last"], "windows_before", axis=1)
        self._add("Concat", ["windows_but_first", "blank_windows"], "windows_after", axis=1)
        return self._add("Concat", ["windows_before", near, "windows_after"], "near_windows", axis=2)

    def _layer(self, name: str, source: str, middle: int, step: Any) -> str:
        """A layer over a position and its neighbours, clamped, and zero where there is padding: [b, t, outputs].

        Args:
            name: of the layer in the module.
            source: [b, t, 3 n], floats, or bytes that stand for ``(byte - middle) * step``.
            middle: as above.
            step: as above, [n].
        """
        layer = getattr(self._module, name)
        weight = layer.weight.detach().numpy().T
        if self._in_bytes:
            weight = weight * np.tile(step, 3)[:, None]
            scale = np.maximum(np.abs(weight).max(axis=0) / LARGEST_WEIGHT, np.finfo(np.float32).tiny)
            factors = [self._weight(f"{name}_weight", np.round(weight / scale), np.int8)]
            zero = self._weight(f"{name}_middle", np.uint8(middle), np.uint8)
            self._add("MatMulInteger", [source, *factors, zero], f"{name}_whole")
            self._add("Cast", [f"{name}_whole"], f"{name}_float", to=TensorProto.FLOAT)
            self._add("Mul", [f"{name}_float", self._weight(f"{name}_scale", scale)], f"{name}_product")
        else:
            self._add("MatMul", [source, self._weight(f"{name}_weight", weight)], f"{name}_product")
        self._add("Add", [f"{name}_product", self._weight(f"{name}_bias", layer.bias)], f"{name}_sum")
        bounds = [self._weight("least_feature", np.float32(0)), self._weight("most_feature", np.float32(MOST))]
        self._add("Clip", [f"{name}_sum", *bounds], f"{name}_clamped")
        return self._add("Mul", [f"{name}_clamped", "mask_wide"], f"{name}s")

    def _dense(self, name: str, source: str, *, bias: bool = True) -> str:
        layer = getattr(self._module, name)
        inputs = [source, self._weight(f"{name}_weight", layer.weight)]
        if bias:
            inputs.append(self._weight(f"{name}_bias", layer.bias))
        return self._add("Gemm", inputs, name, transB=1)

    def _bag(self) -> str:
        """What hashed n-grams weigh: [b]."""
        first = self._add("Mul", ["before", self._int("first", FIRST)], "pair_first")
        second = self._add("Mul", ["ids", self._int("second", SECOND)], "pair_second")
        self._add("Add", [first, second], "pair_both")
        self._add("Add", ["pair_both", self._int("shift", SHIFT)], "pair_hash")
        self._add("Mod", ["pair_hash", self._int("pair_buckets", self._sizes.pair_buckets)], "pair_ids")
        singles = self._add("Gather", [self._weight("singles", self._module.singles[:, 0]), "ids"], "single_weights")
        pairs = self._add("Gather", [self._weight("pairs", self._module.pairs[:, 0]), "pair_ids"], "pair_weights")
        self._add("Add", [singles, pairs], "both_weights")
        self._add("Mul", ["both_weights", "mask"], "bag_weights")
        self._add("ReduceSum", ["bag_weights", "one"], "bag_sum", keepdims=1)
        self._add("Sqrt", ["length"], "root_length")
        self._add("Div", ["bag_sum", "root_length"], "bag_scaled")
        self._add("Add", ["bag_scaled", self._heads()], "bag_whole")
        return self._add("Squeeze", ["bag_whole", "one"], "bag")

    def _heads(self) -> str:
        """What tokens weigh by where they stand at the start: [b, 1]."""
        self._int("head_tokens", HEAD_TOKENS)
        self._add("Slice", ["ids", "zero", "head_tokens", "one"], "head_ids")
        self._add("Slice", ["mask", "zero", "head_tokens", "one"], "head_mask")
        self._add("Shape", ["head_ids"], "head_width", start=1)
        places = self._int("places", *(PLACE * i for i in range(HEAD_TOKENS)))
        self._add("Slice", [places, "zero", "head_width"], "head_places")
        self._add("Mul", ["head_ids", "first"], "head_first")
        self._add("Add", ["head_first", "head_places"], "head_hash")
        self._add("Mod", ["head_hash", self._int("head_buckets", self._sizes.head_buckets)], "head_buckets_of")
        self._add("Gather", [self._weight("heads", self._module.heads[:, 0]), "head_buckets_of"], "head_weights")
        self._add("Mul", ["head_weights", "head_mask"], "head_kept")
        self._add("ReduceSum", ["head_kept", "one"], "head_sum", keepdims=1)
        return self._add("Mul", ["head_sum", self._weight("head_share", [HEAD_SHARE])], "head_part")

    def _column(self, source: str, column: int) -> str:
        at = self._int(f"column_{column}", column)
        return self._add("Gather", [source, at], f"out_{column}", axis=1)

    def _spread(self, out: str) -> None:
        low, high = spread_of(torch.tensor([-1e3, 1e3]))
        bounds = [self._weight("spread_low", low), self._weight("spread_high", high)]
        self._add("Squeeze", [self._column(out, 1), "one"], "spread_raw")
        self._add("Exp", ["spread_raw"], "spread_free")
        self._add("Clip", ["spread_free", *bounds], "spread")

    def _finish(self) -> ModelProto:
        inputs = [
            helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "tokens"])
            for n in ("input_ids", "attention_mask")
        ]
        results = [
            helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", self._sizes.dimensions]),
        ]
        weights = [numpy_helper.from_array(array, name) for name, array in self._weights.items()]
        graph = helper.make_graph(self._nodes, "rankd", inputs, results, weights)
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="rankd"
        )
        checker.check_model(model)
        return model
