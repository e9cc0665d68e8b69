"""The history of a registry: what a torn line, another replica and a full disk leave of it."""

import errno
import fcntl
import json
import os

import pytest

from rankd.errors import ArtifactError
from rankd.registry import history_file
from rankd.registry.history import (
    HISTORY,
    SERVING,
    HistoryStep,
    Place,
    ServiceHistory,
    StepEvidence,
    StepKind,
    line_of,
    new_step,
    stack_of,
    step_of,
)


def step(version, before="", kind=StepKind.PROMOTED, at=1.0):
    """A step from one ranker to another, each in a directory of its name."""
    path = f"{version}-dir"
    return HistoryStep(at, kind, version, path, before, f"{before}-dir" if before else "")


def back(version, before):
    """A rollback."""
    return step(version, before, StepKind.ROLLED_BACK)


def versions(steps):
    """What the steps leave, the newest last."""
    return [p.ranker_version for p in stack_of(steps)]


def test_a_step_comes_back_as_it_was_written(tmp_path):
    """Also in another process, which reads the file."""
    evidence = StepEvidence("better", "completion_log", 812, 0.08, 0.05, 0.11)
    written = new_step(
        StepKind.PROMOTED, Place("b@1", "b@1"), Place("a@1", "bundled:a"), by="ops", forced=True, evidence=evidence
    )
    history = ServiceHistory(tmp_path)
    history.append(written)
    assert history.recent() == [written]
    assert ServiceHistory(tmp_path).recent() == [written]
    assert written.host


def test_every_torn_end_leaves_the_state_before(tmp_path):
    """Cut at any byte, the last line was never written; the next step is read again."""
    first, second, third = step("a@1"), step("b@1", "a@1"), step("c@1", "a@1")
    lines = line_of(first), line_of(second)
    for cut in range(len(lines[1])):
        (tmp_path / HISTORY).write_bytes(lines[0] + lines[1][:cut])
        history = ServiceHistory(tmp_path)
        assert history.recent() == [first], cut
        history.append(third)
        assert ServiceHistory(tmp_path).recent() == [first, third], cut
        assert not history.skipped


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"null",
        b"\xff\xfe",
        b"[1]" * 3,
        b"[" * 100_000,
        b'{"at":"x","kind":"promoted","ranker_version":"a","path":"a"}',
        b'{"at":1e999,"kind":"promoted","ranker_version":"a","path":"a"}',
        b'{"at":1,"kind":"unheard","ranker_version":"a","path":"a"}',
        b'{"at":1,"kind":"promoted","ranker_version":"","path":"a"}',
        b'{"at":1,"kind":"promoted","ranker_version":["a"],"path":"a"}',
        b'{"at":1,"kind":"promoted","ranker_version":"a","path":"a","evidence":{"verdict":1}}',
    ],
)
def test_lines_that_are_no_steps_are_skipped_and_counted(tmp_path, line):
    """Damage is not the end of the history."""
    (tmp_path / HISTORY).write_bytes(line_of(step("a@1")) + line + b"\n" + line_of(step("b@1", "a@1")))
    history = ServiceHistory(tmp_path)
    assert [s.ranker_version for s in history.recent()] == ["a@1", "b@1"]
    assert history.skipped == 1


def test_fields_of_a_later_rankd_are_left_out():
    """A step is read all the same."""
    line = json.loads(line_of(step("a@1"))) | {"unheard": 1, "evidence": {"verdict": "better", "kind": "", "new": 2}}
    line["evidence"]["completions"] = 7
    read = step_of(json.dumps(line).encode())
    assert read is not None
    assert read.evidence == StepEvidence("better", "", 7)


def test_a_step_that_cannot_be_written_is_not_taken(tmp_path, monkeypatch):
    """A full disk leaves file, memory and link as they were."""
    history = ServiceHistory(tmp_path)
    history.append(step("a@1"))
    before, write = (tmp_path / HISTORY).read_bytes(), os.write

    def full(file, content):
        if len(content) > 10:
            return write(file, content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(history_file.os, "write", full)
        with pytest.raises(ArtifactError, match="No space left") as raised:
            history.append(step("b@1", "a@1"))
    assert raised.value.reason == "HISTORY_UNWRITABLE"
    assert (tmp_path / HISTORY).read_bytes() == before
    assert [s.ranker_version for s in history.recent()] == ["a@1"]
    assert str((tmp_path / SERVING).readlink()) == "a@1-dir"
    history.append(step("b@1", "a@1"))
    assert str((tmp_path / SERVING).readlink()) == "b@1-dir"


def test_another_process_that_holds_the_lock_is_waited_for_and_no_longer(tmp_path, monkeypatch):
    """Then the step is refused; nothing hangs."""
    monkeypatch.setattr(history_file, "_LOCK_SECONDS", 0.05)
    history = ServiceHistory(tmp_path)
    history.append(step("a@1"))
    with (tmp_path / HISTORY).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ArtifactError, match="another process"):
            history.append(step("b@1", "a@1"))
    history.append(step("b@1", "a@1"))
    assert [s.ranker_version for s in history.recent()] == ["a@1", "b@1"]


