"""`rankd retrain` at the command line: wrong flags, exit statuses, JSON; and the threads that training gets."""

import argparse
import json

import pytest
from support.retraining import append_rows, options

from rankd.cli.terminal import PlainConsole
from rankd.cli.train.threads import choose_threads
from rankd.retraining.workspace import Workspace


@pytest.fixture
def place(tmp_path):
    pytest.importorskip("torch")
    append_rows(tmp_path / "rows.jsonl", 300)
    options(tmp_path)  # makes the registry
    return tmp_path


@pytest.fixture
def retrain(call, place):
    def run(*arguments):
        rows = ["--data", place / "rows.jsonl", "--registry", place / "registry", "--no-promote"]
        return call("retrain", *rows, *arguments)

    return run


def test_what_is_missing_or_wrong_is_named(call, retrain, place):
    done = call("retrain", "--data", place / "rows.jsonl")
    assert (done.returncode, "--registry is missing" in done.stderr) == (2, True)
    done = call("retrain", "--registry", place / "registry")
    assert (done.returncode, "--data is missing" in done.stderr) == (2, True)
    for words, said in (
        (["--no-shadow", "--shadow", "5"], "--no-shadow contradicts"),
        (["--scratch", place / "registry" / "x"], "is in the registry"),
        (["--track", "wandb:x"], "give mlflow:DIR"),
        (["--data", place / "none.jsonl"], "none.jsonl"),
        (["--hold-back", ".9"], "is not a share"),
    ):
        done = retrain(*words)
        assert (done.returncode, said in done.stderr + done.stdout) == (2, True), (words, done)


def test_rows_without_a_time_are_bad_input(retrain, place):
    (place / "timeless.jsonl").write_text('{"prompt": "a b c", "output_token_count": 5}\n' * 500)
    done = retrain("--data", place / "timeless.jsonl", "--json")
    record = json.loads(done.stdout)
    assert (done.returncode, record["outcome"]) == (2, "bad_input")
    assert "ended_at" in record["reason"]


def test_exit_statuses_tell_outcomes_apart_and_may_be_left_to_others(retrain, place):
    assert retrain("--min-new", "301").returncode == 4
    assert retrain("--min-new", "301", "--exit-zero").returncode == 0
    with Workspace(options(place).workspace).locked():
        done = retrain("--min-new", "300", "--json")
        assert (done.returncode, json.loads(done.stdout)["outcome"]) == (5, "locked")
        assert retrain("--min-new", "300", "--exit-zero").returncode == 0
    assert retrain("--data", place / "none", "--exit-zero").returncode == 2


def test_a_dry_run_is_json_too(retrain, place):
    before = sorted(place.rglob("*"))
    record = json.loads(retrain("--dry-run", "--json", "--min-new", "300").stdout)
    assert (record["outcome"], record["data"]["train"], record["data"]["held_back"]) == ("would_run", 100, 200)
    assert sorted(place.rglob("*")) == before


def test_the_number_of_threads_stays_with_the_checkpoint(tmp_path):
    """It is part of what makes a run the same run, and the machine may be busier when it goes on."""
    distributed = pytest.importorskip("rankd.training.fit.distributed")
    chosen = argparse.Namespace(threads=None)
    console = PlainConsole(quiet=True)
    first = choose_threads(chosen, distributed.ALONE, tmp_path / "checkpoint", console)
    assert first >= 1
    (tmp_path / "checkpoint" / "threads").write_text("7\n")
    assert choose_threads(chosen, distributed.ALONE, tmp_path / "checkpoint", console) == 7
    assert choose_threads(argparse.Namespace(threads=3), distributed.ALONE, tmp_path / "checkpoint", console) == 3
