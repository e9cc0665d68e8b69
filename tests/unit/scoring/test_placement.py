"""Where a model's nodes ran, by onnxruntime's own profile.

Without a GPU every node of a profile ran on the CPU: that is what a silent fallback looks like, and is judged as if
CUDA had been asked for. ``cuda_profile.json`` is made up in onnxruntime's form: two runs, the second mostly on
CUDA.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from support.ranker_start import start
from support.tiny_ranker import make_artifact

from rankd.errors import ArtifactError
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import default_ranker_path
from rankd.scoring.onnx_model import OnnxModel, warm_up
from rankd.scoring.onnxruntime_import import import_onnxruntime
from rankd.scoring.placed_model import load_placed
from rankd.scoring.placement import Placement, Profile, placement_of
from rankd.scoring.session import ModelSpec, SessionOptions

CUDA_PROFILE = (Path(__file__).parent / "cuda_profile.json").read_bytes()
ENCODED = [np.array(ids, dtype=np.int64) for ids in ([101, 2054, 102], [101, 4339, 1037, 2146, 9491, 102])]


@pytest.fixture
def private(tmp_path, monkeypatch):
    """Where temporary files are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def load(provider="cpu", *, profile=True, name="minilm-l6"):
    """A bundled ranker's model; as of a session for CUDA in which every node runs on the CPU, with ``profile``."""
    artifact = load_artifact(default_ranker_path().parent / name)
    manifest = artifact.manifest
    spec = ModelSpec(str(artifact.model_path), tuple(manifest.inputs), manifest.output, 256, None)
    return OnnxModel(spec, SessionOptions(provider, profile=profile))


def warm(model):
    """As the daemon does before it serves."""
    warm_up(model, ENCODED, max_batch_tokens=64)


def test_a_real_profile_names_the_products_that_ran_on_the_cpu():
    """All 36 products of the int8 encoder, its attention's, and its head's; nothing was copied."""
    model = load()
    warm(model)
    placement = model.placement
    assert placement.cpu_products == {"MatMulIntegerToFloat": 36, "MatMul": 12, "Gemm": 1}
    assert list(placement.nodes) == ["CPUExecutionProvider"]
    assert placement.nodes["CPUExecutionProvider"] > 150
    assert placement.copies == 0
    assert 0 <= placement.device_share < 1
    assert placement.named_products() == "36 x MatMulIntegerToFloat, 12 x MatMul, 1 x Gemm"


def test_runs_at_the_same_time_are_told_apart():
    """Several workers warm up together: what is told is one run's, by the thread that it was in."""
    events = json.loads(CUDA_PROFILE)
    other = [event | {"tid": event["tid"] + 1} for event in events if "tid" in event]
    assert placement_of(json.dumps([*other, *events]).encode()) == placement_of(CUDA_PROFILE)
    model = load()
    warm_up(model, ENCODED, max_batch_tokens=512, workers=3)
    assert model.placement.cpu_products == {"MatMulIntegerToFloat": 36, "MatMul": 12, "Gemm": 1}


def test_no_file_stays_behind(private):
    """The profile's file has no name any more when the model runs: even a process that is killed leaves none."""
    model = load()
    assert list(private.iterdir()) == []
    warm(model)
    assert model.placement is not None
    assert list(private.iterdir()) == []


def test_a_model_that_is_not_loadable_leaves_no_file(private, tmp_path):
    """The session that fails has begun its profile already."""
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError):
        OnnxModel(
            ModelSpec(str(tmp_path / "model.onnx"), ("input_ids",), "score", 8), SessionOptions("cpu", profile=True)
        )
    assert list(private.iterdir()) == []


