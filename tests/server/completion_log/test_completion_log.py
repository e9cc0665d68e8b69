"""The completion log of real daemons: joined across replicas, sampled alike, telling nothing private."""

import resource
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pyarrow.parquet as pq
import pytest
from rankd_client import Completed, Item, RankClient
from rankd_client.shape import RequestShape
from rankd_client.v1 import completion_pb2, rank_pb2
from support.completion_log import SECRET, environment, events, files, log_settings, prompt_of, rank, report, rows
from support.wire import item, rank_stub, request

from rankd.adaptation import unpack
from rankd.completion_log.segments import pick
from rankd.errors import ConfigError
from rankd.training.data.dataset import read_dataset


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


def test_the_shape_of_requests_is_kept_as_hashes_of_its_names(start_daemon, tmp_path, ids):
    """What a prediction carries beside its text meets the prompt again; no name stands in the file, nor any word."""
    daemon = start_daemon(completion_log=log_settings(tmp_path / "log", join_key="k"), adapt={"key": "secret"})
    with RankClient(daemon.target, model="llm", timeout=30) as client:
        shape = RequestShape(messages=3, step="plan-the-trip", last_role="user")
        items = [Item(prompt_of(r), request_id=r, tenant="acme", shape=shape, max_tokens=64) for r in ids]
        done = [Completed(r.request_id, r.prediction, output_tokens=5) for r in client.rank(items)]
        assert client.report(done).accepted == len(ids)
    daemon.stop()
    read = read_dataset([tmp_path / "log"], first=True).rows
    assert len(read) == len(ids)
    packed = {row.packed_shape for row in read}
    assert len(packed) == 1
    features = unpack(packed.pop())
    assert features.numbers[1:3] == pytest.approx(np.log1p([64, 3]), abs=1e-2)
    assert (len(features.words), len(features.dense)) == (0, 0)
    assert len(features.shape) >= 4
    assert [row.at for row in read] == sorted(row.at for row in read)
    told = "".join(str(pq.read_table(s).to_pylist()) for s in (tmp_path / "log").glob("completions-*"))
    assert not any(word in told for word in ("plan-the-trip", "acme", SECRET))


def test_replicas_with_different_keys_are_told_apart(start_daemon, tmp_path, ids):
    """Under another key the same request is another row: without the key nobody can look for a request id."""
    one = start_daemon(completion_log=log_settings(tmp_path, join_key="k1"))
    two = start_daemon(completion_log=log_settings(tmp_path, join_key="k2"))
    report(two.target, rank(one.target, ids), dict.fromkeys(ids, 5))
    one.stop()
    two.stop()
    with pytest.raises(ConfigError, match="40 completion without a prompt"):
        read_dataset([tmp_path])


def test_a_stop_writes_what_is_left(start_process, tmp_path, ids):
    """SIGTERM flushes the log, however long its flush time."""
    process = start_process(environment=environment(tmp_path / "log", flush_seconds=3600))
    report(process.target, rank(process.target, ids), dict.fromkeys(ids, 5))
    assert not (tmp_path / "log").exists() or not files(tmp_path / "log")
    assert process.terminate() == 0
    assert len(read_dataset([tmp_path / "log"]).rows) == 40


def test_without_a_share_no_prompt_is_written(start_daemon, tmp_path, ids):
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


def test_a_daemon_without_a_log_imports_no_pyarrow(start_process, ids):
    """The log is opt-in: without the setting nothing is kept, and its library is not even loaded."""
    process = start_process()
    rank(process.target, ids)
    maps = Path(f"/proc/{process.process.pid}/maps").read_text()
    assert "arrow" not in maps
    assert process.terminate() == 0
