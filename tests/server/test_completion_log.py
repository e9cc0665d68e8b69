"""The completion log of real daemons: joined across replicas, readable after a kill, never in the way of serving."""

import errno
import json
import os
import resource
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pyarrow.parquet as pq
import pytest
from object_store import ObjectStore
from rankd_client.v1 import completion_pb2, rank_pb2
from wire import completion, completion_stub, item, rank_stub, request

from rankd.completion_log.records import Kind, PromptRow, table
from rankd.completion_log.segments import pick
from rankd.completion_log.store import LocalStore
from rankd.errors import ConfigError
from rankd.training.dataset import read_dataset

VERSION = "tiny@1.0.0"
SECRET = "sesame"


def environment(directory, **settings):
    """Settings of a log that is flushed at once, as variables."""
    named = {"directory": directory, "flush_seconds": 0.1, "retry_seconds": 0.1} | settings
    return {f"RANKD_COMPLETION_LOG__{name.upper()}": str(value) for name, value in named.items()}


def log_settings(directory, **settings):
    return {"directory": str(directory), "flush_seconds": 0.1, "retry_seconds": 0.1} | settings


def prompt_of(request_id):
    return f"{SECRET} {request_id} " + "long " * (hash(request_id) % 5)


def rank(target, request_ids, model="llm"):
    """Rank prompts; gives their scores."""
    with grpc.insecure_channel(target) as channel:
        items = [item(r, prompt_of(r)) for r in request_ids]
        answer = rank_stub(channel).Rank(request(*items, model=model), timeout=10)
        assert answer.unscored_count == 0
        return {i.request_id: i.prediction.score for i in answer.items}


def report(target, scores, tokens, model="llm", **fields):
    """Report requests as finished."""
    with grpc.insecure_channel(target) as channel:
        out = completion_pb2.ReportCompletionsRequest(
            model=model, completions=[completion(r, s, tokens[r], VERSION, **fields) for r, s in scores.items()]
        )
        answer = completion_stub(channel).ReportCompletions(out, timeout=10)
        assert answer.accepted_count == len(scores)


def metric(http, name, **labels):
    """The sum of a metric over all series with these labels."""
    text = urllib.request.urlopen(f"{http.rstrip('/')}/metrics", timeout=10).read().decode()
    series = [line for line in text.splitlines() if line.startswith(name)]
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(float(line.rsplit(" ", 1)[1]) for line in series if all(w in line for w in wanted))


def rows(http, outcome="written"):
    return metric(http, "rankd_completion_log_rows_total", outcome=outcome)


def events(process, name):
    return [e for e in map(json.loads, filter(None, map(str.strip, process.lines))) if e["event"] == name]


def files(directory):
    return sorted(p for p in Path(directory).iterdir())


@pytest.fixture
def ids():
    return [f"cmpl-{i:08x}" for i in range(40)]


def test_rows_are_joined_across_replicas(start_process, tmp_path, ids, wait_until):
    """Prompts that one replica ranked meet completions that another was told of, streams too, each exactly once."""
    one, two = (start_process(environment=environment(tmp_path / "log", join_key="k1")) for _ in range(2))
    tokens = {r: 10 + i for i, r in enumerate(ids)}
    scores = rank(one.target, ids[:20])
    scores |= rank(one.target, ids[:20])  # an engine that sends its queue again is logged once
    with grpc.insecure_channel(two.target) as channel:
        arrived = [item(r, prompt_of(r)) for r in ids[20:]]
        message = rank_pb2.RankStreamRequest(arrived=arrived, options=rank_pb2.RankStreamOptions(model="llm"))
        message.max_wait.seconds = 5
        (answer,) = rank_stub(channel).RankStream(iter([message]), timeout=20)
        scores |= {answer.request_ids[i.index]: i.prediction.score for i in answer.changed_items}
    report(two.target, {r: scores[r] for r in ids[:20]}, tokens)
    report(one.target, {r: scores[r] for r in ids[20:]}, tokens, finish=completion_pb2.FINISH_REASON_LENGTH)
    wait_until(lambda: rows(one.http) + rows(two.http) == 80, what="80 rows written")
    read = read_dataset([tmp_path / "log"])
    assert {(r.prompt, r.tokens, r.complete, r.model) for r in read.rows} == {
        (prompt_of(r), tokens[r], i < 20, "llm") for i, r in enumerate(ids)
    }
    assert (len(read.rows), dict(read.skipped)) == (40, {})


