"""Give a ranker that was exported without them its second output, without training it again.

``python -m benchmarks.rankers.add_features DIR``: the graph computes pooled features anyhow on its way to the score;
here they get a name that can be asked for. No node is added or changed, so that scores stay what they are to the bit.
What is written is what the exporter writes today.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from rankd.adaptation.features import MOST_DENSE
from rankd.registry.artifact import write_manifest
from rankd.registry.artifact_files import MANIFEST, MODEL
from rankd.training.export.canonical_graph import canonical, to_bytes
from rankd.training.export.export import CARD
from rankd.training.export.model_card import FEATURES_LINE
from rankd.training.export.parity import FEATURES

_NGRAM_MEAN, _NGRAM_ALL = "vectors_mean", "features"
"""Names in a graph of the n-gram tier before it had the output: the mean word vector, and all of its features."""


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rankers.add_features", description=__doc__.partition(":")[0]
    )
    parser.add_argument("ranker", type=Path, help="its directory, which is changed")
    ranker = parser.parse_args().ranker
    fields = json.loads((ranker / MANIFEST).read_text(encoding="utf-8"))
    if fields.get("features_output"):
        print(f"{ranker} has features already", file=sys.stderr)
        return 1
    (ranker / MODEL).write_bytes(to_bytes(with_features(onnx.load(ranker / MODEL))))
    kept = {k: v for k, v in fields.items() if k not in ("manifest_version", "sha256")}
    write_manifest(ranker, kept | {"features_output": FEATURES})
    _mention(ranker / CARD)
    return 0


def _mention(card: Path) -> None:
    """Say it in the card, where the exporter does: before the sizes."""
    if card.is_file():
        lines = card.read_text(encoding="utf-8").split("\n")
        place = next((i for i, line in enumerate(lines) if line.startswith("- **Size**")), None)
        if place is not None:
            lines.insert(place, FEATURES_LINE)
            card.write_text("\n".join(lines), encoding="utf-8")


def with_features(model: ModelProto) -> ModelProto:
    """The graph with the output ``features``, float32[batch, d].

    Raises:
        ValueError: it is neither an encoder's nor the n-gram tier's.
    """
    out = ModelProto()
    out.CopyFrom(model)
    if any(_NGRAM_MEAN in node.output for node in out.graph.node):
        _rename(out, _NGRAM_ALL, "all_features")
        width = _named(out, "words").dims[1]
        _rename(out, _NGRAM_MEAN, FEATURES)
        _name_output(out, width)
        return out
    heads = [node for node in out.graph.node if node.op_type == "Gemm"]
    if not heads:
        raise ValueError("the graph has no Gemm: no head is known whose input could be given out")
    head = heads[-1]
    width = numpy_helper.to_array(_named(out, head.input[1])).shape[1 if _transposed(head) else 0]
    if width > MOST_DENSE:
        raise ValueError(f"its head reads {width} numbers, at most {MOST_DENSE} can be features: export it again")
    _rename(out, head.input[0], FEATURES)
    _name_output(out, width)
    return canonical(out)


def _named(model: ModelProto, name: str) -> TensorProto:
    return next(t for t in model.graph.initializer if t.name == name)


def _transposed(head: NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in head.attribute)


def _rename(model: ModelProto, before: str, after: str) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [after if name == before else name for name in names]
        if node.name == before:
            node.name = after


def _name_output(model: ModelProto, width: int) -> None:
    model.graph.output.append(helper.make_tensor_value_info(FEATURES, TensorProto.FLOAT, ["batch", width]))


if __name__ == "__main__":
    sys.exit(main())
