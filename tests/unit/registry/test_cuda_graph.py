"""A second graph, for CUDA: named and hashed or not there at all, and loaded only where it runs."""

import json
import os
import shutil

import pytest
from support.ranker_start import fields_of, with_second_graph
from support.tiny_ranker import make_artifact

from rankd.bench.floor import OfflineLoop
from rankd.cli.install import install
from rankd.errors import ArtifactError, ProviderError
from rankd.registry.artifact import load_artifact
from rankd.registry.artifact_files import CUDA_MODEL, MANIFEST, MODEL, TOKENIZER, sha256_of
from rankd.scoring.gpu import choose_provider, cuda_device_present
from rankd.scoring.session import SessionOptions
from rankd.training.evaluation.offline_ranker import OfflineRanker


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Scores of its graph for CUDA are twice those of the other."""
    place = tmp_path_factory.mktemp("good")
    return with_second_graph(make_artifact(place / "r"), make_artifact(place / "other", scale=2.0))


@pytest.fixture
def ranker(good, tmp_path):
    return shutil.copytree(good, tmp_path / "r")


def refused(path, reason):
    with pytest.raises(ArtifactError) as caught:
        load_artifact(path)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(ranker, **fields):
    new = {k: v for k, v in {**fields_of(ranker), **fields}.items() if v is not None}
    (ranker / MANIFEST).write_text(json.dumps(new))


def hashes(ranker, *names):
    return {name: sha256_of(ranker / name) for name in names}


def test_the_provider_chooses(ranker):
    """Path, bytes and precision are those of the graph that runs there."""
    artifact = load_artifact(ranker)
    cpu, cuda = artifact.graph("cpu"), artifact.graph("cuda")
    assert (cpu.path.name, cpu.precision) == (MODEL, None)
    assert (cuda.path.name, cuda.precision) == (CUDA_MODEL, "fp16")
    assert cuda.content.read() == (ranker / CUDA_MODEL).read_bytes() != cpu.content.read()
    assert [g.path.name for g in artifact.graphs()] == [MODEL, CUDA_MODEL]


def test_without_one_there_is_one_graph_for_all(tmp_path):
    """A ranker of one graph runs it everywhere, as before."""
    artifact = load_artifact(make_artifact(tmp_path / "r"))
    assert artifact.graph("cuda") == artifact.graph("cpu")
    assert len(artifact.graphs()) == 1
    assert artifact.keep("cuda").content.read()


def test_offline_scores_are_those_of_the_graph_that_runs(ranker):
    """On a CPU ``model.onnx``, by default and under ``auto``; the other one when it is asked for."""
    artifact = load_artifact(ranker)
    first = OfflineRanker(artifact).scores(["long long"])[0]
    assert first == pytest.approx(2.04)
    assert OfflineRanker(artifact, graph="cuda").scores(["long long"])[0] == pytest.approx(2 * first)
    if not cuda_device_present():
        assert choose_provider("auto") == "cpu"
        assert OfflineRanker(artifact, provider="auto").graph.path.name == MODEL
        assert OfflineLoop(artifact, SessionOptions("auto")).provider == "cpu"
        with pytest.raises(ProviderError, match="provider cuda"):
            OfflineRanker(artifact, provider="cuda")


def test_one_that_the_manifest_does_not_name(ranker):
    """A forgotten file, or an older manifest: the message says what to do."""
    change(ranker, cuda=None, sha256=hashes(ranker, MODEL, TOKENIZER))
    message = refused(ranker, "UNNAMED_FILE")
    assert str(ranker / CUDA_MODEL) in message
    assert "remove the file" in message


def test_one_that_is_named_and_missing(ranker):
    """As an interrupted copy leaves it."""
    (ranker / CUDA_MODEL).unlink()
    message = refused(ranker, "MISSING_FILE")
    assert str(ranker / CUDA_MODEL) in message
    assert "copy the directory again" in message


@pytest.mark.parametrize("how", ["directory", "dangling", "loop", "fifo"])
@pytest.mark.parametrize("named", [True, False])
def test_one_that_is_no_file(ranker, how, named):
    """Named or not, and a fifo does not block the start."""
    if not named:
        change(ranker, cuda=None, sha256=hashes(ranker, MODEL, TOKENIZER))
    (ranker / CUDA_MODEL).unlink()
    if how == "directory":
        (ranker / CUDA_MODEL).mkdir()
    elif how == "fifo":
        os.mkfifo(ranker / CUDA_MODEL)
    else:
        (ranker / CUDA_MODEL).symlink_to("nowhere" if how == "dangling" else CUDA_MODEL)
    assert str(ranker / CUDA_MODEL) in refused(ranker, "MISSING_FILE")


def test_an_empty_one(ranker):
    (ranker / CUDA_MODEL).write_bytes(b"")
    assert str(ranker / CUDA_MODEL) in refused(ranker, "EMPTY_FILE")


def test_a_link_to_outside_serves_and_is_hashed(ranker, tmp_path):
    """As of the other files; its hash is checked where it will not run, too."""
    shutil.move(ranker / CUDA_MODEL, tmp_path / "blob")
    (ranker / CUDA_MODEL).symlink_to(tmp_path / "blob")
    load_artifact(ranker)
    (tmp_path / "blob").write_bytes(b"something else")
    message = refused(ranker, "BAD_HASH")
    assert str(ranker.resolve() / CUDA_MODEL) in message


@pytest.mark.parametrize(
    ("change_", "said"),
    [
        (lambda _: {"cuda": None}, "the field cuda"),
        (lambda r: {"sha256": hashes(r, MODEL, TOKENIZER)}, "the field cuda"),
        (lambda r: {"sha256": hashes(r, MODEL, CUDA_MODEL)}, "sha256"),
        (lambda _: {"cuda": {"precision": "int8"}}, "cuda.precision"),
        (lambda _: {"cuda": {}}, "cuda.precision"),
        (lambda _: {"cuda": {"precision": "fp16", "device": 1}}, "cuda.device"),
        (lambda _: {"cuda": True}, "cuda"),
    ],
)
def test_a_manifest_that_says_half_of_it(ranker, change_, said):
    """Field and hash belong together, and the field says no more than what is kept."""
    change(ranker, **change_(ranker))
    assert said in refused(ranker, "BAD_MANIFEST")


def test_it_is_installed_with_the_rest(ranker, tmp_path):
    """A copy in a registry has it too, and is the same ranker."""
    place = install(load_artifact(ranker), str(tmp_path / "registry"))
    copied = tmp_path / "registry" / place
    assert (copied / CUDA_MODEL).read_bytes() == (ranker / CUDA_MODEL).read_bytes()
    assert install(load_artifact(ranker), str(tmp_path / "registry")) == place
