"""A ranker directory: everything that can be wrong with one has its own reason and says where and what to do."""

import json
import os
import shutil
from pathlib import Path

import pytest
from support.ranker_start import fields_of
from support.tiny_ranker import make_artifact

from rankd.errors import ArtifactError
from rankd.registry.artifact import load_artifact, write_manifest
from rankd.registry.artifact_files import MANIFEST, MODEL, TOKENIZER, sha256_of
from rankd.registry.bundled import ranker_path

FILES = [MANIFEST, MODEL, TOKENIZER]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make_artifact(tmp_path_factory.mktemp("good") / "r")


@pytest.fixture
def ranker(good, tmp_path):
    """A ranker of the test's own, to spoil."""
    return shutil.copytree(good, tmp_path / "r")


def refused(path):
    """The error of loading ``path``; its message is one line of bounded length, for a person to read."""
    with pytest.raises(ArtifactError) as caught:
        load_artifact(path)
    assert caught.value.__cause__ is None
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1500
    return caught.value


def change(ranker, **fields):
    (ranker / MANIFEST).write_text(json.dumps({**fields_of(ranker), **fields}))


def knot(score, expected, **more):
    return {"score": score, "expected": expected, **more}


def knots(*given, mean=100.0):
    return {"knots": list(given), "mean_expected": mean}


def test_good_one_is_read(ranker):
    """What was written is what is read, under the resolved path and with its calibration."""
    artifact = load_artifact(ranker)
    assert artifact.ranker_version == "tiny@1.0.0"
    assert artifact.path == ranker.resolve()
    assert artifact.manifest.measured_tau == 0.5
    assert len(artifact.calibration().knots) == 21
    assert artifact.manifest.sha256[MODEL] == sha256_of(artifact.model_path)


def test_calibration_and_measured_tau_are_optional(tmp_path):
    """A ranker without evidence is a good ranker, which says that it has none."""
    artifact = load_artifact(make_artifact(tmp_path / "r", calibration=False, measured_tau=None))
    assert artifact.calibration() is None
    assert artifact.manifest.measured_tau is None


@pytest.mark.parametrize("where", ["nowhere", MODEL, "a\0b"])
def test_not_a_directory(ranker, where):
    """A path that is missing, a file, or no path at all is NOT_A_DIRECTORY."""
    error = refused(ranker / where)
    assert error.reason == "NOT_A_DIRECTORY"
    assert str(ranker / where) in str(error)
    assert f"give one that holds {MANIFEST}" in str(error)


def test_a_relative_path_is_shown_as_a_path(tmp_path, monkeypatch):
    """``./ngram`` where there is no such directory is not shown as ``ngram``, which there is; other paths stay."""
    monkeypatch.chdir(tmp_path)
    for typed, shown in (("./ngram", "./ngram"), ("ngram/", "./ngram"), ("a/ngram", "a/ngram"), ("../x", "../x")):
        assert f"ranker {shown}: no such directory" in str(refused(ranker_path(typed)))


def test_path_too_long(ranker):
    """A path that the system refuses is an ArtifactError, not an OSError, and is not quoted in full."""
    assert refused(ranker / ("a" * 5000)).reason == "UNREADABLE_FILE"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["absent", "directory", "dangling", "loop", "fifo"])
def test_missing_file(ranker, name, how):
    """Each of the three files must be there as a file; the message names it. A fifo does not block the start."""
    (ranker / name).unlink()
    if how == "directory":
        (ranker / name).mkdir()
    elif how == "dangling":
        (ranker / name).symlink_to("nowhere")
    elif how == "loop":
        (ranker / name).symlink_to(name)
    elif how == "fifo":
        os.mkfifo(ranker / name)
    error = refused(ranker)
    assert error.reason == "MISSING_FILE"
    assert str(ranker / name) in str(error)
    assert all(needed in str(error) for needed in FILES)


@pytest.mark.parametrize("name", FILES)
def test_empty_file(ranker, name):
    """A file of no bytes, as an interrupted copy leaves it, is said to be empty."""
    (ranker / name).write_bytes(b"")
    error = refused(ranker)
    assert error.reason == "EMPTY_FILE"
    assert str(ranker / name) in str(error)
    assert "copy the directory again" in str(error)


@pytest.mark.parametrize("name", [*FILES, ""])
def test_unreadable(ranker, name):
    """A file without read permission, or a directory that may not be entered, is UNREADABLE_FILE."""
    (ranker / name).chmod(0)
    try:
        if os.access(ranker / name, os.R_OK):
            pytest.skip("root reads everything")
        assert refused(ranker).reason == "UNREADABLE_FILE"
    finally:
        (ranker / name).chmod(0o755)


@pytest.mark.parametrize("call", ["is_dir", "stat", "is_file"])
def test_system_errors_are_named(ranker, monkeypatch, call):
    """Whatever call the system refuses, the error is ours: as root too, where permissions cannot be tested."""

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, call, denied)
    error = refused(ranker)
    assert error.reason == "UNREADABLE_FILE"
    assert "Permission denied" in str(error)


