"""The completion log when things go wrong: killed, disk full, store away, wrong settings; serving goes on."""

import errno
import os
import resource
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.completion_log import (
    SECRET,
    environment,
    events,
    files,
    log_settings,
    metric,
    rank,
    report,
    rows,
    segment_name,
)
from support.object_store import ObjectStore

from rankd.completion_log.records import PromptRow, SegmentKind, table
from rankd.completion_log.store import LocalStore
from rankd.errors import ConfigError
from rankd.training.data.dataset import read_dataset


@pytest.fixture
def ids():
    return [f"cmpl-{i:08x}" for i in range(40)]


def test_a_killed_daemon_leaves_what_was_flushed(start_process, tmp_path, wait_until):
    """After kill -9 amid writing, each time at another moment, every segment is whole and nothing flushed is lost."""
    flushed = 0
    for turn in range(3):
        process = start_process(environment=environment(tmp_path / "log", flush_seconds=0.02))
        for call in range(10 + 3 * turn):
            mine = [f"t{turn}-c{call}-{i}" for i in range(20)]
            report(process.target, rank(process.target, mine), dict.fromkeys(mine, 5))
        wait_until(lambda p=process: rows(p.http) > 100, what="something written")
        flushed += int(rows(process.http))
        process.kill()
    (tmp_path / "log" / ".unfinished-prompts-x").write_bytes(b"PAR1 half")
    kept = [pq.read_table(p).num_rows for p in files(tmp_path / "log") if not p.name.startswith(".")]
    assert sum(kept) >= flushed
    read = read_dataset([tmp_path / "log"])
    assert len(read.rows) > 100
    assert all(r.prompt.startswith(SECRET) for r in read.rows)


def test_a_damaged_segment_costs_the_others_nothing(start_daemon, tmp_path, ids):
    """A segment that was cut short is counted; the rest of the log is read."""
    daemon = start_daemon(completion_log=log_settings(tmp_path))
    report(daemon.target, rank(daemon.target, ids), dict.fromkeys(ids, 5))
    daemon.stop()
    whole = next(p for p in files(tmp_path) if p.name.startswith("prompts"))
    copy = whole.with_name(whole.name.replace("-00000", "-99999"))
    copy.write_bytes(whole.read_bytes()[:-50])
    read = read_dataset([tmp_path])
    assert len(read.rows) == 40
    assert read.skipped["segment is damaged"] >= 1


def test_a_full_disk_costs_no_call_and_is_told_once(start_process, tmp_path, ids, wait_until):
    """While nothing can be written calls are answered and the alarm is up; with room again all of it is written."""
    process = start_process(environment=environment(tmp_path / "log"))
    pid = process.process.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    report(process.target, rank(process.target, ids), dict.fromkeys(ids, 5))
    wait_until(lambda: metric(process.http, "rankd_completion_log_failing") == 1, what="the alarm")
    for call in range(20):
        assert len(rank(process.target, [f"more-{call}"])) == 1
        time.sleep(0.05)
    assert rows(process.http) == 0
    # A try that is under way has its unfinished file for a moment.
    wait_until(lambda: not list(files(tmp_path / "log")), what="no file left by a failed try")
    (event,) = events(process, "completion_log_failing")
    assert (event["reason"], event["level"], event["error_type"]) == ("not_written: EFBIG", "error", "OSError")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: metric(process.http, "rankd_completion_log_failing") == 0, what="recovery")
    wait_until(lambda: rows(process.http) == 100, what="all rows written")
    wait_until(lambda: events(process, "completion_log_recovered"), what="the event")
    assert len(read_dataset([tmp_path / "log"]).rows) == 40


