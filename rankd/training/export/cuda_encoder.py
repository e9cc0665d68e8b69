"""An encoder written anew for CUDA: fused operators of which onnxruntime has kernels there, in half precision.

Seven nodes a layer, eight with a ReLU. Each has a CUDA kernel for float16 (onnxruntime 1.31's own list of kernels,
which ``rankd.training.export.cuda_kernels`` checks): ``Attention`` is the product for queries, keys and values, the
softmax and what it mixes; ``SkipLayerNormalization`` takes bias, residual and norm, with its statistics in float32;
products add up in float32. The last layer's states are brought to float32, so that the mean over tokens, the features
and the score are what they are elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, ValueInfoProto

from rankd.training.export.graph_writer import OWN, GraphWriter
from rankd.training.export.int8_encoder import eight_bit
from rankd.training.export.parity import INPUTS
from rankd.training.export.read_encoder import EncoderLayer, EncoderWeights, LayerNorm

_FLOATS: dict[Any, int] = {np.float16: TensorProto.FLOAT16, np.float32: TensorProto.FLOAT}


class CudaEncoder:
    """Writes one encoder."""

    def __init__(self, encoder: EncoderWeights, dtype: Any = np.float16, *, small: bool = False) -> None:
        """Keep the parts.

        Args:
            encoder: what to write.
            dtype: what to calculate in; ``np.float32`` gives the same nodes where a CPU has kernels for all of them.
            small: keep word vectors as int8 with a scale of their own each, as the int8 graph does: a quarter of a
                MiniLM's file.
        """
        self._encoder, self._dtype, self._small = encoder, dtype, small
        self._writer = GraphWriter()

    def model(self, inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> ModelProto:
        """Write it all."""
        writer, encoder = self._writer, self._encoder
        lengths = self._lengths()
        states = self._embedded()
        for layer in encoder.layers:
            states = self._layer(layer, states, lengths)
        if self._dtype is not np.float32:
            states = writer.add("Cast", states, to=TensorProto.FLOAT)
        writer.copy(encoder.tail, encoder.constants, {encoder.hidden: states})
        return writer.model(inputs, outputs)

    def _lengths(self) -> str:
        """Tokens of each prompt, int32[batch]: padding stands behind them.

        The fused kernels of ``Attention`` take this mask, and the unfused one does too; a mask [batch, tokens] leaves
        only that (``onnxruntime/contrib_ops/cuda/bert/attention.cc``).
        """
        writer = self._writer
        counted = writer.add("Cast", INPUTS[1], to=TensorProto.FLOAT)
        total = writer.add("ReduceSum", counted, writer.weight([1], np.int64), keepdims=0)
        return writer.add("Cast", total, to=TensorProto.INT32)

    def _embedded(self) -> str:
        writer = self._writer
        if self._small:
            whole, scale = eight_bit(self._encoder.words, axis=1)
            rows = writer.add("Gather", writer.weight(whole), INPUTS[0])
            scales = writer.add("Gather", self._weight(scale), INPUTS[0])
            words = writer.add("Mul", writer.add("Cast", rows, to=_FLOATS[self._dtype]), scales)
        else:
            words = writer.add("Gather", self._weight(self._encoder.words), INPUTS[0])
        length = writer.add("Shape", INPUTS[0], start=1, end=2)
        zero = writer.weight([0], np.int64)
        positions = writer.add("Slice", self._weight(self._encoder.positions), zero, length, zero)
        return self._normalised(words, positions, self._encoder.start)

    def _layer(self, layer: EncoderLayer, states: str, lengths: str) -> str:
        writer, weight = self._writer, self._weight
        qkv = (weight(layer.qkv), weight(layer.qkv_bias))
        context = writer.add("Attention", states, *qkv, lengths, domain=OWN, num_heads=self._encoder.heads)
        attended = writer.add("MatMul", context, weight(layer.out))
        middle = self._normalised(attended, states, layer.middle, layer.out_bias)
        up = writer.add("MatMul", middle, weight(layer.up))
        if layer.relu:
            active = writer.add("Relu", writer.add("Add", up, weight(layer.up_bias)))
        else:
            active = writer.add("BiasGelu", up, weight(layer.up_bias), domain=OWN)
        down = writer.add("MatMul", active, weight(layer.down))
        return self._normalised(down, middle, layer.end, layer.down_bias)

    def _normalised(self, x: str, rest: str, norm: LayerNorm, bias: Any = None) -> str:
        """The norm of ``x`` + ``rest`` + ``bias``."""
        inputs = [x, rest, self._weight(norm.weight), self._weight(norm.bias)]
        if bias is not None:
            inputs.append(self._weight(bias))
        return self._writer.add("SkipLayerNormalization", *inputs, domain=OWN, epsilon=float(self._encoder.epsilon))

    def _weight(self, value: Any) -> str:
        return self._writer.weight(value, self._dtype)