@pytest.mark.parametrize("name", [MODEL, TOKENIZER])
def test_bad_hash(ranker, name):
    """One changed byte is found; the message names the file and both hashes."""
    expected = fields_of(ranker)["sha256"][name]
    data = bytearray((ranker / name).read_bytes())
    data[len(data) // 2] ^= 1
    (ranker / name).write_bytes(data)
    error = refused(ranker)
    assert error.reason == "BAD_HASH"
    assert name in str(error)
    assert expected in str(error)
    assert sha256_of(ranker / name) in str(error)
    assert "copy the directory again" in str(error)


def test_links_are_followed_and_hashed(ranker, tmp_path):
    """A link to outside serves, as model stores lay files out; what it leads to must still have the right hash."""
    store = tmp_path / "blob"
    shutil.move(ranker / MODEL, store)
    (ranker / MODEL).symlink_to(store)
    load_artifact(ranker)
    store.write_bytes(b"something else")
    assert refused(ranker).reason == "BAD_HASH"


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"manifest_version": ' + b"9" * 5000 + b"}",
        b" " * 5 * 2**20,
    ],
    ids=["cut", "binary", "list", "null", "deep", "digits", "huge"],
)
def test_manifest_is_no_json_object(ranker, content):
    """Whatever bytes stand in for a manifest, the answer is BAD_MANIFEST and names the file."""
    (ranker / MANIFEST).write_bytes(content)
    error = refused(ranker)
    assert error.reason == "BAD_MANIFEST"
    assert str(ranker / MANIFEST) in str(error)


def test_twice_given_field(ranker):
    """A name given twice is refused: of two hashes nobody could say which one is meant."""
    text = (ranker / MANIFEST).read_text()
    (ranker / MANIFEST).write_text(text.replace("{", '{"measured_tau": 0.9,', 1))
    error = refused(ranker)
    assert error.reason == "BAD_MANIFEST"
    assert "measured_tau is given twice" in str(error)


@pytest.mark.parametrize("version", [0, 2, "1", None, True, [1], "x" * 100_000])
def test_unknown_manifest_version(ranker, version):
    """Any version but 1 has its own reason, before any other field is looked at."""
    change(ranker, manifest_version=version, name="../also wrong")
    error = refused(ranker)
    assert error.reason == "UNKNOWN_MANIFEST_VERSION"
    assert "matching rankd" in str(error)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"surprise": 1}, "surprise"),
        ({"name": "../x"}, "name"),
        ({"name": "x\n"}, "name"),
        ({"version": ""}, "version"),
        ({"direction": "lower_is_longer"}, "direction"),
        ({"sha256": {MODEL: "0" * 64}}, "sha256"),
        ({"sha256": {MODEL: "0" * 64, TOKENIZER: "0" * 64, "../../etc/passwd": "0" * 64}}, "sha256"),
        ({"sha256": {MODEL: "0" * 63, TOKENIZER: "0" * 64}}, "sha256.model.onnx"),
        ({"inputs": []}, "inputs"),
        ({"inputs": ["input_ids", "pixels"]}, "inputs"),
        ({"inputs": ["input_ids", "input_ids"]}, "inputs"),
        ({"truncation": {"max_tokens": 64, "head_tokens": 60, "tail_tokens": 60}}, "truncation"),
        ({"truncation": {"max_tokens": 64, "head_tokens": 64, "tail_tokens": -1}}, "truncation.tail_tokens"),
        ({"measured_tau": 1.5}, "measured_tau"),
        ({"measured_tau": float("nan")}, "measured_tau"),
        ({"licence": None}, "licence"),
        ({"measurements": [{"dataset": "d", "model": "m", "rows": 0, "kendall_tau": 0.1}]}, "measurements.0.rows"),
        ({"calibration": knots()}, "calibration.knots"),
        ({"calibration": knots(knot(0, float("nan")))}, "calibration.knots.0.expected"),
        ({"calibration": knots(knot(0, 2), knot(1, 1))}, "expected"),
        ({"calibration": knots(knot(0, 1), knot(0, 2))}, "score"),
        ({"calibration": knots(knot(0, 1), mean=-1)}, "mean_expected"),
        ({"calibration": knots(knot(0, 5, p50=9, p90=3))}, "p50"),
        ({"calibration": knots(knot(0, 5, p50=4), knot(1, 6))}, "p50"),
    ],
)
def test_bad_field(ranker, fields, named):
    """Every wrong field is BAD_MANIFEST, and the message names it."""
    change(ranker, **fields)
    error = refused(ranker)
    assert error.reason == "BAD_MANIFEST"
    assert named in str(error).split(": ", 1)[1]


@pytest.mark.parametrize("name", ["name", "version", "sha256", "direction", "truncation", "licence"])
def test_missing_field(ranker, name):
    """Fields without a default are missed by name."""
    fields = fields_of(ranker)
    del fields[name]
    (ranker / MANIFEST).write_text(json.dumps(fields))
    error = refused(ranker)
    assert error.reason == "BAD_MANIFEST"
    assert f"{name}: " in str(error)


def test_writing_is_deterministic_and_takes_hashes(ranker):
    """The same fields give the same bytes, and hashes are those of the files as they are now."""
    fields = {k: v for k, v in fields_of(ranker).items() if k not in ("manifest_version", "sha256")}
    before = (ranker / MANIFEST).read_bytes()
    write_manifest(ranker, fields)
    assert (ranker / MANIFEST).read_bytes() == before
    (ranker / TOKENIZER).write_text((ranker / TOKENIZER).read_text() + "\n")
    write_manifest(ranker, fields)
    load_artifact(ranker)
    assert sorted(p.name for p in ranker.iterdir()) == sorted(FILES)


def test_nothing_is_written_where_fields_are_wrong(ranker):
    """A refused manifest leaves the old one as it was."""
    before = (ranker / MANIFEST).read_bytes()
    with pytest.raises(ArtifactError, match="name: Field required"):
        write_manifest(ranker, {"version": "2"})
    assert (ranker / MANIFEST).read_bytes() == before
    assert sorted(p.name for p in ranker.iterdir()) == sorted(FILES)
