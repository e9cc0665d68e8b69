"""The same ranker in PyTorch, with its own fused attention: what onnxruntime is measured beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto, helper
from torch import Tensor
from torch.nn import functional

from benchmarks.gpu.encoder import read_any
from rankd.scoring.onnx_model import Ids
from rankd.training.export.read_encoder import EncoderLayer, LayerNorm

_TYPES = {"fp16": torch.float16, "fp32": torch.float32, "bf16": torch.bfloat16}
Operator = Callable[[list[Any], dict[str, Any]], Tensor]


class TorchRanker:
    """Reads an encoder out of an ONNX file, and runs it with PyTorch's operators."""

    def __init__(self, graph: str, *, device: str, precision: str) -> None:
        """Load.

        Raises:
            ValueError: the graph is no BERT with fused attention.
        """
        weights = read_any(onnx.load(graph))
        if weights is None:
            raise ValueError(f"{graph} is no BERT with fused attention")
        self.version, self.device, self._type = torch.__version__, device, _TYPES[precision]
        self._weights = weights
        torch.set_num_threads(1)  # as the other loops
        self._words, self._positions = self._put(weights.words), self._put(weights.positions)
        self._start = self._norm(weights.start)
        self._layers = [self._layer(layer) for layer in weights.layers]
        self._constants = {name: self._put(value) for name, value in weights.constants.items() if _read(weights, name)}

    def _put(self, array: Any) -> Tensor:
        tensor = torch.from_numpy(np.array(array)).to(self.device)
        return tensor.to(self._type) if tensor.is_floating_point() else tensor

    def _norm(self, norm: LayerNorm) -> tuple[Tensor, Tensor]:
        return self._put(norm.weight), self._put(norm.bias)

    def _layer(self, layer: EncoderLayer) -> dict[str, Any]:
        matrices = {name: self._put(getattr(layer, name).T.copy()) for name in ("qkv", "out", "up", "down")}
        biases = {f"{name}_bias": self._put(getattr(layer, f"{name}_bias")) for name in matrices}
        return {**matrices, **biases, "middle": self._norm(layer.middle), "end": self._norm(layer.end)}

    @torch.inference_mode()
    def run(self, ids: Ids, mask: Ids) -> Any:
        """Score a batch, int64[batch, tokens] each: float32[batch], on the host."""
        on_device = torch.from_numpy(ids).to(self.device, non_blocking=True)
        seen = torch.from_numpy(mask).to(self.device, non_blocking=True)
        x = self._words[on_device] + self._positions[: ids.shape[1]]
        x = self._normed(x, self._start)
        allowed = None if bool((mask == 1).all()) else seen.bool()[:, None, None, :]
        for layer in self._layers:
            x = self._normed(x + functional.linear(self._attended(x, layer, allowed), layer["out"], layer["out_bias"]),
                             layer["middle"])  # fmt: skip
            up = functional.gelu(functional.linear(x, layer["up"], layer["up_bias"]))
            x = self._normed(x + functional.linear(up, layer["down"], layer["down_bias"]), layer["end"])
        return self._tail(x, on_device, seen).float().cpu().numpy()

    def _normed(self, x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
        return functional.layer_norm(x, (x.shape[-1],), *norm, eps=float(self._weights.epsilon))

    def _attended(self, x: Tensor, layer: dict[str, Any], allowed: Tensor | None) -> Tensor:
        heads = self._weights.heads
        qkv = functional.linear(x, layer["qkv"], layer["qkv_bias"])
        query, key, value = qkv.view(*x.shape[:2], 3, heads, x.shape[2] // heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        return mixed.transpose(1, 2).reshape(x.shape)

    def _tail(self, x: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """What pools and scores, node by node as the graph has it."""
        known: dict[str, Any] = {
            **self._constants, self._weights.hidden: x, "input_ids": ids, "attention_mask": mask, "": None,
        }  # fmt: skip
        for node in self._weights.tail:
            known[node.output[0]] = self._apply(node, [known[name] for name in node.input])
        score: Tensor = known["score"]
        return score

    def _apply(self, node: NodeProto, inputs: list[Any]) -> Tensor:
        if node.op_type == "Cast":
            return inputs[0].to(self._type)  # type: ignore[no-any-return]
        if node.op_type not in _OPERATORS:
            raise ValueError(f"operator {node.op_type} behind the encoder is not known here")
        return _OPERATORS[node.op_type](inputs, {a.name: helper.get_attribute_value(a) for a in node.attribute})


def _read(weights: Any, name: str) -> bool:
    return any(name in node.input for node in weights.tail)


def _unsqueeze(inputs: list[Any], _: dict[str, Any]) -> Tensor:
    x: Tensor = inputs[0]
    for axis in sorted(inputs[1].tolist()):
        x = x.unsqueeze(axis)
    return x


def _sum(inputs: list[Any], fields: dict[str, Any]) -> Tensor:
    summed: Tensor = inputs[0].sum(dim=inputs[1].tolist(), keepdim=bool(fields.get("keepdims", 1)))
    return summed


def _gemm(inputs: list[Any], fields: dict[str, Any]) -> Tensor:
    weight = inputs[1].T if fields.get("transB", 0) else inputs[1]
    product: Tensor = fields.get("alpha", 1.0) * (inputs[0] @ weight)
    return product + fields.get("beta", 1.0) * inputs[2] if len(inputs) > 2 else product


_OPERATORS: dict[str, Operator] = {
    "Unsqueeze": _unsqueeze,
    "ReduceSum": _sum,
    "Gemm": _gemm,
    "Mul": lambda v, _: v[0] * v[1],
    "Div": lambda v, _: v[0] / v[1],
    "Add": lambda v, _: v[0] + v[1],
    "Sub": lambda v, _: v[0] - v[1],
    "MatMul": lambda v, _: v[0] @ v[1],
    "Clip": lambda v, _: v[0].clamp(min=v[1]),
    "Squeeze": lambda v, _: v[0].squeeze(tuple(v[1].tolist())),
    "Gather": lambda v, f: v[0].select(f.get("axis", 0), int(v[1])),
}
