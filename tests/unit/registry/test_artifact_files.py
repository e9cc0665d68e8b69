"""A ranker's files are read once, within bounds, and what was read does not change any more."""

import contextlib
import gc
import os
import sys
from pathlib import Path

import pytest
from support.hostile_rankers import external
from support.ranker_start import with_second_graph, with_trained_rows
from support.tiny_ranker import make_artifact

from rankd.errors import ArtifactError
from rankd.registry import artifact_files
from rankd.registry.artifact import load_artifact
from rankd.registry.artifact_files import (
    ALL_FILES,
    CUDA_MODEL,
    LARGEST_MANIFEST,
    MANIFEST,
    MODEL,
    TOKENIZER,
    read_files,
)
from rankd.scoring.onnx_model import OnnxModel, pad
from rankd.scoring.session import ModelSpec, SessionOptions
from rankd.scoring.tokeniser import Tokeniser, Truncation
from rankd.training.data.row import Row


@pytest.fixture
def ranker(tmp_path):
    """One with all files: a graph for CUDA beside the other, and the list of its rows."""
    made = with_second_graph(make_artifact(tmp_path / "r"), make_artifact(tmp_path / "cuda", scale=2.0))
    return with_trained_rows(made, [Row("a prompt", 10, complete=True), Row("another", 20, complete=True)])


def refused(path, reason, max_bytes=2**20):
    with pytest.raises(ArtifactError) as caught:
        load_artifact(path, max_bytes)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_hashed_is_what_is_loaded(ranker, tmp_path):
    """Both files are replaced after they were read: the scores are those of what was vouched for."""
    artifact = load_artifact(ranker)
    other = make_artifact(tmp_path / "other", scale=-5.0)
    for name in (MODEL, TOKENIZER):
        (ranker / name).write_bytes((other / name).read_bytes() if name == MODEL else b"{}")
    tokeniser = Tokeniser(ranker / TOKENIZER, Truncation(64, 32, 32), artifact.tokenizer.read())
    spec = ModelSpec(str(ranker / MODEL), ("input_ids", "attention_mask"), "score", 64, artifact.model)
    score = OnnxModel(spec, SessionOptions("cpu")).run(*pad(tokeniser.encode(["long long"])))[0]
    assert score == pytest.approx(2.04)


@pytest.mark.skipif(sys.platform != "linux", reason="memory files are Linux's")
@pytest.mark.parametrize("change", [lambda fd: os.ftruncate(fd, 10), lambda fd: os.pwrite(fd, b"x", 0)])
def test_what_was_read_cannot_be_changed(ranker, change):
    """Not even by who has its descriptor: a mapping of it never loses a page."""
    artifact = load_artifact(ranker)
    with pytest.raises(PermissionError):
        change(artifact.model.fd)


@pytest.mark.parametrize("name", [MODEL, CUDA_MODEL, TOKENIZER])
def test_a_sparse_file_is_refused_before_it_is_read(ranker, name):
    """As many bytes as a disk does not have: the size is said and the setting; nothing is read."""
    os.truncate(ranker / name, 2**40)
    message = refused(ranker, "TOO_LARGE")
    assert name in message
    assert str(2**40) in message
    assert "RANKD_SCORING__MAX_ARTIFACT_BYTES" in message


def test_files_count_together(ranker):
    """Each may be small enough, and all of them too large."""
    size = sum((ranker / name).stat().st_size for name in ALL_FILES)
    load_artifact(ranker, size)
    refused(ranker, "TOO_LARGE", size - 1)


def test_a_manifest_of_many_bytes(ranker):
    """It is no manifest, whatever it holds."""
    os.truncate(ranker / MANIFEST, LARGEST_MANIFEST + 1)
    assert MANIFEST in refused(ranker, "BAD_MANIFEST")


@pytest.mark.parametrize("name", ALL_FILES)
@pytest.mark.parametrize("how", ["grows", "shrinks", "fifo", "gone", "device"])
def test_a_directory_that_changes_while_it_is_read(ranker, monkeypatch, name, how):
    """Between the look at a file and its reading: an error that says so, never a wait or a file without end."""
    check = artifact_files._check_sizes

    def changed_after(*arguments):
        check(*arguments)
        path = ranker / name
        if how == "grows":
            with path.open("ab") as file:
                file.write(b" ")
        elif how == "shrinks":
            os.truncate(path, 1)
        else:
            path.unlink()
            if how == "fifo":
                os.mkfifo(path)
            elif how == "device":
                path.symlink_to("/dev/zero")

    monkeypatch.setattr(artifact_files, "_check_sizes", changed_after)
    refused(ranker, "UNREADABLE_FILE" if how == "gone" else "CHANGED_MEANWHILE")


def open_files():
    """Descriptors of this process that are a ranker's files in memory."""
    links = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            links.append(str(each.readlink()))
    return sum("memfd:" in link and any(name in link for name in ALL_FILES) for link in links)


@pytest.mark.skipif(sys.platform != "linux", reason="memory files are Linux's")
def test_descriptors_go_with_what_was_read(ranker):
    """Loading again and again leaves none open."""
    gc.collect()  # what other tests left behind would go meanwhile
    before = open_files()
    for _ in range(20):
        load_artifact(ranker)
    files = read_files(ranker, 2**20)
    assert open_files() == before + len(ALL_FILES)
    del files
    assert open_files() == before


@pytest.mark.skipif(sys.platform != "linux", reason="memory files are Linux's")
@pytest.mark.parametrize(("provider", "kept"), [("cpu", MODEL), ("cuda", CUDA_MODEL)])
def test_the_graph_that_does_not_run_here_is_given_back(ranker, provider, kept):
    """Its memory goes at once, and the other's bytes are still there to be loaded."""
    artifact = load_artifact(ranker)
    before = open_files()
    graph = artifact.keep(provider)
    assert open_files() == before - 1
    assert graph.content.read() == (ranker / kept).read_bytes()


def test_weights_in_another_file_are_refused(tmp_path):
    """They are outside of every hash, and would be mapped: a cut one would end the process."""
    message = refused(external(tmp_path / "r"), "EXTERNAL_DATA")
    assert "'weights'" in message
    assert "'weights.bin'" in message
