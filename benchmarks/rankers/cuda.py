"""Give a ranker its graph for CUDA, and measure what it costs: ``python -m benchmarks.rankers.cuda``.

The graph is made from the same ranker exported in float32 (``rankd train --precision fp32``, or ``--float32`` of
``benchmarks.rankers.bundle``), into the directory of the one that is served on CPUs; without it, from the int8 graph's
own weights, which have lost what that graph has lost. The same bytes each time.

What it costs is measured on a CPU, paired, on the same prompts. Two columns bound what CUDA does: in the first the file
runs as it is, where onnxruntime calculates in float32 with weights of half precision; in the second every node's result
is rounded to half precision too.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

from benchmarks.rankers.int8_weights import read_int8_encoder
from benchmarks.rankers.sources import BENCHMARK_ONLY, DATA_HELP, drawn, read_source
from rankd.errors import ConfigError
from rankd.registry.artifact import Artifact, load_artifact, write_manifest
from rankd.registry.artifact_files import CUDA_MODEL, MANIFEST, MODEL, TOKENIZER
from rankd.registry.manifest import Manifest
from rankd.scoring.tokeniser import Tokeniser, Truncation
from rankd.training.data.lists import EncodedRows, encode
from rankd.training.export.canonical_graph import canonical, to_bytes
from rankd.training.export.cuda_encoder import CudaEncoder
from rankd.training.export.cuda_graph import PRECISION
from rankd.training.export.export import CARD
from rankd.training.export.model_card import cuda_line, size_line
from rankd.training.export.parity import Run, onnx_runner, scores_of, tau_lost
from rankd.training.export.read_encoder import EncoderWeights, read_encoder


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rankers.cuda", description="Give a ranker its graph for CUDA, and measure its cost."
    )
    parser.add_argument(
        "--float32", type=Path, help="the ranker exported with precision fp32; default: the int8 graph's own weights"
    )
    parser.add_argument("--artifact", type=Path, required=True, help="the one for CPUs, whose directory is changed")
    parser.add_argument("--data", type=Path, help=DATA_HELP + "; measures what the graph costs")
    parser.add_argument("--prompts", type=int, default=1500, help="most prompts of a source; default: 1500")
    arguments = parser.parse_args()
    if arguments.data is not None and arguments.float32 is None:
        raise ConfigError("--data measures against float32: give --float32 too")
    model = add_cuda(arguments.float32, arguments.artifact)
    if arguments.data is not None:
        measure(model, load_artifact(arguments.artifact), arguments.data, arguments.prompts)
    return 0


def add_cuda(float32: Path | None, ranker: Path) -> ModelProto:
    """Write ``model.cuda.onnx``, and name it in manifest and card.

    Returns:
        The graph that it was made from.

    Raises:
        ConfigError: ``float32`` is another ranker, or its graph is not of the form that can be written.
    """
    fields = json.loads((ranker / MANIFEST).read_text(encoding="utf-8"))
    model = onnx.load((float32 or ranker) / MODEL)
    if float32 is not None:
        _check_same(load_artifact(float32).manifest, fields, float32)
    encoder = read_int8_encoder(model) if float32 is None else read_encoder(model)
    if encoder is None:
        raise ConfigError(f"{float32 or ranker}: its graph is no BERT-like encoder as rankd exports them")
    written = CudaEncoder(encoder, small=True).model(list(model.graph.input), list(model.graph.output))
    (ranker / CUDA_MODEL).write_bytes(to_bytes(canonical(written)))
    kept = {k: v for k, v in fields.items() if k not in ("manifest_version", "sha256")}
    write_manifest(ranker, kept | {"cuda": {"precision": PRECISION}})
    _mention(ranker / CARD)
    return model


def _check_same(float32: Manifest, fields: Any, path: Path) -> None:
    if float32.precision != "fp32" or float32.sha256[TOKENIZER] != fields["sha256"][TOKENIZER]:
        raise ConfigError(f"--float32 {path}: give the same ranker, exported with precision fp32")


def _mention(card: Path) -> None:
    """Say it in the card, where the exporter does."""
    if not card.is_file():
        return
    lines = [line for line in card.read_text(encoding="utf-8").split("\n") if not line.startswith("- **On CUDA**")]
    for i, line in enumerate(lines):
        if line.startswith("- **Calculates**"):
            lines.insert(i + 1, cuda_line(PRECISION))
        if line.startswith("- **Size**"):
            lines[i] = size_line(card.parent)
    card.write_text("\n".join(lines), encoding="utf-8")


def measure(model: ModelProto, artifact: Artifact, data: Path, most: int) -> None:
    """Print tau lost by source."""
    encoder = read_encoder(model)
    assert encoder is not None
    runs = {
        "float32": onnx_runner(to_bytes(model)),
        "int8": onnx_runner(artifact.graph("cpu").content.read()),
        "fp16, as the file runs": onnx_runner(artifact.graph("cuda").content.read()),
        "fp16, every result rounded": onnx_runner(to_bytes(rounded(encoder, model))),
    }
    cut = artifact.manifest.truncation
    tokeniser = Tokeniser(artifact.tokenizer_path, Truncation(cut.max_tokens, cut.head_tokens, cut.tail_tokens))
    others = list(runs)[1:]
    print("| data set | prompts | " + " | ".join(f"{name}: tau lost" for name in others) + " |")
    print("|---|---|" + "---|" * len(others))
    lost: dict[str, list[float]] = {name: [] for name in others}
    for source in BENCHMARK_ONLY:
        rows = encode(drawn(read_source(source, data), most), tokeniser, "first")
        scores = {name: _scored(run, rows) for name, run in runs.items()}
        cells = []
        for name in others:
            loss = tau_lost(scores["float32"], scores[name], rows)
            lost[name].append(loss.tau)
            cells.append(f"{loss.tau:+.5f} ± {loss.deviation:.5f}")
        print(f"| {source.name} | {len({r.tobytes() for r in rows.ids}):,} | {' | '.join(cells)} |", flush=True)
    print("| mean | | " + " | ".join(f"{np.mean(lost[name]):+.5f}" for name in others) + " |")


def _scored(run: Run, rows: EncodedRows) -> Any:
    """Scores of rows, float64[rows]; prompts that were answered by several models are scored once."""
    places: dict[bytes, int] = {}
    numbers = [places.setdefault(ids.tobytes(), len(places)) for ids in rows.ids]
    distinct = [np.frombuffer(ids, dtype=rows.ids[0].dtype) for ids in places]
    return scores_of(run, distinct)[numbers]


def rounded(encoder: EncoderWeights, model: ModelProto) -> ModelProto:
    """The graph for CUDA in float32, every result and weight of the encoder rounded to half precision.

    What an operator keeps inside is not rounded: the kernels keep sums in float32.
    """
    halved = CudaEncoder(encoder, np.float16, small=True).model(list(model.graph.input), list(model.graph.output))
    weights = {w.name: w for w in halved.graph.initializer}
    out = ModelProto()
    out.CopyFrom(halved)
    del out.graph.node[:], out.graph.initializer[:]
    for weight in weights.values():
        array = onnx.numpy_helper.to_array(weight)
        widened = array.astype(np.float32) if array.dtype == np.float16 else array
        out.graph.initializer.append(onnx.numpy_helper.from_array(widened, weight.name))
    tail = next(i for i, n in enumerate(halved.graph.node) if n.op_type == "Cast" and _to(n) == TensorProto.FLOAT and i)
    for i, node in enumerate(halved.graph.node):
        changed = out.graph.node.add()
        changed.CopyFrom(node)
        if node.op_type == "Cast" and _to(node) == TensorProto.FLOAT16:
            changed.attribute[0].i = TensorProto.FLOAT
        if i < tail and node.op_type in _ROUNDED:
            name = node.output[0]
            changed.output[0] = f"{name}_exact"
            half = helper.make_node("Cast", [f"{name}_exact"], [f"{name}_half"], to=TensorProto.FLOAT16)
            out.graph.node.extend([half, helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT)])
    return canonical(out)


_ROUNDED = frozenset({"Add", "Attention", "BiasGelu", "MatMul", "Mul", "SkipLayerNormalization"})


def _to(node: Any) -> int:
    return next(int(a.i) for a in node.attribute if a.name == "to")


if __name__ == "__main__":
    sys.exit(main())
