"""Where the nodes of a model really run: read from onnxruntime's profile of its first runs.

A node for which a provider has no kernel runs on the CPU, and its inputs and outputs are copied there and back. That
is right for shapes, and no GPU is used where it happens to matrix products: ``get_providers`` says CUDA all the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

CPU = "CPUExecutionProvider"
"""What onnxruntime calls it."""
MATRIX_PRODUCTS = frozenset(
    {
        "Attention", "Conv", "ConvInteger", "ConvTranspose", "DecoderMaskedMultiHeadAttention",
        "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "Einsum", "FusedConv", "FusedGemm", "FusedMatMul",
        "FusedMatMulActivation", "GRU", "Gemm", "GemmFastGelu", "GemmFloat8", "GroupQueryAttention", "LSTM",
        "LongformerAttention", "MatMul", "MatMulBnb4", "MatMulFpQ4", "MatMulInteger", "MatMulInteger16",
        "MatMulIntegerToFloat", "MatMulNBits", "MoE", "MultiHeadAttention", "NhwcConv", "NhwcFusedConv",
        "PackedAttention", "PackedMultiHeadAttention", "QAttention", "QGemm", "QLinearConv", "QLinearMatMul", "QMoE",
        "QOrderedAttention", "QOrderedMatMul", "RNN", "SparseToDenseMatMul", "TransposeMatMul",
    }
)  # fmt: skip
"""Operators of onnx and of onnxruntime in which a model spends its time."""
_COPIES = frozenset({"MemcpyFromHost", "MemcpyToHost"})
_CONTAINERS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""Their time is that of the nodes inside."""
_MOST_BYTES = 64 * 2**20
"""Of a profile; a run of the bundled encoder takes .15 MB."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one run's nodes ran, and how long."""

    nodes: Mapping[str, int]
    """By provider, in onnxruntime's names."""
    device_share: float
    """Of the run's time on the wall, what did not pass in nodes of the CPU provider: 0 to 1."""
    cpu_products: Mapping[str, int] = field(default_factory=dict)
    """Matrix products that ran on the CPU, by operator."""
    copies: int = 0
    """Nodes that onnxruntime put in to copy from one device to the other."""

    def named_products(self) -> str:
        """Those products in words: ``36 x MatMulIntegerToFloat, 1 x Gemm``; most frequent first."""
        return ", ".join(f"{n} x {op}" for op, n in sorted(self.cpu_products.items(), key=lambda x: (-x[1], x[0])))


class Profile:
    """A profile that a session writes, into a file that has no name any more: nothing stays behind, however it ends."""

    def __init__(self) -> None:
        """Nothing is written yet."""
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._file: BinaryIO | None = None

    @contextlib.contextmanager
    def of(self, session_options: Any) -> Iterator[None]:
        """Let the session that is created meanwhile write it; where no file can be made, none is."""
        with contextlib.suppress(OSError):
            self._directory = tempfile.TemporaryDirectory(prefix="rankd-profile-", ignore_cleanup_errors=True)
        if self._directory is None:
            yield
            return
        session_options.enable_profiling = True
        session_options.profile_file_prefix = os.path.join(self._directory.name, "run")  # noqa: PTH118 - a name
        try:
            yield
            with contextlib.suppress(OSError):
                self._file = next(Path(self._directory.name).iterdir()).open("rb")
        except StopIteration:
            return  # it is not written where it used to be: nothing is known
        finally:
            self._directory.cleanup()

    def end(self, session: Any) -> Placement | None:
        """Let the session write no more, and read the last run that it wrote; None where it cannot, or was before."""
        directory, self._directory = self._directory, None
        if directory is None:
            return None
        try:
            session.end_profiling()
            content = b"" if self._file is None else self._file.read(_MOST_BYTES + 1)
        except Exception:  # noqa: BLE001 - onnxruntime's exceptions have no common base; what is not known harms nobody
            return None
        finally:
            if self._file is not None:
                self._file.close()
            directory.cleanup()  # where a file that is open cannot be removed, it is now
        return placement_of(content) if len(content) <= _MOST_BYTES else None


def placement_of(profile: bytes) -> Placement | None:
    """Read the last run of a profile: a JSON list of events, times in microseconds.

    Returns:
        None for what is not a profile, or has no whole run.
    """
    try:
        events = json.loads(profile)
        runs = [e for e in events if e["name"] == "model_run"]
        nodes = [e for e in events if e["cat"] == "Node" and e["name"].endswith("_kernel_time")]
        began, took, thread = int(runs[-1]["ts"]), int(runs[-1]["dur"]), runs[-1]["tid"]
        # Other workers may run at the same time; a run's nodes are recorded by the thread that it is in.
        own = [e for e in nodes if e["tid"] == thread and began <= int(e["ts"]) <= began + took]
        return _placement(own, took)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        return None


def _placement(nodes: list[Any], took: int) -> Placement | None:
    """What the nodes of one run say, which took so long."""
    if not nodes or took <= 0:
        return None
    places = [(str(e["args"]["op_name"]), str(e["args"]["provider"]), int(e["dur"])) for e in nodes]
    on_cpu = sum(dur for op, provider, dur in places if provider == CPU and op not in _CONTAINERS)
    return Placement(
        nodes=dict(Counter(provider for _, provider, _ in places)),
        device_share=min(1.0, max(0.0, 1 - on_cpu / took)),
        cpu_products=dict(Counter(op for op, provider, _ in places if provider == CPU and op in MATRIX_PRODUCTS)),
        copies=sum(op in _COPIES for op, _, _ in places),
    )