def test_replicas_with_different_keys_are_told_apart(start_daemon, tmp_path, ids):
    """Under another key the same request is another row: without the key nobody can look for a request id."""
    one = start_daemon(completion_log=log_settings(tmp_path, join_key="k1"))
    two = start_daemon(completion_log=log_settings(tmp_path, join_key="k2"))
    report(two.target, rank(one.target, ids), dict.fromkeys(ids, 5))
    one.stop()
    two.stop()
    with pytest.raises(ConfigError, match="40 completion without a prompt"):
        read_dataset([tmp_path])


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
    assert [p.name for p in files(tmp_path / "log")] == []
    (event,) = events(process, "completion_log_failing")
    assert (event["reason"], event["level"], event["error_type"]) == ("not_written: EFBIG", "error", "OSError")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    wait_until(lambda: metric(process.http, "rankd_completion_log_failing") == 0, what="recovery")
    assert rows(process.http) == 100
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


def test_a_stop_writes_what_is_left(start_process, tmp_path, ids):
    """SIGTERM flushes the log, however long its flush time."""
    process = start_process(environment=environment(tmp_path / "log", flush_seconds=3600))
    report(process.target, rank(process.target, ids), dict.fromkeys(ids, 5))
    assert not (tmp_path / "log").exists() or not files(tmp_path / "log")
    assert process.terminate() == 0
    assert len(read_dataset([tmp_path / "log"]).rows) == 40


def test_an_object_store_that_goes_and_comes_back(start_daemon, ids, wait_until):
    """Segments go to an object store by URL, are read back from it, and wait while it cannot be reached."""
    store = ObjectStore()
    daemon = start_daemon(completion_log=log_settings(store.url("bucket/log")))
    report(daemon.target, rank(daemon.target, ids[:20]), dict.fromkeys(ids, 5))
    wait_until(lambda: rows(daemon.http) == 40, what="40 rows written")
    assert len(read_dataset([Path(store.url("bucket/log"))]).rows) == 20
    store.stop()
    report(daemon.target, rank(daemon.target, ids[20:]), dict.fromkeys(ids, 5))
    wait_until(lambda: metric(daemon.http, "rankd_completion_log_failing") == 1, 30, "the alarm")
    again = ObjectStore(store.port, store.objects)
    wait_until(lambda: metric(daemon.http, "rankd_completion_log_failing") == 0, 30, "recovery")
    assert len(read_dataset([Path(again.url("bucket/log"))]).rows) == 40
    daemon.stop()
    again.stop()


def segment_name(kind, age_days, number):
    at = datetime.now(UTC) - timedelta(days=age_days)
    return f"{kind}-{at:%Y%m%dT%H%M%S%f}Z-0123456789ab-{number:06d}.parquet"


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


def test_without_a_share_no_prompt_is_rows(start_daemon, tmp_path, ids):
    """With a share of 0 completions are logged and prompts are not; training then says what is missing."""
    daemon = start_daemon(completion_log=log_settings(tmp_path, prompt_share=0))
    report(daemon.target, rank(daemon.target, ids), dict.fromkeys(ids, 5))
    daemon.stop()
    assert {p.name.partition("-")[0] for p in files(tmp_path)} == {"completions"}
    assert SECRET.encode() not in b"".join(p.read_bytes() for p in files(tmp_path))
    with pytest.raises(ConfigError, match="40 completion without a prompt"):
        read_dataset([tmp_path])


def test_replicas_sample_the_same_requests(start_daemon, tmp_path):
    """Half of the prompts are logged, the same ones by every replica."""
    ids = [f"r{i}" for i in range(400)]
    chosen = []
    for name in ("one", "two"):
        daemon = start_daemon(completion_log=log_settings(tmp_path / name, prompt_share=0.5))
        rank(daemon.target, ids)
        daemon.stop()
        tables = [pq.read_table(p) for p in files(tmp_path / name)]
        chosen.append({p for t in tables for p in t["prompt"].to_pylist()})
    assert chosen[0] == chosen[1]
    assert 150 < len(chosen[0]) < 250


