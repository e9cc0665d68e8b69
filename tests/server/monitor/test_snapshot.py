"""Windows survive a restart where a file is given, and nothing that a file may hold keeps a daemon from starting."""

import io
import json
import os
import signal
import time
import zipfile

import numpy as np
import pytest
from rankd_client import RankClient
from rankd_client.ordering import CostEstimate, Objective, ObjectiveOutcome, ServiceCosts
from rankd_client.v1 import admin_pb2, quality_pb2
from support.fleet_calls import administer, counted, quality, traffic
from support.tiny_ranker import make_artifact

from rankd.monitor.load import ModelLoad
from rankd.monitor.snapshot_file import SnapshotError, read, write
from rankd.monitor.snapshot_window import restore_load, save_window
from rankd.monitor.window import Window
from rankd.quality import UNKNOWN_PROMPT, Guard, QualityTracker
from rankd.quality.prompt_judgement import PromptStanding


def test_a_restarted_daemon_has_the_windows_it_had_but_not_the_counters(start_process, wait_until, tmp_path):
    """SIGTERM and a new process on the same file: tau, gain, calibration, guard and pins are the same.

    A request reported before is a duplicate after. The file is its owner's only, and holds no request id.
    """
    path = tmp_path / "windows.npz"
    environment = {"RANKD_QUALITY__SNAPSHOT": str(path), "RANKD_GUARD__EVERY": "20", "RANKD_GUARD__MIN_KNOWN": "50"}
    first = start_process(environment=environment)
    with RankClient(first.target, model="m", timeout=10) as client:
        assert traffic(client, range(400)).accepted == 400
    pin = admin_pb2.PinGuardRequest(model="m", ranker_version="tiny@1.0.0", mode=quality_pb2.GUARD_MODE_FALLBACK)
    pin.duration.FromSeconds(3600)
    administer(first, "PinGuard", pin)
    wait_until(lambda: quality(first).window_size == 400, what="an estimate of all, made once a second at most")
    before = quality(first)
    assert first.terminate() == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"secret-id" not in path.read_bytes()
    second = start_process(environment=environment)
    after = quality(second)
    assert after.finished_tau == before.finished_tau
    assert after.tau == before.tau
    assert after.realised_gain == before.realised_gain
    assert (after.window_size, after.completion_count) == (400, 400)
    assert (after.guard.mode, after.guard.reason) == (before.guard.mode, before.guard.reason)
    assert after.guard.pinned_until == before.guard.pinned_until
    assert set(counted(second).values()) == {0.0}
    with RankClient(second.target, model="m", timeout=10) as client:
        assert traffic(client, range(400)).duplicate == 400
        assert traffic(client, range(400, 410)).accepted == 10


def test_a_killed_daemon_loses_what_came_after_the_last_write(start_process, wait_until, tmp_path):
    """``kill -9`` writes nothing; the file of the last period is there, whole."""
    path = tmp_path / "windows.npz"
    environment = {"RANKD_QUALITY__SNAPSHOT": str(path), "RANKD_QUALITY__SNAPSHOT_EVERY": "1"}
    first = start_process(environment=environment)
    with RankClient(first.target, model="m", timeout=10) as client:
        traffic(client, range(60))
    wait_until(path.exists, what="a snapshot")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(60)
    assert quality(start_process(environment=environment)).window_size == 60


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory, tiny):
    """The file of a daemon that took 100 reports."""
    from support.daemon import Daemon

    path = tmp_path_factory.mktemp("snapshot") / "windows.npz"
    daemon = Daemon(ranker=tiny, quality={"snapshot": path})
    with RankClient(daemon.target, model="m", timeout=10) as client:
        traffic(client, range(100))
    daemon.stop()
    return path.read_bytes()


def flipped(data):
    """One bit of a column is another."""
    at = data.index(b"0/plain/tokens.npy") + 300
    return data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]


def rewritten(data, change):
    """The file with a changed header or columns."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "s"
        path.write_bytes(data)
        header, columns = read(path)
        change(header, columns)
        write(path, header, columns)
        return path.read_bytes()


def numpy_file(**arrays):
    """An npz of somebody else's."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def set_column(name, value):
    """A change of one column."""
    return lambda _, columns: columns.update({name: value})


