"""``make gpu``, or ``python -m benchmarks.gpu``: all that is to be known of rankd on a GPU, in one command.

Needs no network and installs nothing. Results are written after each step, so that a run may be cut at any time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.gpu.packages import missing

PARTS = ("environment", "raw", "daemon", "bars")


def main(arguments: list[str] | None = None) -> int:
    """Run the parts that were asked for."""
    chosen = _parsed(arguments)
    parts = set(chosen.only or PARTS)
    if lacking := missing(parts):
        print(f"this Python ({sys.executable}) lacks: {', '.join(lacking)}", file=sys.stderr)
        print("install them there, or name another: make gpu PYTHON=/path/to/python", file=sys.stderr)
        return 2
    from rankd.errors import RankdError

    try:
        return _run(chosen, parts)
    except RankdError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; what was measured before is in {chosen.json}", file=sys.stderr)
        return 130


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to run; default: all of them")
    parser.add_argument("--seconds", type=float, default=240.0, help="what each part may take. Default: 240")
    parser.add_argument("--quick", action="store_true", help="fewer shapes, variants and numbers of daemons")
    parser.add_argument("--provider", choices=("cuda", "cpu"), default="cuda", help="cpu tries out the code itself")
    parser.add_argument("--ranker", default=None, help="directory or name of a bundled ranker. Default: minilm-l6")
    parser.add_argument("--graph", type=Path, default=None, help="its graph in fp16 or fp32, where it has no CUDA one")
    parser.add_argument("--json", type=Path, default=Path("out/gpu.json"), help="results. Default: out/gpu.json")
    return parser.parse_args(arguments)


def _run(chosen: argparse.Namespace, parts: set[str]) -> int:
    from rich.console import Console

    from benchmarks.gpu.bars import bars_of
    from benchmarks.gpu.results import Results
    from benchmarks.gpu.tables import show

    settings = {name: str(value) for name, value in sorted(vars(chosen).items())}
    results = Results(chosen.json, settings)
    usable = not parts - {"bars"} or _measure(chosen, parts, results)
    bars = bars_of(results, chosen.provider)
    results.start("bars", [{"aim": b.aim, "value": b.value, "verdict": b.verdict, "note": b.note} for b in bars])
    show(results, bars, Console(width=None if sys.stdout.isatty() else 200))
    print(f"written to {chosen.json}")
    return 0 if usable else 1


def _measure(chosen: argparse.Namespace, parts: set[str], results: object) -> bool:
    """Run the parts that measure; False where onnxruntime cannot use the provider."""
    from benchmarks.gpu.daemons import run_daemons, served_ranker
    from benchmarks.gpu.encoder import find_encoder
    from benchmarks.gpu.environment import run_environment
    from benchmarks.gpu.raw import Files, run_raw
    from benchmarks.gpu.results import Results
    from benchmarks.gpu.scale import Scale
    from rankd.registry.artifact import load_artifact
    from rankd.registry.bundled import wanted_ranker
    from rankd.scoring.gpu import cuda_device_present

    assert isinstance(results, Results)
    usable = chosen.provider == "cpu" or cuda_device_present()
    if not usable:
        results.say("onnxruntime", "NO CUDA: no driver, or no onnxruntime-gpu; only PyTorch's loop is run")
    scale = Scale(chosen.provider, chosen.quick, chosen.seconds, onnxruntime=usable)
    artifact = load_artifact(wanted_ranker(chosen.ranker))
    encoder = find_encoder(artifact, chosen.graph)
    if not encoder.real:
        results.say("ranker", f"it has no graph for CUDA: {encoder.source}; speeds hold, tau against int8 is not told")
    with tempfile.TemporaryDirectory(prefix="rankd-gpu-") as folder:
        results.say("ranker", "writing graphs and prompts, scoring some on the CPU")
        files = Files(Path(folder), artifact, encoder, scale)
        if "environment" in parts:
            scale.begin()
            run_environment(results, artifact, encoder, files, scale)
        if "raw" in parts:
            scale.begin()
            run_raw(results, files, scale)
        if "daemon" in parts and usable:
            scale.begin()
            run_daemons(results, served_ranker(Path(folder), artifact, encoder, files, scale), scale)
    return usable


if __name__ == "__main__":
    sys.exit(main())
