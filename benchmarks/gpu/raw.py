"""The raw loop over the model, without a daemon: graphs, ways to hand batches over, padding, options of providers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnx import save

from benchmarks.gpu.child import rows_of
from benchmarks.gpu.encoder import Encoder
from benchmarks.gpu.graphs import GraphKind, write_graph
from benchmarks.gpu.prompts import WORKLOADS, encode, texts, tokeniser_of
from benchmarks.gpu.results import Results, Row
from benchmarks.gpu.scale import Scale
from benchmarks.gpu.session import Session, SessionPlan
from benchmarks.gpu.variant import write_rows
from rankd.registry.artifact import Artifact
from rankd.scoring.onnx_model import Ids, pad

SERVED = "served graph"
"""The graph that the daemon runs on this provider: the floor that it is measured against."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One line of the tables."""

    name: str
    graph: str
    """Which: a name of ``Files``."""
    feed: str = "bound"
    kind: str = "onnx"
    provider: str = ""
    """Empty: that of the run."""
    options: dict[str, str] = field(default_factory=dict)
    lanes: int = 1
    """Threads that run batches at the same time."""
    share: bool = False
    """Whether they share one session."""
    whole: bool = False
    """Whether all shapes are run, and not a few."""
    paddings: bool = False
    """Whether other widths and budgets are run too."""


def variants(scale: Scale) -> list[Variant]:
    """What is run, in order of what matters, since a run may be cut short."""
    found = [
        Variant(SERVED, "served", whole=True, paddings=True),
        Variant("int8", "int8", whole=True),
        Variant("fp32 mask", "fp32 mask", whole=True),
        Variant("fp16 mask", "fp16 mask", whole=True),
        Variant("fp16 lengths", "fp16 lengths", whole=True),
        Variant("fp16 heads", "fp16 heads"),
        Variant("fp16 packed", "fp16 packed", whole=True, paddings=True),
        Variant("torch fp16", "fp32 mask", feed="fp16", kind="torch", whole=True),
        Variant("buffers anew", "served", feed="fresh"),
        Variant("pinned", "served", feed="pinned"),
        Variant("inputs resident", "served", feed="resident"),
        Variant("CUDA graphs", "served", feed="graph", whole=True),
        Variant("CUDA graphs, lengths", "fp16 lengths", feed="graph", whole=True),
        Variant("one session, two threads", "served", feed="fresh", lanes=2, share=True),
        Variant("two sessions", "served", lanes=2),
        Variant("TensorRT", "fp32 mask", provider="tensorrt", options={"trt_fp16_enable": "True"}),
        *(Variant(f"{name}={value}", "served", options={name: value}) for name, value in _OPTIONS),
        Variant("fp32 mask, use_tf32=0", "fp32 mask", options={"use_tf32": "0"}),
    ]
    if not scale.onnxruntime:
        return [variant for variant in found if variant.kind == "torch"]
    if scale.cuda:
        return found[:9] if scale.quick else found
    # On a CPU a smoke test: half precision has no kernels there worth timing, and nothing of a device exists.
    kept = {SERVED, "fp32 mask", "fp32 lengths", "fp32 heads", "buffers anew", "pinned", "one session, two threads"}
    more = [Variant("fp32 lengths", "fp32 lengths"), Variant("fp32 heads", "fp32 heads")]
    return [v for v in [*found, *more, Variant("torch fp32", "fp32 mask", feed="fp32", kind="torch")]
            if v.name in kept or v.name == "torch fp32" or (not scale.quick and v.name == "two sessions")]  # fmt: skip


_OPTIONS = (
    ("do_copy_in_default_stream", "0"), ("use_ep_level_unified_stream", "1"), ("sdpa_kernel", "1"),
    ("sdpa_kernel", "2"), ("sdpa_kernel", "8"), ("prefer_nhwc", "1"), ("enable_skip_layer_norm_strict_mode", "1"),
    ("cudnn_conv_algo_search", "HEURISTIC"), ("arena_extend_strategy", "kNextPowerOfTwo"),
)  # fmt: skip
"""Of the CUDA provider. ``sdpa_kernel``: 1 flash, 2 memory-efficient, 8 cuDNN."""