def set_field(*path, value):
    """A change of one field of the header."""

    def change(header, _):
        for step in path[:-1]:
            header = header[step]
        header[path[-1]] = value

    return change


def outcome(**changed):
    """What an objective was found to make of traffic, with something that cannot be."""
    ratios = {"mean_ratio": 0.7, "p99_ratio": 1.1, "first_token_ratio": 0.5}
    shares = {"slo_share": None, "arrival_slo_share": None, "backlog_share": 2.0}
    return {"mean": {"patience": 0.1, **ratios, **shares} | changed}


BROKEN = {
    "empty": lambda _: b"",
    "text": lambda _: b"[quality]\n" * 100,
    "cut off": lambda data: data[: len(data) // 2],
    "a bit flipped": flipped,
    "another npz": lambda _: numpy_file(a=np.zeros(3)),
    "a pickle inside": lambda _: numpy_file(rankd=np.array([{"format": 1}], dtype=object)),
    "a bomb": lambda _: numpy_file(rankd=np.zeros(10**7, dtype=np.uint8)),
    "lengths below 0": lambda data: rewritten(data, set_column("0/plain/tokens", np.full(100, -5))),
    "NaN": lambda data: rewritten(data, set_column("0/arrivals/score", np.full(100, np.nan))),
    "columns that differ": lambda data: rewritten(data, set_column("0/arrivals/key", np.arange(7, dtype=np.uint64))),
    "keys twice": lambda data: rewritten(data, set_column("0/arrivals/key", np.zeros(100, dtype=np.uint64))),
    "another type": lambda data: rewritten(data, set_column("0/plain/score", np.zeros(100, dtype="U9"))),
    "a mode of no guard": lambda data: rewritten(data, set_field("views", 0, "guard", "mode", value="asleep")),
    "a stay that is none": lambda data: rewritten(data, set_field("views", 0, "guard", "stay", value="long")),
    "views that are none": lambda data: rewritten(data, set_field("views", value=[3])),
    "no salt": lambda data: rewritten(data, set_field("salt", value={})),
    "too old": lambda data: rewritten(data, set_field("saved_at", value=time.time() - 90_000)),
    "2^64 completions": lambda data: rewritten(data, set_field("views", 0, "tracker", "completions", value=2**64)),
    "completions below 0": lambda data: rewritten(data, set_field("views", 0, "tracker", "completions", value=-1)),
    "half a completion": lambda data: rewritten(data, set_field("views", 0, "tracker", "completions", value=7.5)),
    "completions that are true": lambda data: rewritten(
        data, set_field("views", 0, "tracker", "completions", value=True)
    ),
    "a level that is none": lambda data: rewritten(data, set_field("views", 0, "tracker", "level", value=2**63)),
    "thinned for ever": lambda data: rewritten(
        data, set_field("views", 0, "tracker", "thinned", value=[[10**308 * 10, 1]])
    ),
    "progress of no time": lambda data: rewritten(data, set_field("views", 0, "tracker", "progress_at", value=-1e300)),
    "a name nobody can be sent": lambda data: rewritten(data, set_field("views", 0, "model", value="\ud800")),
    "a name too long": lambda data: rewritten(data, set_field("views", 0, "model", value="m" * 257)),
    "a name that is none": lambda data: rewritten(data, set_field("views", 0, "model", value=7)),
    "a reason of no guard": lambda data: rewritten(data, set_field("views", 0, "reason", value="<b>because</b>")),
    "a guard of before time": lambda data: rewritten(data, set_field("views", 0, "guard", "since", value=-1e300)),
    "a guard of after time": lambda data: rewritten(data, set_field("views", 0, "guard", "since", value=1e300)),
    "a pin for ever": lambda data: rewritten(data, set_field("views", 0, "guard", "pin", value=["ranked", 1e300])),
    "a pin for a year": lambda data: rewritten(
        data, set_field("views", 0, "guard", "pin", value=["fallback", time.time() + 365 * 86400])
    ),
    "fallback for nothing": lambda data: rewritten(data, set_field("views", 0, "guard", "mode", value="fallback")),
    "a cause of no fallback": lambda data: rewritten(data, set_field("views", 0, "guard", "cause", value="pinned")),
    "relapses below 0": lambda data: rewritten(data, set_field("views", 0, "guard", "relapses", value=-(2**63))),
    "a tau beyond 1": lambda data: rewritten(data, set_field("views", 0, "guard", "tau_low", value=2.0)),
    "patience for ever": lambda data: rewritten(data, set_field("views", 0, "outcomes", value=outcome(patience=1e300))),
    "patience below 0": lambda data: rewritten(data, set_field("views", 0, "outcomes", value=outcome(patience=-1.0))),
    "a share beyond 1": lambda data: rewritten(data, set_field("views", 0, "outcomes", value=outcome(slo_share=1.5))),
    "a backlog without end": lambda data: rewritten(
        data, set_field("views", 0, "outcomes", value=outcome(backlog_share=1e300))
    ),
    "no objective": lambda data: rewritten(data, set_field("views", 0, "outcomes", value={"fastest": {}})),
    "prompts below unknown": lambda data: rewritten(data, set_column("0/arrivals/prompt", np.full(100, -2))),
    "prompts beyond any": lambda data: rewritten(data, set_column("0/arrivals/prompt", np.full(100, 2**40))),
    "prompts proven by nothing": lambda data: rewritten(
        data, set_field("views", 0, "guard", "prompts", value={"proven": True, "tau_low": None})
    ),
    "tau of prompts beyond 1": lambda data: rewritten(
        data, set_field("views", 0, "guard", "prompts", value={"proven": True, "tau_low": 1.5})
    ),
    "no standing of prompts": lambda data: rewritten(data, set_field("views", 0, "guard", "prompts", value=7)),
    "lengths beyond any": lambda data: rewritten(
        data, set_field("views", 0, "calibration", value={"knots": [[0.0, 1e300, None, None]], "mean_expected": 1.0})
    ),
    "a mean beyond any": lambda data: rewritten(
        data, set_field("views", 0, "calibration", value={"knots": [[0.0, 1.0, None, None]], "mean_expected": 2**64})
    ),
    "more knots than a fit gives": lambda data: rewritten(
        data,
        set_field(
            "views",
            0,
            "calibration",
            value={"knots": [[float(n), 1.0, None, None] for n in range(5000)], "mean_expected": 1.0},
        ),
    ),
    "used at no time": lambda data: rewritten(data, set_field("views", 0, "used_at", value=-1e300)),
    "learned scores beyond any": lambda data: rewritten(data, set_column("0/arrivals/learned", np.full(100, np.inf))),
    "columns of learned scores that differ": lambda data: rewritten(
        data, set_column("0/learned_plain/tokens", np.arange(7))
    ),
    "a head that is none": lambda data: rewritten(data, set_field("views", 0, "learned", "head", value=7)),
    "arrivals of before time": lambda data: rewritten(data, set_column("0/arrivals/arrival", np.full(100, -1e300))),
    "stays below 0": lambda data: rewritten(data, set_column("0/arrivals/sojourn", np.full(100, -1.0))),
    "of the future": lambda data: rewritten(data, set_field("saved_at", value=time.time() + 90_000)),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_file_that_cannot_be_used_is_told_of_and_costs_nothing_else(broken, snapshot, start_daemon, tmp_path, capsys):
    """The daemon starts with empty windows, serves, and writes a good file when it ends."""
    path = tmp_path / "windows.npz"
    path.write_bytes(BROKEN[broken](snapshot))
    daemon = start_daemon(quality={"snapshot": path})
    assert "snapshot_unusable" in capsys.readouterr().out
    assert daemon.app.monitor.reported_windows() == []
    with RankClient(daemon.target, model="m", timeout=10) as client:
        assert traffic(client, range(10)).accepted == 10
    daemon.stop()
    header, _ = read(path)
    assert header["views"][0]["tracker"]["completions"] == 10


def test_a_file_of_before_prompts_and_objectives_is_read(snapshot, start_daemon, tmp_path):
    """What it does not say is not known: the rest is as it was."""

    def older(header, columns):
        (window,) = header["views"]
        for name in ("outcomes", "costs", "mean_prompt"):
            del window[name]
        window["patience"] = None
        del window["guard"]["prompts"], columns["0/arrivals/prompt"]
        del window["learned"], columns["0/arrivals/learned"]  # nor was anything learned

    path = tmp_path / "windows.npz"
    path.write_bytes(rewritten(snapshot, older))
    (window,) = start_daemon(quality={"snapshot": path}).app.monitor.reported_windows()
    assert window.tracker.completions == 100
    assert (window.load.outcomes, window.load.costs, window.guard.standing.prompts) == ({}, None, PromptStanding())
    assert (window.tracker.contents()["arrivals"]["prompt"] == UNKNOWN_PROMPT).all()


def test_what_was_learned_of_a_load_is_known_after_a_restart():
    """All of it: without its share of the backlog, patience would not follow a queue that grows."""
    estimate = CostEstimate(0.02, 0.01, 0.03)
    before = ModelLoad(
        outcomes={Objective.MEAN: ObjectiveOutcome(0.1, 0.7, 1.1, 0.5, 0.99, 0.98, backlog_share=3.0)},
        costs=ServiceCosts(estimate, estimate, estimate, 7.5, 900),
        mean_prompt=300.0,
    )
    window = Window("m", "tiny@1.0.0", QualityTracker(), Guard(), False, None, None, before)
    fields = json.loads(json.dumps(save_window(window).scalars))
    restore_load(after := ModelLoad(), fields)
    assert (after.outcomes, after.costs, after.mean_prompt) == (before.outcomes, before.costs, before.mean_prompt)


def test_windows_of_another_ranker_are_left(snapshot, start_daemon, tmp_path):
    """Scores of two rankers do not compare."""
    path = tmp_path / "windows.npz"
    path.write_bytes(snapshot)
    other = make_artifact(tmp_path / "other", version="2.0.0")
    assert start_daemon(ranker=other, quality={"snapshot": path}).app.monitor.reported_windows() == []
    assert len(start_daemon(quality={"snapshot": path}).app.monitor.reported_windows()) == 1


def test_with_a_secret_the_file_does_not_help_to_guess_ids(start_daemon, tmp_path):
    """The hash's key is derived and not written; under another secret the file is not used."""
    path = tmp_path / "windows.npz"
    settings = {"snapshot": path, "snapshot_key": "correct horse"}
    daemon = start_daemon(quality=settings)
    with RankClient(daemon.target, model="m", timeout=10) as client:
        traffic(client, range(10))
    daemon.stop()
    assert read(path)[0]["salt"]["value"] == ""
    again = start_daemon(quality=settings)
    with RankClient(again.target, model="m", timeout=10) as client:
        assert traffic(client, range(10)).duplicate == 10
    assert start_daemon(quality=settings | {"snapshot_key": "battery"}).app.monitor.reported_windows() == []


def test_a_directory_that_is_not_there_is_refused_with_the_remedy(start_daemon, tmp_path):
    """Better than a warning at the first drain."""
    from rankd.errors import ConfigError

    with pytest.raises(ConfigError, match=r"quality\.snapshot.*create it, or mount a volume"):
        start_daemon(quality={"snapshot": tmp_path / "gone" / "windows.npz"})


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    """What fails while writing leaves the file before."""
    path = tmp_path / "s"
    write(path, {"views": []}, {"0/a": np.arange(3)})
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"NaN|Out of range"):
        write(path, {"views": [float("nan")]}, {})
    assert path.read_bytes() == before
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    path.write_bytes(before.replace(b'"format": 1', b'"format": 2'))
    with pytest.raises(SnapshotError):
        read(path)


def test_what_is_no_file_is_not_waited_for(tmp_path):
    """A pipe would keep a daemon from starting for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(SnapshotError, match="is no file"):
            read(path)