def test_nothing_private_leaves_by_logs_or_metrics(start_process, tmp_path, ids, wait_until):
    """No prompt, id or key is in log events and metrics, nor a request id in the log's own files.

    True while all goes well and while nothing can be written.
    """
    process = start_process(environment=environment(tmp_path / "log", join_key="open-sesame-key"))
    report(process.target, rank(process.target, ids), dict.fromkeys(ids, 5))
    wait_until(lambda: rows(process.http) == 80, what="80 rows written")
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    rank(process.target, ["cmpl-late"])
    wait_until(lambda: events(process, "completion_log_failing"), what="the alarm")
    text = urllib.request.urlopen(f"{process.http}metrics", timeout=10).read().decode()
    process.terminate()
    text += "".join(process.lines)
    assert SECRET not in text
    assert "cmpl-" not in text
    tables = [pq.read_table(p).to_pylist() for p in files(tmp_path / "log")]
    without_prompts = [{k: v for k, v in row.items() if k != "prompt"} for rows_ in tables for row in rows_]
    assert "cmpl-" not in str(without_prompts)
    assert all((p.stat().st_mode & 0o007) == 0 for p in files(tmp_path / "log"))


def test_recent_has_all_replicas_and_what_is_not_written_yet(start_daemon, tmp_path, ids, wait_until):
    """The newest completions come in the order in which they ended, from other replicas' segments and from memory."""
    one = start_daemon(completion_log=log_settings(tmp_path))
    two = start_daemon(completion_log=log_settings(tmp_path, flush_seconds=3600))
    tokens = {r: 10 + i for i, r in enumerate(ids)}
    report(one.target, rank(one.target, ids[:20]), tokens)
    wait_until(lambda: rows(one.http) == 40, what="40 rows written")
    scores = rank(two.target, ids[20:])
    for r in ids[20:]:
        report(two.target, {r: scores[r]}, tokens)
    report(two.target, rank(two.target, ["other"], "second"), {"other": 7}, "second")
    log = two.app.log
    found = log.recent(100, "llm")
    assert [r.tokens for r in found][-20:] == list(range(30, 50))
    assert {r.prompt for r in found} == {prompt_of(r) for r in ids}
    assert [(r.prompt, r.score) for r in log.recent(5, "llm")] == [(prompt_of(r), scores[r]) for r in ids[-5:]]
    assert [r.tokens for r in log.recent(5, "second")] == [7]
    assert [r.tokens for r in log.recent(1, None)] == [7]


def test_a_request_id_used_again_meets_its_own_prompt(start_daemon, tmp_path):
    """An engine that counts its ids from 0 after a restart gets each completion with the prompt before it."""
    for turn in range(3):
        daemon = start_daemon(completion_log=log_settings(tmp_path))
        with daemon.channel() as channel:
            answer = rank_stub(channel).Rank(request(item("0", f"turn {turn}"), model="llm"), timeout=10)
        report(daemon.target, {"0": answer.items[0].prediction.score}, {"0": 100 + turn})
        recent = daemon.app.log.recent(10, None)
        assert [(r.prompt, r.tokens) for r in recent] == [(f"turn {turn}", 100 + turn)]
        daemon.stop()
    found = {(r.prompt, r.tokens) for r in read_dataset([tmp_path]).rows}
    assert found == {(f"turn {turn}", 100 + turn) for turn in range(3)}


@pytest.mark.parametrize(
    ("times", "ended", "wanted"),
    [([], 5, None), ([3], 5, 3), ([3, 4, 6], 5, 4), ([6, 9], 5, 6), ([5 + 60_000_001], 5, None), ([3, 5], 5, 5)],
)
def test_which_prompt_a_completion_belongs_to(times, ended, wanted):
    """The last one seen before the end, or the first one just after, as clocks differ."""
    assert pick(times, ended) == wanted


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


def test_a_daemon_without_a_log_imports_no_pyarrow(start_process, ids):
    """The log is opt-in: without the setting nothing is kept, and its library is not even loaded."""
    process = start_process()
    rank(process.target, ids)
    maps = Path(f"/proc/{process.process.pid}/maps").read_text()
    assert "arrow" not in maps
    assert process.terminate() == 0


def test_a_segment_is_whole_or_not_there(tmp_path, monkeypatch):
    """A write that fails half way leaves no file behind, under no name."""
    store = LocalStore(tmp_path)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(segment_name("prompts", 0, 0), table(Kind.PROMPTS, [PromptRow(b"0" * 16, "m", "p", 1.0, 2.0)]))
    assert files(tmp_path) == []