def test_a_profile_holds_no_input(tmp_path):
    """Operators, shapes and times: what onnxruntime writes down tells no prompt."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "p")
    path = default_ranker_path().parent / "minilm-l6" / "model.onnx"
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    told = np.array([[20011, 20021, 20023]])
    session.run(None, {i.name: told if i.name == "input_ids" else np.ones_like(told) for i in session.get_inputs()})
    written = Path(session.end_profiling()).read_text()
    assert placement_of(written.encode()) is not None
    words = {str(value) for event in json.loads(written) for value in event["args"].values()}
    assert not words & set(map(str, told[0]))
    assert "[20011" not in written


def test_where_no_file_can_be_made_nothing_is_known(private, monkeypatch):
    """A machine whose disk cannot be written to serves all the same."""
    monkeypatch.setattr(tempfile, "tempdir", str(private / "not there"))
    model = load(name="ngram")
    warm(model)
    assert model.placement is None
    assert np.isfinite(model.run(ENCODED[0][None], np.ones((1, 3), dtype=np.int64))).all()


def test_a_session_without_profile_writes_none(private):
    """A model for the CPU pays nothing."""
    private.rmdir()
    model = load(profile=False)
    warm(model)
    assert model.placement is None


def test_warming_up_again_keeps_what_is_known():
    """The profile ends once."""
    model = load(name="ngram")
    warm(model)
    first = model.placement
    warm(model)
    assert model.placement == first is not None


def test_the_last_run_counts():
    """40 of 400 µs were in nodes of the CPU; a control flow node's time is that of its nodes."""
    placement = placement_of(CUDA_PROFILE)
    assert placement.device_share == pytest.approx(1 - (30 + 10) / 400)
    assert placement.nodes == {"CPUExecutionProvider": 3, "CUDAExecutionProvider": 2}
    assert placement.cpu_products == {}
    assert placement.copies == 1


def changed(change):
    """The made-up profile with one change of its events."""
    events = json.loads(CUDA_PROFILE)
    change(events)
    return json.dumps(events).encode()


@pytest.mark.parametrize(
    "profile",
    {
        "empty": b"",
        "cut off": CUDA_PROFILE[:900],
        "no text": b"\xff\xfe\x00",
        "another thing": b'{"traceEvents": []}',
        "no list of events": b'["model_run"]',
        "no events": b"[]",
        "deep": b"[" * 100_000,
        "no run": b'[{"name": "session_initialization", "cat": "Session", "ts": 1, "dur": 9}]',
        "a run of no time": changed(lambda events: events[-1].update(dur=0)),
        "a run without nodes": changed(lambda events: events[-1].update(ts=90_000)),
        "nodes without provider": changed(lambda events: events[6]["args"].pop("provider")),
        "times in words": changed(lambda events: events[-1].update(dur="long")),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_profile_says_nothing(profile):
    """Unknown, and never a failure."""
    assert placement_of(profile[1]) is None


def test_a_model_whose_products_are_on_the_cpu_is_refused_where_cuda_was_named():
    """The error names operators, how many, and both remedies."""
    with pytest.raises(ArtifactError, match=r"36 x MatMulIntegerToFloat.*graph for CUDA.*--provider cpu") as caught:
        load_placed("cuda", "r/model.onnx", lambda _: load(), warm)
    assert caught.value.reason == "PRODUCTS_ON_CPU"
    assert "r/model.onnx: 49 of its matrix products" in str(caught.value)


def test_under_auto_it_is_loaded_for_the_cpu():
    """A second session, that was never profiled; why is kept."""
    asked = []

    def loaded(provider):
        asked.append(provider)
        return load(profile=provider != "cpu")

    placed = load_placed("auto", "model.onnx", loaded, warm)
    assert asked == ["auto", "cpu"]
    assert placed.model.placement is None
    assert placed.placement.cpu_products["MatMulIntegerToFloat"] == 36


def test_what_is_not_known_refuses_nobody(tmp_path):
    """A profile that cannot be read leaves the model where it is."""
    model = start(make_artifact(tmp_path / "r"))[1]
    placed = load_placed("cuda", "model.onnx", lambda _: model, lambda _: None)
    assert placed.model is model
    assert placed.placement is None


def test_a_profile_that_nobody_began_ends_in_nothing():
    """As of a session that was to have none."""
    assert Profile().end(None) is None
    assert Placement({}, 1.0).named_products() == ""
