"""`rankd retrain` killed at many points, and on a full disk: never a broken ranker, and the next run finishes."""

import json
import os
import subprocess
import sys

import pytest

from rankd.registry.artifact import load_artifact
from rankd.registry.artifact_files import MODEL

POINTS = 10


@pytest.fixture
def retrain(tmp_path):
    """Runs in a process of their own; called with what ``support.killed_retraining`` takes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "support.killed_retraining"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": ":".join(p for p in sys.path if p)},
    )  # fmt: skip

    def ask(place=tmp_path, **wanted):
        process.stdin.write(json.dumps({"place": str(place), **wanted}) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, "the runner has died"
        return json.loads(answer)

    yield ask
    process.stdin.close()
    process.wait(60)
    process.stdout.close()


def _shelf(registry):
    """All that a daemon could be told to load; raises where one is broken."""
    return [load_artifact(p).ranker_version for p in registry.iterdir() if p.is_dir() and not p.name.startswith(".")]


def _spread(ticks):
    return [1 + round(i * (ticks - 1) / (POINTS - 1)) for i in range(POINTS)]


def test_killed_at_ten_points_the_next_run_finishes_and_the_registry_holds_whole_rankers(retrain, tiny, tmp_path):
    free = {"options": {"force": True, "against": str(tiny)}}
    retrain(rows=200, **free)  # the first one makes directories, too
    ticks = retrain(rows=200, **free)["ticks"]
    assert ticks > POINTS
    for number, point in enumerate(_spread(ticks)):
        answer = retrain(rows=200, kill_at=point, **free)
        assert answer["killed"], point
        before = set(_shelf(tmp_path / "registry"))
        record = retrain(**free)["record"]
        assert record["outcome"] in ("kept", "nothing_new"), (point, record)
        assert len(_shelf(tmp_path / "registry")) == number + 3, point
        assert before <= set(_shelf(tmp_path / "registry"))
        assert list((tmp_path / "registry/.retraining/scratch").iterdir()) == []


def test_killed_while_it_promotes_every_replica_serves_one_of_both_and_the_next_run_mends_it(
    retrain, start_daemon, tiny, tmp_path
):
    registry = tmp_path / "registry"
    registry.mkdir()
    daemons = [start_daemon(ranker=tiny, registry=registry, admin="127.0.0.1:0") for _ in range(2)]
    chosen = {"options": {"force": True, "promote": True, "admin": [d.admin_target for d in daemons]}}

    def in_service():
        return [d.app.registry.in_service.version for d in daemons]

    ticks = retrain(rows=200, **chosen)["ticks"]
    assert len(set(in_service())) == 1
    # The last ones are those at which daemons are told.
    for point in (ticks // 2, ticks - 6, ticks - 4):
        before = in_service()[0]
        assert retrain(rows=200, kill_at=point, **chosen)["killed"]
        for version in in_service():
            assert version == before or version in _shelf(registry)
        record = retrain(**chosen)["record"]
        assert record["outcome"] in ("promoted", "nothing_new"), record  # the latter where only tidying up was left
        assert len(set(in_service())) == 1
        assert in_service()[0] != before


def test_on_a_full_disk_it_says_so_and_finishes_once_there_is_space(retrain, tiny, tmp_path):
    free = {"options": {"force": True, "against": str(tiny)}}
    retrain(rows=200, **free)
    (ranker,) = [p for p in (tmp_path / "registry").iterdir() if not p.name.startswith(".")]
    size = (ranker / MODEL).stat().st_size
    for most in (100, 1500, size - 1):
        answer = retrain(rows=200, bytes=most, **free)
        assert (answer["record"]["outcome"], answer["record"]["exit_status"]) == ("failed", 6), answer
        assert "free space" in answer["record"]["reason"], answer["record"]["reason"]
        assert len(_shelf(tmp_path / "registry")) == 1
    assert retrain(**free)["record"]["outcome"] == "kept"
    assert len(_shelf(tmp_path / "registry")) == 2