def test_what_does_not_fit_into_memory_is_dropped_and_counted(start_process, tmp_path, ids, wait_until):
    """With the disk full for long, memory stays bounded; what was dropped is counted, what comes later is written."""
    process = start_process(environment=environment(tmp_path / "log", queue_bytes=4096))
    pid = process.process.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    for r in ids:
        rank(process.target, [r])
    dropped = rows(process.http, "dropped")
    assert 25 < dropped < 40
    assert 0 < metric(process.http, "rankd_completion_log_queue_bytes") <= 4096
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: metric(process.http, "rankd_completion_log_failing") == 0, what="recovery")
    rank(process.target, ["later"])
    process.terminate()
    assert sum(pq.read_table(p).num_rows for p in files(tmp_path / "log")) == 40 - dropped + 1


def test_an_object_store_that_goes_and_comes_back(start_daemon, ids, wait_until):
    """Segments go to an object store by URL, are read back from it, and wait while it cannot be reached."""
    store = ObjectStore()
    daemon = start_daemon(completion_log=log_settings(store.url("bucket/log")))
    report(daemon.target, rank(daemon.target, ids[:20]), dict.fromkeys(ids, 5))
    wait_until(lambda: rows(daemon.http) == 40, what="40 rows written")
    assert len(read_dataset([Path(store.url("bucket/log"))]).rows) == 20
    store.stop()
    report(daemon.target, rank(daemon.target, ids[20:]), dict.fromkeys(ids, 5))
    wait_until(lambda: metric(daemon.http, "rankd_completion_log_failing") == 1, what="the alarm")
    again = ObjectStore(store.port, store.objects)
    wait_until(lambda: metric(daemon.http, "rankd_completion_log_failing") == 0, what="recovery")
    assert len(read_dataset([Path(again.url("bucket/log"))]).rows) == 40
    daemon.stop()
    again.stop()


def test_old_segments_are_deleted_by_age_and_by_size(start_daemon, tmp_path, wait_until):
    """Segments over the age go, whoever wrote them; beyond the size the oldest go; other files stay."""
    for number, age in enumerate([40, 31, 3, 2, 1]):
        (tmp_path / segment_name("prompts", age, number)).write_bytes(b"x" * 1000)
    (tmp_path / "notes.parquet").write_bytes(b"x" * 5000)
    abandoned = tmp_path / ".unfinished-prompts-y"
    abandoned.write_bytes(b"x")
    os.utime(abandoned, (1, 1))
    start_daemon(completion_log=log_settings(tmp_path, keep_days=30, max_bytes=2500))
    wait_until(lambda: len(files(tmp_path)) == 3, what="deletion")
    assert [p.name[-10:] for p in files(tmp_path)] == ["es.parquet", "03.parquet", "04.parquet"]


def test_a_log_without_pyarrow_is_a_wrong_setting(start_daemon, tmp_path, monkeypatch):
    """Switched on without the extra, the daemon says at start what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'rankd\[log\]'"):
        start_daemon(completion_log=log_settings(tmp_path))


@pytest.mark.parametrize(
    ("directory", "message"),
    [
        ("{tmp}/file", "completion_log.directory: .*file cannot be made a directory"),
        ("{tmp}/file/below", "completion_log.directory: .*cannot be made a directory"),
        ("carrier-pigeon://loft/log", "carrier-pigeon://loft/log is no place that pyarrow can open"),
        ("s3://key:hush@bucket/log?colour=red", "takes endpoint_override, region, scheme, not colour"),
    ],
)
def test_a_wrong_place_is_a_wrong_setting(start_daemon, tmp_path, directory, message):
    """A place that can never be written is told at start, without the credentials in its URL."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=message) as caught:
        start_daemon(completion_log=log_settings(directory.format(tmp=tmp_path)))
    assert "hush" not in str(caught.value)


def test_a_segment_is_whole_or_not_there(tmp_path, monkeypatch):
    """A write that fails half way leaves no file behind, under no name."""
    store = LocalStore(tmp_path)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(
            segment_name("prompts", 0, 0), table(SegmentKind.PROMPTS, [PromptRow(b"0" * 16, "m", "p", 1.0, 2.0)])
        )
    assert files(tmp_path) == []
