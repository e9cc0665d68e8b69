"""What a teacher says of texts: the state of each token behind its last layer, by its served graph."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from rankd.errors import ConfigError
from rankd.registry.artifact import Artifact
from rankd.scoring.onnx_model import pad
from rankd.scoring.onnxruntime_import import import_onnxruntime
from rankd.training.export.parity import FEATURES, INPUTS, batches

_BATCH = 512
_STATES = "states"


@dataclass(frozen=True, slots=True)
class Labels:
    """What a teacher sees in texts."""

    starts: NDArray[np.int64]
    """Where the tokens of each text start in ``states``, [texts]."""
    states: NDArray[np.float16]
    """Behind the last layer, [tokens of all texts, hidden]."""
    features: NDArray[np.float32]
    """Their means, which the head reads, [texts, hidden]."""


class Teacher:
    """A bundled encoder's graph, which also gives the states that it pools."""

    def __init__(self, artifact: Artifact) -> None:
        """Load it.

        Raises:
            ConfigError: its graph is not one that the exporter writes of an encoder.
        """
        self.content = artifact.model_path.read_bytes()
        """Its graph."""
        model = onnx.load_from_string(self.content)
        self._constants = {w.name: numpy_helper.to_array(w) for w in model.graph.initializer}
        self._model = model
        name = _pooled_of(model)
        self.width = int(self.head()[0].shape[1])
        model.graph.node.append(helper.make_node("Identity", [name], [_STATES]))
        model.graph.output.append(helper.make_tensor_value_info(_STATES, TensorProto.FLOAT, None))
        onnxruntime = import_onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight, [outputs, hidden], and bias, [outputs], of what scores the features."""
        node = next(n for n in self._model.graph.node if n.op_type == "Gemm" and n.input[0] == FEATURES)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        weight, bias = (self._constants[name] for name in node.input[1:3])
        return (weight if attributes.get("transB", 0) else weight.T), bias

    def words(self) -> NDArray[np.float32]:
        """Word vectors, [vocabulary, hidden]."""
        nodes = self._model.graph.node
        ids = {INPUTS[0], *(n.output[0] for n in nodes if n.op_type == "Transpose" and n.input[0] == INPUTS[0])}
        tables = [self._constants[n.input[0]] for n in nodes if n.op_type == "Gather" and n.input[1] in ids]
        whole: NDArray[np.float32] = np.prod(np.broadcast_arrays(*(t.astype(np.float32) for t in tables)), axis=0)
        return whole

    def labels(self, ids: Sequence[NDArray[np.int32]], work: Path | None = None) -> Labels:
        """Run texts; with ``work`` the states lie in a file there, not in memory, and are found there again."""
        starts = np.concatenate([[0], np.cumsum([len(row) for row in ids])])
        shape = (int(starts[-1]), self.width)
        if work is not None:
            digest = hashlib.sha256(self.content + b"".join(row.tobytes() for row in ids)).hexdigest()[:32]
            kept = work / f"states-{digest}.npy", work / f"features-{digest}.npy"
            if kept[1].exists():
                return Labels(starts[:-1], np.load(kept[0], mmap_mode="r"), np.load(kept[1]))
            work.mkdir(parents=True, exist_ok=True)
        states: Any = (
            np.empty(shape, np.float16) if work is None else np.lib.format.open_memmap(kept[0], "w+", np.float16, shape)
        )
        features = np.empty((len(ids), self.width), np.float32)
        for done, places in enumerate(batches(ids, _BATCH)):
            real, mask = pad([ids[p].astype(np.int64) for p in places])
            found = self._session.run([FEATURES, _STATES], dict(zip(INPUTS, (real, mask), strict=True)))
            features[places] = found[0]
            for place, row in zip(places.tolist(), found[1], strict=True):
                states[starts[place] : starts[place + 1]] = row[: len(ids[place])]
            if done % 500 == 0:
                print(f"labelled a batch of {len(places)}, the {done + 1}th", file=sys.stderr, flush=True)
        if work is not None:
            np.save(kept[1], features)
        return Labels(starts[:-1], states, features)


def _pooled_of(model: ModelProto) -> str:
    """Name of the states whose masked sum, divided by the mask's, is ``features``."""
    by_output = {name: n for n in model.graph.node for name in n.output}
    name = FEATURES
    for operator in ("Div", "ReduceSum", "Mul"):
        node = by_output.get(name)
        if node is None or node.op_type != operator:
            raise ConfigError("the teacher's features are not the mean of states behind a last layer: take an encoder")
        name = node.input[0]
    return name


def deviations(values: NDArray[Any]) -> torch.Tensor:
    """Of each channel, over rows."""
    some = values[:: max(1, len(values) // 20_000)].astype(np.float32)
    return torch.from_numpy(some.std(axis=0) + 1e-6)
