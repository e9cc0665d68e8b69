"""Tokens/s of rankers' graphs on one core, and of their products alone: ``python -m benchmarks.rankers.encoder_speed``.

Processor time of the calling thread, graphs in turns. A ratio is to the first ranker, in the same round: its median
and quartiles over rounds. Two sessions of one graph differ by up to .02.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from rankd.registry.artifact import load_artifact
from rankd.scoring.onnxruntime_import import import_onnxruntime
from rankd.training.export.graph_writer import OWN, GraphWriter

BATCHES = ((2, 32), (4, 32), (1, 128), (8, 32), (16, 32))
"""Prompts and tokens of each."""
_INNER = 4
_PADDING = 3
_PRODUCTS = ((384, 384), (384, 1536), (1536, 384))


def _session(content: bytes) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _seconds(call: Callable[[], object]) -> float:
    began = time.thread_time()
    for _ in range(_INNER):
        call()
    return (time.thread_time() - began) / _INNER


def _feeds(rows: int, tokens: int) -> dict[str, Any]:
    """Made-up prompts, every second one padded a little where there are several."""
    ids = np.random.default_rng(0).integers(1000, 28000, (rows, tokens))
    mask = np.ones_like(ids)
    mask[1::2, -_PADDING:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def compare(sessions: dict[str, Any], rounds: int) -> list[str]:
    """Lines of a table."""
    lines = ["| batch | ranker | tokens/s | times the first | quartiles |", "|---|---|---|---|---|"]
    for rows, tokens in BATCHES:
        feeds = _feeds(rows, tokens)
        seconds: dict[str, list[float]] = {name: [] for name in sessions}
        for i in range(rounds + 1):
            for name, session in sessions.items():
                taken = _seconds(partial(session.run, None, feeds))
                if i:  # the first one warms up
                    seconds[name].append(taken)
        first = np.array(next(iter(seconds.values())))
        for name, taken_all in seconds.items():
            low, middle, high = np.percentile(first / np.array(taken_all), [25, 50, 75])
            rate = rows * tokens / float(np.median(taken_all))
            lines.append(f"| {rows} x {tokens} | {name} | {rate:,.0f} | {middle:.3f} | {low:.3f} to {high:.3f} |")
    return lines


def products(rounds: int, rows: int = 128) -> list[str]:
    """Lines of a table: a product with its weights in cache, the most that an encoder of products alone could reach."""
    lines = ["| product | microseconds | GOP/s |", "|---|---|---|"]
    for inside, outside in _PRODUCTS:
        random, writer = np.random.default_rng(0), GraphWriter()
        weight = writer.weight(random.integers(-127, 128, (inside, outside)).astype(np.int8))
        scales = writer.weight(np.float32(0.02)), writer.weight(np.full(outside, 0.01, np.float32))
        zero, bias = writer.weight(np.uint8(128)), writer.weight(np.zeros(outside, np.float32))
        given = ("x", weight, *scales, zero, "", bias)
        name = writer.add("MatMulIntegerToFloat", *given, domain=OWN)
        ports = (
            helper.make_tensor_value_info(n, kind, [rows, width])
            for n, kind, width in (("x", TensorProto.UINT8, inside), (name, TensorProto.FLOAT, outside))
        )
        session = _session(writer.model(*([port] for port in ports)).SerializeToString())
        x = random.integers(0, 256, (rows, inside)).astype(np.uint8)
        taken = float(np.median([_seconds(partial(session.run, None, {"x": x})) for _ in range(rounds * 5)]))
        rate = 2 * rows * inside * outside / taken / 1e9
        lines.append(f"| {rows} x {inside} x {outside} | {taken * 1e6:.0f} | {rate:.0f} |")
    return lines


def main() -> int:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rankers.encoder_speed", description=__doc__.partition(":")[0]
    )
    parser.add_argument("rankers", type=Path, nargs="+", help="directories; the first is what others are held against")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    graphs = {str(path): load_artifact(path).model.read() for path in arguments.rankers}
    print("\n".join(compare({name: _session(content) for name, content in graphs.items()}, arguments.rounds)))
    print()
    print("\n".join(products(arguments.rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
