"""Int8 recipes side by side, in speed, order lost and independence: ``python -m benchmarks.rankers.int8``.

Run it on one core (``taskset -c 1``). Speed is prompts per second of processor time, so that other work on the machine
counts less; recipes take turns, and the median over rounds is printed. Tokenising is not in it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto

from rankd.errors import ConfigError
from rankd.registry.artifact import load_artifact
from rankd.scoring.onnx_model import Scores
from rankd.scoring.tokeniser import Tokeniser, Truncation
from rankd.training.data.dataset import read_dataset
from rankd.training.data.lists import EncodedRows, encode
from rankd.training.export.canonical_graph import canonical, to_bytes
from rankd.training.export.int8_encoder import Int8Encoder, Products
from rankd.training.export.int8_products import (
    BatchGridProducts,
    BlockGridProducts,
    FixedGridProducts,
    FloatProducts,
    TokenGridProducts,
)
from rankd.training.export.parity import Run, onnx_runner, scores_of, tau_lost
from rankd.training.export.quantise import Ids, ObservedActivations, by_onnxruntime, observe, to_int8
from rankd.training.export.read_encoder import EncoderWeights, read_encoder

_ALONE = 300
"""Prompts scored once more, each alone, to see what neighbours do to a score."""


@dataclass(frozen=True, slots=True)
class RecipeFigures:
    """What a recipe came to."""

    recipe: str
    rate: float
    megabytes: float
    lost: list[tuple[float, float]]
    """tau lost and its deviation, by file."""
    off: float
    """Root mean square of the difference to float32 over all files, in deviations of the score."""
    neighbours: float
    """Largest difference between a prompt's score alone and in a batch, in the same unit."""


def recipes(model: ModelProto, ids: Ids) -> dict[str, Callable[[], ModelProto]]:
    """Everything that was tried, by name; built when asked for.

    Args:
        model: fused, in float32.
        ids: prompts to calibrate on.
    """
    encoder = read_encoder(model)
    if encoder is None:
        raise ConfigError("--ranker-fp32: its graph is no fused BERT-like encoder; export one with precision fp32")
    seen = observe(encoder, model, ids)
    last = [n.name for n in model.graph.node if n.op_type in ("MatMul", "Attention")][-4:]

    def body(products: Products) -> Callable[[], ModelProto]:
        return lambda: _written(encoder, model, products)

    return {
        "float32, fused operators": lambda: model,
        "float32, rewritten": body(FloatProducts()),
        "onnxruntime dynamic, one scale": lambda: by_onnxruntime(model, per_channel=False),
        "onnxruntime dynamic, per channel": lambda: by_onnxruntime(model, per_channel=True),
        "the same, last layer in float32": lambda: by_onnxruntime(model, per_channel=True, leave=last),
        "rewritten, range by batch": body(BatchGridProducts()),
        "rewritten, range by token": body(TokenGridProducts()),
        "rewritten, MatMulNBits 8 bit, blocks of 32": body(BlockGridProducts(32)),
        "rewritten, MatMulNBits 8 bit, blocks of 128": body(BlockGridProducts(128)),
        "rewritten, fixed range, min to max": body(FixedGridProducts(_spans(seen, 0))),
        "rewritten, fixed range, 99.98 % of values": body(FixedGridProducts(_spans(seen, 0.01))),
        "rewritten, fixed range, 99.8 % of values": body(FixedGridProducts(_spans(seen, 0.1))),
        "rewritten, fixed range, loud channels scaled": lambda: to_int8(model, ids),
    }


def _written(encoder: EncoderWeights, model: ModelProto, products: Products) -> ModelProto:
    return canonical(Int8Encoder(encoder, products).model(list(model.graph.input), list(model.graph.output)))


def _spans(seen: Mapping[str, ObservedActivations], cut: float) -> dict[str, tuple[float, float]]:
    """Ranges that leave out ``cut`` percent of the values at either end."""
    if cut == 0:
        return {place: (float(o.low.min()), float(o.high.max())) for place, o in seen.items()}
    return {
        p: (float(np.percentile(o.sample, cut)), float(np.percentile(o.sample, 100 - cut))) for p, o in seen.items()
    }


def compare_recipes(
    models: Mapping[str, bytes], data: Mapping[str, EncodedRows], timed: Ids, rounds: int
) -> list[RecipeFigures]:
    """Compare models; the first one is what the others are held against."""
    runs = {name: onnx_runner(content) for name, content in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            began = time.process_time()
            scores_of(run, timed)
            seconds[name].append(time.process_time() - began)
    expected = {file: scores_of(next(iter(runs.values())), e.ids) for file, e in data.items()}
    return [
        _figures(name, run, len(models[name]), len(timed) / float(np.median(seconds[name])), data, expected)
        for name, run in runs.items()
    ]


def _figures(
    name: str, run: Run, size: int, rate: float, data: Mapping[str, EncodedRows], expected: Mapping[str, Scores]
) -> RecipeFigures:
    print(f"comparing: {name}", file=sys.stderr, flush=True)
    lost, squares = [], []
    for file, encoded in data.items():
        scores = scores_of(run, encoded.ids)
        loss = tau_lost(expected[file], scores, encoded)
        lost.append((loss.tau, loss.deviation))
        squares.append(((scores - expected[file]) / expected[file].std()) ** 2)
    first = next(iter(data.values()))
    few = first.ids[:_ALONE]
    apart = np.abs(scores_of(run, few, budget=1) - scores_of(run, few))
    spread = next(iter(expected.values())).std()
    off = float(np.sqrt(np.concatenate(squares).mean()))
    return RecipeFigures(name, rate, size / 1e6, lost, off, float(apart.max() / spread))


def main() -> int:
    """Print the table."""
    description = __doc__.partition(":")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rankers.int8", description=description)
    parser.add_argument("--ranker-fp32", type=Path, required=True, help="a ranker exported with precision fp32")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="files of rows it was not trained on")
    parser.add_argument("--calibrate", type=Path, required=True, help="file of prompts that fix ranges, none judged on")
    parser.add_argument("--rows", type=int, default=1500, help="most rows of each file")
    parser.add_argument("--timed", type=int, default=200, help="prompts of the last file that are timed")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of timing")
    arguments = parser.parse_args()
    artifact = load_artifact(arguments.ranker_fp32)
    spec = artifact.manifest.truncation
    tokeniser = Tokeniser(artifact.tokenizer_path, Truncation(spec.max_tokens, spec.head_tokens, spec.tail_tokens))

    def read(path: Path, most: int) -> EncodedRows:
        return encode(read_dataset([path], most=most).rows, tokeniser, "first")

    data = {path.name.split(".")[0]: read(path, arguments.rows) for path in arguments.data}
    built = {}
    for name, make in recipes(onnx.load(artifact.model_path), read(arguments.calibrate, 1000).ids).items():
        print(f"building: {name}", file=sys.stderr, flush=True)
        built[name] = to_bytes(make())
    timed = list(data.values())[-1].ids[: arguments.timed]
    print("| recipe | prompts/s | MB | " + " | ".join(f"tau lost, {f}" for f in data) + " | off | neighbours |")
    print("|---|---|---|" + "---|" * (len(data) + 2))
    for j in compare_recipes(built, data, timed, arguments.rounds):
        lost = " | ".join(f"{tau:+.4f} ± {deviation:.4f}" for tau, deviation in j.lost)
        print(
            f"| {j.recipe} | {j.rate:.0f} | {j.megabytes:.1f} | {lost} | {j.off:.3f} | {j.neighbours:.3f} |", flush=True
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