def test_two_replicas_see_each_others_steps(tmp_path):
    """Once they look, and before they append."""
    one, other = ServiceHistory(tmp_path), ServiceHistory(tmp_path)
    one.append(step("a@1"))
    assert not other.recent()
    other.refresh()
    assert other.last == step("a@1")
    other.append(step("b@1", "a@1"))
    one.append(step("c@1", "b@1"))
    assert [s.ranker_version for s in one.recent()] == ["a@1", "b@1", "c@1"]
    assert [s.ranker_version for s in one.recent(2)] == ["b@1", "c@1"]
    assert one.recent(0) == []


def test_the_link_follows_the_file(tmp_path):
    """One that a crash left behind is mended; there is none where a bundled ranker serves."""
    history = ServiceHistory(tmp_path)
    history.append(step("a@1"))
    (tmp_path / SERVING).unlink()
    (tmp_path / SERVING).symlink_to("elsewhere")
    assert ServiceHistory(tmp_path).mend_link()
    assert str((tmp_path / SERVING).readlink()) == "a@1-dir"
    history.append(new_step(StepKind.ROLLED_BACK, Place("m@1", "bundled:m"), Place("a@1", "a@1-dir")))
    assert not (tmp_path / SERVING).is_symlink()


def test_a_rollback_goes_further_back_each_time():
    """It is no toggle: what it took out of service is not what it returns to."""
    steps = [step("a@1", "m@1"), step("b@1", "a@1"), step("c@1", "b@1")]
    assert versions(steps) == ["m@1", "a@1", "b@1", "c@1"]
    steps += [back("b@1", "c@1")]
    assert versions(steps) == ["m@1", "a@1", "b@1"]
    steps += [back("a@1", "b@1")]
    assert versions(steps) == ["m@1", "a@1"]
    steps += [step("d@1", "a@1")]
    assert versions(steps) == ["m@1", "a@1", "d@1"]
    assert versions([*steps, back("m@1", "d@1")]) == ["m@1"]
    assert versions([*steps, back("c@1", "d@1")]) == ["m@1", "a@1", "d@1", "c@1"]


def test_replicas_that_follow_make_no_steps_of_their_own():
    """The same promotion by three replicas is one, and a ranker given by hand is not lost."""
    steps = [step("a@1", "m@1")] * 3
    assert versions(steps) == ["m@1", "a@1"]
    assert versions([*steps, step("b@1", "x@1")]) == ["m@1", "a@1", "x@1", "b@1"]


def test_what_was_in_service_before(tmp_path):
    """By the history; for a ranker that it does not know in service, what it says is."""
    history = ServiceHistory(tmp_path)
    assert history.below("m@1") is None
    history.append(step("a@1", "m@1"))
    history.append(step("b@1", "a@1"))
    assert history.below("b@1") == Place("a@1", "a@1-dir")
    assert history.below("m@1") is None
    assert history.below("x@1") == Place("b@1", "b@1-dir")
    assert history.place_of("m@1") == Place("m@1", "m@1-dir")
    assert history.place_of("x@1") is None


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """With the reason; a daemon can start with it."""
    (tmp_path / HISTORY).mkdir()
    history = ServiceHistory(tmp_path)
    assert HISTORY in history.trouble
    assert not history.recent()
    with pytest.raises(ArtifactError, match=HISTORY):
        history.refresh()
    with pytest.raises(ArtifactError, match=HISTORY):
        history.append(step("a@1"))


def test_what_could_not_be_written_is_written_later(tmp_path):
    """A rollback on a full disk counts while the daemon lives, and reaches the file with the next step."""
    history = ServiceHistory(tmp_path)
    history.append(step("a@1", "m@1"))
    history.remember(back("m@1", "a@1"), "full")
    (tmp_path / HISTORY).touch()
    history.refresh()
    assert history.last == back("m@1", "a@1")
    assert history.trouble == "full"
    history.append(step("b@1", "m@1"))
    assert not history.trouble
    assert versions(ServiceHistory(tmp_path).recent()) == ["m@1", "b@1"]
    assert ServiceHistory(tmp_path).recent() == history.recent()


def test_without_a_registry_steps_are_remembered():
    """Until the process ends."""
    history = ServiceHistory(None)
    history.append(step("a@1", "m@1"))
    assert history.below("a@1") == Place("m@1", "m@1-dir")
    assert not history.mend_link()