class Files:
    """Graphs and prompts in a folder, made when they are first wanted."""

    def __init__(self, folder: Path, artifact: Artifact, encoder: Encoder, scale: Scale) -> None:
        """Write prompts, and score some of them with the reference graphs."""
        self._folder, self._artifact, self._encoder = folder, artifact, encoder
        self._cuda = scale.cuda
        tokeniser = tokeniser_of(artifact)
        counts = dict.fromkeys(WORKLOADS, scale.prompts)
        rows = {name: encode(tokeniser, texts(name, count, tokeniser)) for name, count in counts.items()}
        rows["check"] = encode(tokeniser, texts("mixed", scale.checked, tokeniser, seed=1))
        self.rows = folder / "rows.npz"
        write_rows(self.rows, rows)
        self._float = self._reference("fp32 mask", rows["check"])
        self._served = self._reference("int8", rows["check"])

    def path(self, name: str) -> str:
        """The file of a graph."""
        if name == "int8" or (name == "served" and not self._cuda):
            return str(self._artifact.model_path)
        if name == "served" and self._encoder.graph is not None:
            return str(self._encoder.graph)
        kind = "fp16 mask" if name == "served" else name
        path = self._folder / f"{kind.replace(' ', '_')}.onnx"
        if not path.exists():
            precision, attention = kind.split()
            save(write_graph(self._encoder.weights, GraphKind(attention, precision)), str(path))  # type: ignore[arg-type]
        return str(path)

    def references(self, name: str) -> dict[str, list[float]]:
        """Scores on the CPU that a graph's are compared with: those of the same weights only."""
        shipped = name == "int8" or (name == "served" and not self._cuda)
        if shipped:
            return {"int8": self._served}
        return {"fp32": self._float, **({"int8": self._served} if self._encoder.real else {})}

    def _reference(self, graph: str, rows: list[Ids]) -> list[float]:
        session = Session(SessionPlan(self.path(graph), "cpu"))
        return [float(session.run(*pad([row]))[0]) for row in rows]


def run_raw(results: Results, files: Files, scale: Scale) -> None:
    """Run each variant in a process of its own; a part that has no time left says what it left out."""
    found: dict[str, dict[str, list[Row]]] = {"variants": {}}
    results.start("raw", found)
    for variant in variants(scale):
        rows: list[Row] = []
        found["variants"][variant.name] = rows
        cap = min(scale.left(), scale.variant_cap)
        if cap < 1:
            rows.append({"error": "not run: no time left of --seconds"})
            continue
        for row in rows_of("benchmarks.gpu.variant", _job(variant, files, scale), cap):
            rows.append(row)
            results.write()
        results.say("raw", f"{variant.name}: {_summary(rows)}")
    results.write()


def _job(variant: Variant, files: Files, scale: Scale) -> dict[str, Any]:
    return {
        "kind": variant.kind,
        "graph": files.path(variant.graph),
        "provider": variant.provider or scale.provider,
        "feed": variant.feed,
        "options": variant.options,
        "lanes": variant.lanes,
        "share": variant.share,
        "profile": variant.kind == "onnx" and variant.feed != "graph",
        "rows": str(files.rows),
        "references": files.references(variant.graph),
        "shapes": scale.shapes if variant.whole else scale.few_shapes,
        "seconds": scale.row_seconds,
        "multiple": 16 if variant.feed == "graph" else 1,
        "mixes": scale.mixes(paddings=variant.paddings, every_width=variant.feed != "graph"),
    }


def _summary(rows: list[Row]) -> str:
    rates = [row["prompts_per_second"] for row in rows if "prompts_per_second" in row]
    errors = [row["error"] for row in rows if "error" in row]
    said = [f"up to {max(rates):,.0f} prompts/s"] if rates else []
    return "; ".join([*said, *errors]) or "nothing"
