"""A learned head as ONNX nodes behind a ranker's own: what the daemon computes of features, out of token ids.

Words are hashed as ``FeatureHasher`` does it, each bucket of a prompt once and at most ``MOST_WORDS``, and dense
features are put in steps of a 127th of their largest, so that scores are those that the daemon learned. Only ONNX's own
operators, of opset 13 on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from rankd.adaptation.features import BUCKETS, MOST_WORDS
from rankd.adaptation.folding import FoldedHead
from rankd.adaptation.hashing import PLACES, SIFT
from rankd.errors import ArtifactError
from rankd.training.export.canonical_graph import canonical

LEAST_OPSET = 13
_SHIFT = 2**14
"""More than there are buckets: a bucket and its place in the order are one number."""
_NONE = 2**40
"""Above any such number."""


def fold(model: ModelProto, head: FoldedHead, *, score: str, features: str | None) -> tuple[ModelProto, str]:
    """Put a head behind a ranker.

    Args:
        model: the ranker's.
        head: what was learned.
        score: the ranker's output of scores.
        features: its output of pooled features; None: it has none.

    Returns:
        The graph, and the name of its output of scores. Features stay an output.

    Raises:
        ArtifactError: FOLD, where the graph is not one that a head can be put behind.
    """
    opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < LEAST_OPSET:
        raise ArtifactError("FOLD", f"the ranker's graph is of opset {opset}; a head needs {LEAST_OPSET} or above")
    outputs = {o.name for o in model.graph.output}
    if score not in outputs or (features is not None and features not in outputs):
        raise ArtifactError("FOLD", f"the ranker's graph has outputs {sorted(outputs)}, not what its manifest says")
    if len(head.head.dense) and features is None:
        raise ArtifactError("FOLD", "what was learned uses pooled features, and the ranker's manifest names none")
    return _HeadGraph(model, head).folded(score, features)


class _HeadGraph:
    """Nodes and weights behind those of a ranker."""

    def __init__(self, model: ModelProto, head: FoldedHead) -> None:
        self._model = ModelProto()
        self._model.CopyFrom(model)
        self._head = head
        graph = self._model.graph
        self._taken = {name for node in graph.node for name in (*node.input, *node.output)}
        named: tuple[Any, ...] = (*graph.input, *graph.output, *graph.initializer)
        self._taken |= {v.name for v in named}
        self._nodes: list[NodeProto] = []
        self._ints: dict[Any, str] = {}

    def folded(self, score: str, features: str | None) -> tuple[ModelProto, str]:
        """The whole."""
        graph, head = self._model.graph, self._head.head
        own = self._add("Cast", score, to=TensorProto.FLOAT)
        parts = [self._add("Mul", own, self._weight(np.float32(head.slope)))]
        if len(head.dense) and features is not None:
            parts.append(self._dense(features))
        if head.words.any():
            parts.append(self._words())
        total = self._weight(np.float32(head.intercept))
        for part in parts[:-1]:
            total = self._add("Add", part, total)
        whole = self._add("Add", parts[-1], total)
        # Beyond the lengths that were learned from it is drawn in, as the daemon does it.
        low, high = (self._weight(np.float32(np.clip(bound, -1e30, 1e30))) for bound in (head.low, head.high))
        inside = self._add("Clip", whole, low, high)
        beside = self._add("Softsign", self._add("Sub", whole, inside))
        name = self._free("learned_score")
        self._nodes.append(helper.make_node("Add", [inside, beside], [name], name=name))
        graph.node.extend(self._nodes)
        kept = [o for o in graph.output if o.name != score]
        del graph.output[:]
        graph.output.extend([helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch"]), *kept])
        model = canonical(self._model)
        checker.check_model(model)
        return model, name

    def _dense(self, features: str) -> str:
        """Dense weights on features in their steps: [b]."""
        size = self._add("Abs", features)
        largest = self._first(self._add_split("TopK", size, self._int([1]), outputs=2, axis=1, largest=1, sorted=1))
        step = self._add("Div", largest, self._weight(np.float32(127.0)))
        some = self._add("Greater", step, self._weight(np.finfo(np.float32).tiny))
        safe = self._add("Where", some, step, self._weight(np.float32(1.0)))
        steps = self._add("Round", self._add("Div", features, safe))
        whole = self._add("Mul", steps, safe)
        kept = self._add("Where", some, whole, self._weight(np.float32(0.0)))
        product = self._add("MatMul", kept, self._weight(np.asarray(self._head.head.dense, np.float32)[:, None]))
        return self._add("Squeeze", product, self._int([1]))

    def _words(self) -> str:
        """Weights of hashed words, each once: [b]."""
        bucket, there = self._buckets()
        sift = self._int(self._head.multipliers[7])
        order = self._add("Mod", self._add("Mul", bucket, sift), self._int(SIFT))
        key = self._add("Add", self._add("Mul", order, self._int(_SHIFT)), bucket)
        key = self._add("Where", there, key, self._int(_NONE))
        count = self._add("Slice", self._add("Shape", key), self._int([1]), self._int([2]))
        key = self._first(self._add_split("TopK", key, count, outputs=2, axis=1, largest=0, sorted=1))
        new = self._add("Not", self._add("Equal", key, self._shifted(key, by=1, fill=-1)))
        new = self._add("And", new, self._add("Less", key, self._int(_NONE)))
        counted = self._add("Cast", new, to=TensorProto.FLOAT)
        rank = self._add("CumSum", counted, self._int(1))
        kept = self._add("And", new, self._add("LessOrEqual", rank, self._weight(np.float32(MOST_WORDS))))
        kept = self._add("Cast", kept, to=TensorProto.FLOAT)
        # What is not there has a number that is no bucket.
        found = self._add("Where", new, self._add("Mod", key, self._int(_SHIFT)), self._int(0))
        weights = self._add("Gather", self._weight(np.asarray(self._head.head.words, np.float32)), found)
        both = [self._add("Mul", weights, kept), kept]
        total, words = (self._add("ReduceSum", part, self._int([1]), keepdims=0) for part in both)
        root = self._add("Sqrt", self._add("Max", words, self._weight(np.float32(1.0))))
        return self._add("Div", total, root)

    def _buckets(self) -> tuple[str, str]:
        """Buckets of words, pairs and first words, and which of them are there: [b, 3 tokens]."""
        single, first, second, add, place, step, shift, _ = (self._int(m) for m in self._head.multipliers)
        mask = self._add("Greater", self._mask(), self._int(0))
        ids = self._add("Where", mask, "input_ids", self._int(0))
        tokens = self._add("Cast", mask, to=TensorProto.INT64)
        at = self._add("Sub", self._add("CumSum", tokens, self._int(1)), self._int(1))
        length = self._add("ReduceSum", tokens, self._int([1]), keepdims=1)
        after = self._shifted(ids, by=-1, fill=0)
        # The first and the last token of a prompt are special ones.
        inner = self._add("And", self._add("Greater", at, self._int(0)), mask)
        inner = self._add("And", inner, self._add("Less", at, self._add("Sub", length, self._int(1))))
        paired = self._add("And", inner, self._add("Less", at, self._add("Sub", length, self._int(2))))
        placed = self._add("And", inner, self._add("LessOrEqual", at, self._int(PLACES)))
        where = self._add("Mul", self._add("Sub", at, self._int(1)), step)
        hashes = (
            self._add("Mul", ids, single),
            self._add("Add", self._add("Add", self._add("Mul", ids, first), self._add("Mul", after, second)), add),
            self._add("Add", self._add("Add", self._add("Mul", ids, place), where), shift),
        )
        whole = self._add("Mod", self._add("Concat", *hashes, axis=1), self._int(BUCKETS))
        there = self._add("Concat", inner, paired, placed, axis=1)
        # Below zero where the place is before the first token, and not there then.
        return self._add("Where", there, whole, self._int(0)), there

    def _mask(self) -> str:
        graph = self._model.graph
        if all(i.name != "attention_mask" for i in graph.input):
            shape = ["batch", "tokens"]
            graph.input.append(helper.make_tensor_value_info("attention_mask", TensorProto.INT64, shape))
        return "attention_mask"

    def _shifted(self, source: str, *, by: int, fill: int) -> str:
        """Columns moved by one, to the right or to the left, with a constant in the gap."""
        column = self._add("Slice", source, self._int([0]), self._int([1]), self._int([1]))
        blank = self._add("Add", self._add("Mul", column, self._int(0)), self._int(fill))
        if by > 0:
            rest = self._add("Slice", source, self._int([0]), self._int([-1]), self._int([1]))
            return self._add("Concat", blank, rest, axis=1)
        rest = self._add("Slice", source, self._int([1]), self._int([2**31]), self._int([1]))
        return self._add("Concat", rest, blank, axis=1)

    def _add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        return self._first(self._add_split(operator, *inputs, outputs=1, **attributes))

    def _add_split(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        names = [self._free(f"head_{len(self._taken)}") for _ in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, name=names[0], **attributes))
        return names

    @staticmethod
    def _first(names: list[str]) -> str:
        return names[0]

    def _int(self, value: int | list[int]) -> str:
        key = tuple(value) if isinstance(value, list) else value
        if key not in self._ints:
            self._ints[key] = self._weight(np.array(value, np.int64))
        return self._ints[key]

    def _weight(self, value: Any) -> str:
        name = self._free(f"weight_{len(self._taken)}")
        self._model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _free(self, name: str) -> str:
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name
