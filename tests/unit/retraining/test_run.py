"""Runs of `rankd retrain` without a daemon: what is used of the log, what is kept, and what a failure leaves."""

import json

import pytest
from support.retraining import QuickTools, append_rows, options
from support.tiny_ranker import make_artifact

from rankd.registry.artifact import load_artifact
from rankd.retraining.dry_run import dry_run
from rankd.retraining.outcome import RunOutcome
from rankd.retraining.run import Retraining
from rankd.retraining.workspace import Workspace


@pytest.fixture
def place(tmp_path):
    append_rows(tmp_path / "rows.jsonl", 600)
    make_artifact(tmp_path / "old", name="old", scale=-1.0)
    return tmp_path


def run(place, tools=None, **more):
    return Retraining(options(place, **{"against": place / "old"} | more), tools or QuickTools()).run()


def records(place):
    return [json.loads(p.read_text()) for p in sorted((place / "registry/.retraining/runs").glob("*.json"))]


def test_a_better_ranker_lies_in_the_registry_and_was_judged_by_what_it_never_saw(place):
    tools = QuickTools()
    record = run(place, tools)
    assert record.outcome is RunOutcome.KEPT, record.reason
    (kept,) = [p for p in (place / "registry").iterdir() if not p.name.startswith(".")]
    assert load_artifact(kept).manifest.version == record.run
    (trained,) = tools.trained
    assert (len(trained), record.details["data"]["held_back"]) == (480, 120)
    assert max(row.at for row in trained) < 1_750_000_000 + 10 * 480
    assert records(place) == [json.loads(json.dumps(record.as_json()))]
    assert list((place / "registry/.retraining/scratch").iterdir()) == []


def test_the_next_run_finds_nothing_new_and_the_one_after_judges_by_new_completions_only(place):
    run(place)
    again = run(place)
    assert (again.outcome, again.outcome.exit_status) == (RunOutcome.NOTHING_NEW, 0)
    append_rows(place / "rows.jsonl", 99, seed=1)
    assert run(place).outcome is RunOutcome.TOO_LITTLE_DATA
    append_rows(place / "rows.jsonl", 51, seed=2)
    data = run(place).details["data"]
    assert (data["new"], data["held_back"], data["train"]) == (150, 50, 700)
    append_rows(place / "rows.jsonl", 150, seed=3)
    assert run(place, only_new=True).details["data"]["train"] == 100
    assert len(records(place)) == 3, "runs that found too little are no records"


def test_a_ranker_that_is_no_better_leaves_nothing_but_a_record(place, tiny):
    record = run(place, QuickTools(scale=-1.0), against=tiny)
    assert (record.outcome, record.outcome.exit_status) == (RunOutcome.NO_BETTER, 3)
    assert "not better on the completions kept back" in record.reason
    assert [p.name for p in (place / "registry").iterdir()] == [".retraining"]
    assert run(place, QuickTools(), against=tiny).outcome is RunOutcome.NOTHING_NEW, "its rows have had their say"


def test_tau_below_the_least_one_ends_the_run(place):
    assert "is below --min-tau 0.99" in run(place, min_tau=0.99).reason


def test_a_second_run_at_once_says_who_holds_the_lock(place):
    with Workspace(options(place).workspace).locked():
        record = run(place)
    assert (record.outcome, record.outcome.exit_status) == (RunOutcome.LOCKED, 5)
    assert "process" in record.reason
    assert run(place).outcome is RunOutcome.KEPT


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(place):
    found = dry_run(options(place), QuickTools())
    assert found.outcome is RunOutcome.WOULD_RUN
    assert found.details["incumbent"] == "minilm-l6@1.0.0", "nothing was promoted in this registry"
    assert "would train on 480 completions" in found.reason
    assert list((place / "registry").iterdir()) == []
    assert found.details["data"]["held_back"] == 120


def test_an_error_in_training_names_no_prompt_and_the_next_run_goes_on(place):
    class Failing(QuickTools):
        def train(self, task):
            raise RuntimeError(task.rows[0].prompt)

    record = run(place, Failing())
    assert (record.outcome, record.outcome.exit_status) == (RunOutcome.FAILED, 6)
    first = json.loads((place / "rows.jsonl").read_text().splitlines()[0])["prompt"]
    assert first not in json.dumps(record.as_json())
    after = run(place)
    assert (after.outcome, after.run, after.details["attempts"]) == (RunOutcome.KEPT, record.run, 2)


def test_an_unfinished_run_with_other_flags_or_too_old_is_given_up(place):
    class Failing(QuickTools):
        def train(self, _task):
            raise OSError(28, "No space left on device")

    first = run(place, Failing())
    assert (first.outcome, "free space" in first.reason) == (RunOutcome.FAILED, True)
    second = run(place, Failing(), training="other")
    assert second.details["attempts"] == 1
    tools = QuickTools()
    assert run(place, tools, training="other", resume_hours=1e-9).outcome is RunOutcome.KEPT
    assert any("hours ago" in line for line in tools.said)


def test_only_so_many_records_are_kept(place):
    workspace = Workspace(options(place).workspace)
    for number in range(5):
        workspace.write_record(f"run-{number}", {"n": number}, keep=3)
    assert [r["n"] for r in records(place)] == [2, 3, 4]


def test_damaged_notes_are_taken_for_none(place):
    workspace = options(place).workspace
    workspace.mkdir()
    (workspace / "state.json").write_text('{"until": 1')
    (workspace / "run.json").write_text("[]")
    assert run(place).outcome is RunOutcome.KEPT
