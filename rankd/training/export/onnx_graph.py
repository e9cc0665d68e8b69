"""From a PyTorch module to one ONNX graph of fused operators, with the same bytes each time.

PyTorch's TorchScript exporter is used, not the newer one: onnxruntime's transformer optimiser recognises an encoder's
attention in what it writes and not in what the newer one writes (tried with torch 2.13 and onnxruntime 1.31).
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, helper
from torch import Tensor, nn

from rankd.adaptation.features import MOST_DENSE
from rankd.errors import ArtifactError, InferenceError
from rankd.scoring.onnxruntime_import import import_onnxruntime
from rankd.training.bases.transformer import TransformerRanker
from rankd.training.export.canonical_graph import canonical, to_bytes
from rankd.training.export.parity import FEATURES, INPUTS, SCORE, onnx_runner, torch_runner
from rankd.training.quiet import quiet_libraries, without_stdout

_OPSET = 17
_FUSED = ("Attention", "MultiHeadAttention", "EmbedLayerNormalization", "LayerNormalization", "SkipLayerNormalization")
_ACTIVATIONS: dict[str, tuple[str, ...]] = {"gelu": ("BiasGelu", "FastGelu", "Gelu"), "relu": ("Relu",)}
"""Operators of a feed-forward part's activation, by the configuration's ``hidden_act``."""
_ENCODERS = frozenset({"bert"})
"""Model types whose attention is known to fuse; if it does not, something is wrong."""


@dataclass(frozen=True, slots=True)
class FusedGraph:
    """An exported model, and how many of which fused operators it has."""

    model: ModelProto
    fused: dict[str, int]


def fused_graph(module: TransformerRanker) -> FusedGraph:
    """Export a transformer and fuse its operators.

    Raises:
        ArtifactError: NOT_EXPORTED where PyTorch cannot export it; NOT_FUSED where an encoder's operators stay apart.
    """
    config: Any = module.body.config
    model = _fuse(_exported(module), config.num_attention_heads, config.hidden_size)
    _fix_outputs(model, min(module.head.in_features, MOST_DENSE))
    counts = Counter(n.op_type for n in model.graph.node)
    active = _ACTIVATIONS.get(getattr(config, "hidden_act", "gelu"), _ACTIVATIONS["gelu"])
    fused = {name: counts[name] for name in (*_FUSED, *active) if counts[name]}
    if config.model_type in _ENCODERS:
        _check_fused(fused, config.num_hidden_layers, active)
    return FusedGraph(canonical(model), fused)


def _exported(module: TransformerRanker) -> ModelProto:
    """The first export that scores a batch of another shape as PyTorch does.

    The TorchScript exporter bakes the traced batch into a decoder's mask; the newer one does not.
    """
    body: Any = module.body
    before = body.config._attn_implementation  # noqa: SLF001 - transformers has no public name to read it by
    body.set_attn_implementation("eager")  # the form that the optimiser knows
    failures: list[str] = []
    try:
        for how in (_traced, _programmed):
            try:
                with torch.inference_mode(), quiet_libraries(), without_stdout():
                    model = how(_ScoringRanker(module).eval())
            except Exception as error:  # noqa: BLE001 - both exporters raise anything
                failures.append((str(error).strip().splitlines() or [type(error).__name__])[0][:200])
                continue
            if _agrees(model, module):
                return model
            failures.append("the graph scores a batch of another shape wrongly")
    finally:
        body.set_attn_implementation(before)
    raise ArtifactError("NOT_EXPORTED", f"PyTorch cannot export this base ({'; '.join(failures)}): take another --base")


def _agrees(model: ModelProto, module: TransformerRanker) -> bool:
    random = np.random.default_rng(0)
    ids = random.integers(0, 30, (5, 13))
    mask = (np.arange(13) < np.array([[13], [1], [7], [12], [2]])).astype(np.int64)
    expected = torch_runner(module)(ids, mask)
    try:
        actual = onnx_runner(to_bytes(canonical(model)))(ids, mask)
    except (ArtifactError, InferenceError):
        return False
    return bool(np.abs(actual - expected).max() < 1e-3 * max(1.0, float(np.abs(expected).max())))


class _ScoringRanker(nn.Module):
    """The module with its arguments by place, as exporters pass them, giving what is served: scores and features.

    Features are what the head reads, or the first ``MOST_DENSE`` of it where it is more. Nothing better was found for
    less: of MiniLM's 384, learning from the first 192 kept .87 of the gain in tau that all of them brought, from 192
    random projections of them .81, and from 192 sums of two each .84 (1,000 prompts, mean of six sources).
    """

    def __init__(self, module: TransformerRanker) -> None:
        super().__init__()
        self._module = module

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self._module.pooled(input_ids, attention_mask)
        out = self._module.scored(pooled)
        features = pooled[:, :MOST_DENSE] if pooled.shape[1] > MOST_DENSE else pooled
        return out[0] if isinstance(out, tuple) else out, features


def _example() -> tuple[Tensor, Tensor]:
    ids = torch.full((2, 8), 5, dtype=torch.int64)
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0  # or tracing takes the short way that needs no mask
    return ids, mask


def _traced(module: nn.Module) -> ModelProto:
    buffer = io.BytesIO()
    torch.onnx.export(
        module,
        _example(),
        buffer,  # type: ignore[arg-type]  # a file will do
        dynamo=False,
        input_names=list(INPUTS),
        output_names=[SCORE, FEATURES],
        dynamic_axes={**{n: {0: "batch", 1: "tokens"} for n in INPUTS}, SCORE: {0: "batch"}, FEATURES: {0: "batch"}},
        opset_version=_OPSET,
    )
    return onnx.load_from_string(buffer.getvalue())


def _programmed(module: nn.Module) -> ModelProto:
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    program = torch.onnx.export(
        module,
        _example(),
        dynamo=True,
        input_names=list(INPUTS),
        output_names=[SCORE, FEATURES],
        dynamic_shapes=(shape, shape),
        verbose=False,
    )
    assert program is not None
    model: ModelProto = program.model_proto
    return model


def _fuse(model: ModelProto, heads: int, hidden: int) -> ModelProto:
    with quiet_libraries():
        optimizer = import_onnxruntime("transformers.optimizer")
        # Level 0: onnxruntime optimises again when it loads the model, for the processor at hand.
        done = optimizer.optimize_model(model, model_type="bert", num_heads=heads, hidden_size=hidden, opt_level=0)
    fused: ModelProto = done.model
    return fused


def _fix_outputs(model: ModelProto, features: int) -> None:
    """Say what shape the outputs have, which the exporters find out or not."""
    shapes: dict[str, list[str | int | None]] = {SCORE: ["batch"], FEATURES: ["batch", features]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    del model.graph.output[:]
    model.graph.output.extend(outputs)


def _check_fused(fused: dict[str, int], layers: int, active: Sequence[str]) -> None:
    found = sum(fused.get(name, 0) for name in active)
    wanted = {"Attention": layers, "SkipLayerNormalization": 2 * layers}
    missing = [f"{fused.get(name, 0)} of {n} {name}" for name, n in wanted.items() if fused.get(name, 0) < n]
    if found < layers:
        missing.append(f"{found} of {layers} {active[-1]}")
    if missing:
        raise ArtifactError(
            "NOT_FUSED",
            f"onnxruntime's optimiser fused only {', '.join(missing)}; "
            "install the versions that pip install 'rankd[train]' takes",
        )
