"""What a daemon does with a ranker's directory before it serves, without the daemon."""

import json
import shutil

from rankd.registry.artifact import load_artifact, write_manifest
from rankd.registry.artifact_files import CUDA_MODEL, MANIFEST, MODEL
from rankd.registry.preparation import WARM_UP_PROMPTS
from rankd.scoring.onnx_model import OnnxModel, warm_up
from rankd.scoring.session import ModelSpec, SessionOptions
from rankd.scoring.tokeniser import Tokeniser, Truncation
from rankd.training.export.trained_rows import write_trained_rows


def fields_of(ranker):
    """The manifest's fields."""
    return json.loads((ranker / MANIFEST).read_text())


def start(path):
    """What a daemon does with a directory before it serves: read, tokenise, create the session, warm up."""
    artifact = load_artifact(path)
    manifest = artifact.manifest
    cut = manifest.truncation
    tokeniser = Tokeniser(artifact.tokenizer_path, Truncation(cut.max_tokens, cut.head_tokens, cut.tail_tokens))
    spec = ModelSpec(
        str(artifact.model_path), manifest.inputs, manifest.output, cut.max_tokens, None, manifest.features_output
    )
    model = OnnxModel(spec, SessionOptions("cpu", threads=1))
    warm_up(model, tokeniser.encode([tokeniser.cut(p) for p in WARM_UP_PROMPTS]), max_batch_tokens=128)
    return tokeniser, model


def rehash(ranker, **fields):
    """Vouch for the files as they are now, so that only what reads them can object; ``fields`` replace others."""
    old = {k: v for k, v in fields_of(ranker).items() if k not in ("manifest_version", "sha256")}
    write_manifest(ranker, old | fields)


def with_second_graph(ranker, other, precision="fp16"):
    """Give a ranker the graph of another one as its own for CUDA, under one manifest."""
    shutil.copyfile(other / MODEL, ranker / CUDA_MODEL)
    rehash(ranker, cuda={"precision": precision})
    return ranker


def with_trained_rows(ranker, rows, **fields):
    """Let a ranker say that it was made of these rows; ``fields`` replace some of what it says."""
    rehash(ranker, trained_rows=write_trained_rows(ranker, rows, "any seed") | fields)
    return ranker
