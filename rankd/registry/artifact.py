"""A ranker as a directory: ``model.onnx``, ``tokenizer.json`` and a ``manifest.json`` that vouches for both.

It may have a second graph, ``model.cuda.onnx``, in an arithmetic of which CUDA has kernels: where it runs chooses. And
it may have ``trained_rows.bin``, the list of prompts that it was made of.

Everything that can be wrong with a directory has its own reason, and a message that names the file or field and the
remedy. What only the model itself can show (its inputs, its scores) is checked by ``infer``.

Each file is read once, into memory: what is hashed is what is loaded, and a model whose tensors are in further files
is refused. All may be symbolic links, also to outside the directory: model stores and Kubernetes mounts are made
of them. File names are fixed, never taken from the manifest, and the hashes vouch for what a link leads to.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rankd_client.calibration import Calibration

from rankd.errors import ArtifactError
from rankd.registry.artifact_files import (
    CUDA_MODEL,
    DEFAULT_MAX_BYTES,
    MANIFEST,
    MODEL,
    OPTIONAL_FILES,
    TOKENIZER,
    TRAINED_ROWS,
    ArtifactFiles,
    read_files,
    sha256_of,
)
from rankd.registry.external_data import refuse_external_data
from rankd.registry.manifest import MANIFEST_VERSION, Manifest, calibration_of, parsed, validated
from rankd.registry.trained_rows import PromptList
from rankd.scoring.memory_file import MemoryFile


@dataclass(frozen=True, slots=True)
class Graph:
    """A ranker's graph for one provider."""

    path: Path
    """Where it came from, for messages."""
    content: MemoryFile
    """The bytes that were hashed; they are what is loaded."""
    precision: str | None
    """None: not stated."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A ranker directory that was checked."""

    path: Path
    manifest: Manifest
    model: MemoryFile
    """The bytes of ``model.onnx`` that were hashed."""
    tokenizer: MemoryFile
    """Those of ``tokenizer.json``."""
    cuda_model: MemoryFile | None = None
    """Those of ``model.cuda.onnx``; None where there is none."""
    prompts: PromptList | None = None
    """What ``trained_rows.bin`` lists; None where there is none."""

    @classmethod
    def of(cls, files: ArtifactFiles) -> Artifact:
        """What was read, as a ranker whose hashes are right.

        Raises:
            ArtifactError: BAD_MANIFEST, UNKNOWN_MANIFEST_VERSION, MISSING_FILE, UNNAMED_FILE, BAD_HASH or
                BAD_TRAINED_ROWS.
        """
        manifest = parsed(files.content[MANIFEST].read(), files.path / MANIFEST)
        _check_named(manifest, files)
        for name, expected in sorted(manifest.sha256.items()):
            if (actual := files.sha256[name]) != expected:
                raise ArtifactError(
                    "BAD_HASH",
                    f"{files.path / name} has sha256 {actual}, {MANIFEST} says {expected}: "
                    "the file is damaged or was replaced; copy the directory again",
                )
        content = files.content
        prompts = _listed(manifest, files)
        return cls(files.path, manifest, content[MODEL], content[TOKENIZER], content.get(CUDA_MODEL), prompts)

    @property
    def ranker_version(self) -> str:
        """``name@version``."""
        return f"{self.manifest.name}@{self.manifest.version}"

    def graph(self, provider: Literal["cuda", "cpu"]) -> Graph:
        """What is loaded where it runs on ``provider``: without a graph for CUDA, ``model.onnx`` there too."""
        if provider == "cuda" and self.cuda_model and self.manifest.cuda:
            return Graph(self.path / CUDA_MODEL, self.cuda_model, self.manifest.cuda.precision)
        return Graph(self.model_path, self.model, self.manifest.precision)

    def graphs(self) -> list[Graph]:
        """All there are, the CPU's first."""
        return [self.graph("cpu")] if self.cuda_model is None else [self.graph("cpu"), self.graph("cuda")]

    def keep(self, provider: Literal["cuda", "cpu"]) -> Graph:
        """The provider's graph; the memory of another one is given back."""
        kept = self.graph(provider)
        for graph in (g for g in self.graphs() if g.path != kept.path):
            graph.content.close()
        return kept

    @property
    def model_path(self) -> Path:
        """Where ``model.onnx`` came from, for messages."""
        return self.path / MODEL

    @property
    def tokenizer_path(self) -> Path:
        """Where the tokenizer came from, for messages."""
        return self.path / TOKENIZER

    def calibration(self) -> Calibration | None:
        """The manifest's calibration; None where it has none."""
        return calibration_of(self.manifest)


def load_artifact(path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> Artifact:
    """Read and check a ranker directory; each file is read once.

    Args:
        path: the directory.
        max_bytes: of its files together.

    Raises:
        ArtifactError: NOT_A_DIRECTORY, MISSING_FILE, EMPTY_FILE, UNREADABLE_FILE, CHANGED_MEANWHILE, TOO_LARGE,
            BAD_MANIFEST, UNKNOWN_MANIFEST_VERSION, UNNAMED_FILE, BAD_HASH, BAD_TRAINED_ROWS, EXTERNAL_DATA or
            BAD_MODEL.
    """
    artifact = Artifact.of(read_files(path, max_bytes))
    for graph in artifact.graphs():
        refuse_external_data(memoryview(graph.content.read()), str(graph.path))
    return artifact


def write_manifest(path: Path, fields: dict[str, Any]) -> Manifest:
    """Write ``manifest.json`` for a directory that holds the other files; hashes are taken here.

    Raises:
        ArtifactError: BAD_MANIFEST, where ``fields`` do not make one; nothing is written then.
    """
    listed = (fields.get("trained_rows") or {}).get("prompts")
    names = [MODEL, TOKENIZER, *([CUDA_MODEL] if fields.get("cuda") else []), *([TRAINED_ROWS] if listed else [])]
    hashes = {name: sha256_of(path / name) for name in names}
    manifest = validated({"manifest_version": MANIFEST_VERSION, "sha256": hashes, **fields}, path / MANIFEST)
    text = json.dumps(manifest.model_dump(mode="json", exclude_none=True), indent=1, ensure_ascii=False)
    temporary = path / (MANIFEST + ".new")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path / MANIFEST)
    return manifest


def _check_named(manifest: Manifest, files: ArtifactFiles) -> None:
    """The manifest names every file that is there, and no other: a forgotten one would be served, or trusted in."""
    for name in OPTIONAL_FILES:
        path, what = files.path / name, "cuda" if name == CUDA_MODEL else "trained_rows"
        if name in manifest.sha256 and name not in files.sha256:
            raise ArtifactError(
                "MISSING_FILE",
                f"{path} is missing, and {MANIFEST} names it: copy the directory again, or take {what} and its hash "
                "out",
            )
        if name in files.sha256 and name not in manifest.sha256:
            raise ArtifactError(
                "UNNAMED_FILE",
                f"{path} is there, and {MANIFEST} does not name it: remove the file, or copy the directory again",
            )


def _listed(manifest: Manifest, files: ArtifactFiles) -> PromptList | None:
    """The prompts that it was made of. Their file is given back: as an array they are kept once."""
    spec, file = manifest.trained_rows, files.content.get(TRAINED_ROWS)
    if spec is None or file is None:
        return None
    try:
        listed = PromptList.unpacked(bytes.fromhex(spec.key), file.read(), spec.prompts)
    except ValueError as error:
        raise ArtifactError(
            "BAD_TRAINED_ROWS", f"{files.path / TRAINED_ROWS}: {error}; copy the directory again, or export it again"
        ) from None
    file.close()
    return listed
