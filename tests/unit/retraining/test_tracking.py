"""What trackers are told, and what is said where their library is missing."""

import importlib.util

import pytest

from rankd.errors import ConfigError
from rankd.retraining.tracking import tracker_of

RECORD = {
    "run": "20260101-000000",
    "outcome": "no_better",
    "exit_status": 3,
    "reason": "not better",
    "seconds": 2.5,
    "data": {"train": 480, "since": None},
    "trained": {"epochs": [{"loss": 0.5, "validation_tau": 0.25}, {"loss": 0.4, "validation_tau": None}]},
    "judged": {"tau": [0.5, 0.4, 0.6], "incumbent_tau": None, "tau_difference": [0.1, -0.1, 0.3]},
}


@pytest.mark.parametrize("text", ["mlflow", "mlflow:", "wandb:x", ""])
def test_an_unknown_tracker_is_refused_with_what_there_is(text):
    with pytest.raises(ConfigError, match="give mlflow:DIR"):
        tracker_of(text)


@pytest.mark.parametrize("kind", ["mlflow", "tensorboard"])
def test_a_missing_library_is_named_before_anything_is_done(kind, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf"pip install 'rankd\[{kind}\]'"):
        tracker_of(f"{kind}:there")


def test_mlflows_file_store_holds_the_run(tmp_path):
    pytest.importorskip("mlflow")
    tracker_of(f"mlflow:{tmp_path / 'runs'}").track(RECORD, {"base": "ngram"})
    files = {p.name: p.read_text() for p in (tmp_path / "runs").rglob("*") if p.is_file()}
    assert files["base"] == "ngram"
    assert files["outcome"] == "no_better"
    assert [line.split()[1] for line in files["loss"].splitlines()] == ["0.5", "0.4"]
    assert float(files["tau_difference_low"].split()[1]) == -0.1


def test_tensorboards_event_file_holds_the_figures(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker_of(f"tensorboard:{tmp_path}").track(RECORD, {"base": "ngram"})
    found = EventAccumulator(str(tmp_path / RECORD["run"])).Reload()
    assert [event.value for event in found.Scalars("train/loss")] == pytest.approx([0.5, 0.4])
    assert found.Scalars("data/train")[0].value == 480
