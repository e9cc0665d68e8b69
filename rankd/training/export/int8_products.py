"""Arithmetics for an encoder's products: the one that is shipped, and those that it was measured against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rankd.training.export.graph_writer import OWN, GraphWriter
from rankd.training.export.int8_encoder import eight_bit
from rankd.training.export.read_encoder import Floats


class _Relu:
    """Activations by ReLU as one operator."""

    def relu(self, writer: GraphWriter, x: str) -> str:
        """Cut off."""
        return writer.add("Relu", x)


class FloatProducts(_Relu):
    """float32, as trained."""

    def read(self, writer: GraphWriter, x: str, place: str) -> tuple[str, ...]:
        """Nothing to prepare."""
        del writer, place
        return (x,)

    def times(self, writer: GraphWriter, ready: tuple[str, ...], weight: Floats, bias: Floats) -> str:
        """A product and a sum."""
        return writer.add("Add", writer.add("MatMul", ready[0], writer.weight(weight)), writer.weight(bias))


class _Int8Products(_Relu):
    """int8 weights with a scale for each output, uint8 activations."""

    def times(self, writer: GraphWriter, ready: tuple[str, ...], weight: Floats, bias: Floats) -> str:
        """One operator: int8 product, scales, bias."""
        whole, scale = eight_bit(weight, axis=0)
        inputs = (ready[0], writer.weight(whole), ready[1], writer.weight(scale[0]), ready[2], "", writer.weight(bias))
        return writer.add("MatMulIntegerToFloat", *inputs, domain=OWN)


@dataclass(frozen=True, slots=True)
class FixedGridProducts(_Int8Products):
    """Activations on a grid that was fixed beforehand: nothing is looked for at run time, and no row sees another."""

    ranges: Mapping[str, tuple[float, float]]
    """Smallest and largest activation at each place; what is beyond is cut off."""

    def read(self, writer: GraphWriter, x: str, place: str) -> tuple[str, ...]:
        """Round."""
        low, high = self.ranges[place]
        low, high = min(low, 0.0), max(high, 1e-6)
        step = np.float32((high - low) / 255)
        zero = writer.weight(int(np.clip(round(-low / step), 0, 255)), np.uint8)
        scale = writer.weight(step)
        return writer.add("QuantizeLinear", x, scale, zero), scale, zero

    def relu(self, writer: GraphWriter, x: str) -> str:
        """Nothing to do: none was negative when the range was looked for, so that rounding cuts them off."""
        del writer
        return x


class BatchGridProducts(_Int8Products):
    """Activations on a grid from the smallest to the largest of the batch: onnxruntime's dynamic quantisation."""

    def read(self, writer: GraphWriter, x: str, place: str) -> tuple[str, ...]:
        """Look for the range, and round."""
        del place
        return tuple(writer.split("DynamicQuantizeLinear", x, outputs=3))


class TokenGridProducts(_Int8Products):
    """Activations of each token divided by their largest, on a fixed grid."""

    def read(self, writer: GraphWriter, x: str, place: str) -> tuple[str, ...]:
        """Look for each token's largest, divide, and round."""
        del place
        largest = writer.add("ReduceMax", writer.add("Abs", x), writer.weight([-1], np.int64), keepdims=1)
        scale, zero = writer.weight(1 / 127, np.float32), writer.weight(128, np.uint8)
        return writer.add("QuantizeLinear", writer.add("Div", x, largest), scale, zero), scale, zero, largest

    def times(self, writer: GraphWriter, ready: tuple[str, ...], weight: Floats, bias: Floats) -> str:
        """As the others, and back to each token's size."""
        product = super().times(writer, ready[:3], weight, np.zeros_like(bias))
        return writer.add("Add", writer.add("Mul", product, ready[3]), writer.weight(bias))


@dataclass(frozen=True, slots=True)
class BlockGridProducts(_Relu):
    """``MatMulNBits``: weights of 8 bits with a scale for each block, activations rounded by block at run time."""

    block: int = 128

    def read(self, writer: GraphWriter, x: str, place: str) -> tuple[str, ...]:
        """Left to the operator."""
        del writer, place
        return (x,)

    def times(self, writer: GraphWriter, ready: tuple[str, ...], weight: Floats, bias: Floats) -> str:
        """One operator."""
        rows, columns = weight.shape
        parts = -(-rows // self.block)
        padded = np.zeros((parts * self.block, columns), dtype=np.float32)
        padded[:rows] = weight
        whole, scale = eight_bit(padded.reshape(parts, self.block, columns), axis=1)
        shifted = (whole.astype(np.int16) + 128).astype(np.uint8).transpose(2, 0, 1)
        inputs = (ready[0], writer.weight(shifted), writer.weight(scale[:, 0].T), "", "", writer.weight(bias))
        sizes = {"K": rows, "N": columns, "bits": 8, "block_size": self.block, "accuracy_level": 4}
        return writer.add("MatMulNBits", *inputs, domain=OWN, **sizes)
