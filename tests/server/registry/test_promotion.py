"""From a candidate to the ranker in service, and back: shadows, judgements, `rankd promote` and `rankd rollback`."""

import json
import random
import shutil
import subprocess
import sys

import grpc
import psutil
import pytest
from rankd_client import AdminClient, Completed, Item, RankClient, RankdRefusedError
from rankd_client.v1 import admin_pb2, completion_pb2, prediction_pb2
from support.engine_traffic import MODEL, Traffic, prompt
from support.tiny_ranker import make_artifact
from support.wire import admin_stub, completion, completion_stub, item, rank_stub, request

from rankd.cli import main


@pytest.fixture
def rankers(tmp_path):
    """A ranker to serve that knows one word of two, a better and a worse one to promote, and an empty registry."""
    registry = tmp_path / "registry"
    registry.mkdir()
    return {
        "registry": registry,
        "served": make_artifact(tmp_path / "served", name="served", long=0.0),
        "good": make_artifact(tmp_path / "good", name="good", scale=1.0),
        "worse": make_artifact(tmp_path / "worse", name="worse", scale=-1.0),
    }


def traffic(client, count, seed=0, *, report=True):
    """Rank and report so many requests, in queues of ten."""
    rng = random.Random(seed)
    for start in range(0, count, 10):
        drawn = [prompt(rng) for _ in range(10)]
        queue = client.rank([Item(p, request_id=f"{seed}-{start + i}") for i, (p, _) in enumerate(drawn)])
        assert not queue.failed, client.stats.last_error
        if report:
            done = [Completed(r.request_id, r.prediction, output_tokens=drawn[r.index][1]) for r in queue]
            assert client.report(done).accepted == 10


def promote(*arguments, capsys):
    """Run `rankd promote` in this process; its status and JSON."""
    status = main(["promote", *map(str, arguments), "--json"])
    out = capsys.readouterr().out
    # The daemon of the test, in this process, logs to stdout too.
    return status, json.loads(next(line for line in out.splitlines() if line.startswith("{")))


def test_shadow_scores_are_echoed_and_order_nothing(start_daemon, rankers, wait_until):
    """A shadow's scores come with the predictions of later answers, also of echoed ones, once each; the order is that
    of the ranker in service, and after the shadow ends there are none.
    """
    daemon = start_daemon(ranker=rankers["served"], registry=rankers["registry"])
    shutil.copytree(rankers["good"], rankers["registry"] / "good")
    queue = request(item("a", "long long", at=1), item("b", "short", at=2))
    with AdminClient(daemon.admin_target) as admin, daemon.channel() as channel:
        version = admin.load("good").ranker_version
        admin.start_shadow(version)
        rank = rank_stub(channel).Rank
        before = rank(queue, timeout=10)
        wait_until(lambda: admin.rankers().rankers[-1].shadow.scored == 2, what="both prompts scored in the shadow")
        answer = rank(queue, timeout=10)
        assert [i.request_id for i in answer.items] == [i.request_id for i in before.items]
        assert answer.ranker_version == "served@1.0.0"
        told = {i.request_id: [(s.ranker_version, s.score) for s in i.prediction.shadow_scores] for i in answer.items}
        assert told == {
            "a": [(version, pytest.approx(2.04))],
            "b": [(version, pytest.approx(-0.97))],
        }
        echoed = rank(request(*(item(i.request_id, prediction=i.prediction) for i in answer.items)), timeout=10)
        assert [len(i.prediction.shadow_scores) for i in echoed.items] == [1, 1]
        admin.stop_shadow(version)
        assert not any(i.prediction.shadow_scores for i in rank(queue, timeout=10).items)


def test_a_report_that_brings_the_shadow_score_is_evidence(start_daemon, rankers):
    """A completion ranked by another replica counts: its prediction carries the candidate's score. Scores that are no
    numbers, of no shadow, or of a duplicate, do not.
    """
    daemon = start_daemon(ranker=rankers["served"], registry=rankers["registry"])
    shutil.copytree(rankers["good"], rankers["registry"] / "good")
    with AdminClient(daemon.admin_target) as admin, daemon.channel() as channel:
        admin.load("good")
        admin.start_shadow("good@1.0.0")
        stub = completion_stub(channel)
        for name, version, score in (
            ("a", "good@1.0.0", 1.0),
            ("a", "good@1.0.0", 1.0),
            ("b", "good@1.0.0", float("nan")),
            ("c", "other@1", 1.0),
        ):
            report = completion(name, 0.5, 10, "served@1.0.0")
            report.prediction.shadow_scores.append(prediction_pb2.ShadowScore(ranker_version=version, score=score))
            stub.ReportCompletions(completion_pb2.ReportCompletionsRequest(model=MODEL, completions=[report]))
        assert admin.rankers().rankers[-1].shadow.completions == 1


def test_a_better_ranker_is_promoted_on_shadow_scores(start_daemon, rankers, capsys, wait_until):
    """Without a completion log `promote` judges by shadow scores and says so; the guard then ranks for the reason that
    the ranker was judged, and knows from what was judged how long answers are.
    """
    good = make_artifact(rankers["good"], name="good", measured_tau=None, calibration=False)
    daemon = start_daemon(ranker=rankers["served"], registry=rankers["registry"])
    with AdminClient(daemon.admin_target) as admin, RankClient(daemon.target, model=MODEL, timeout=30) as client:
        shutil.copytree(good, rankers["registry"] / "good")
        admin.load("good")
        admin.start_shadow("good@1.0.0")
        traffic(client, 300, seed=1, report=False)
        wait_until(lambda: admin.rankers().rankers[-1].shadow.scored == 300, what="everything scored in the shadow")
        traffic(client, 300, seed=1)
        status, out = promote(
            rankers["registry"] / "good", "--admin", daemon.admin_target, "--shadow-completions", 300, capsys=capsys
        )
        assert status == 0
        assert out["promoted"] is True
        assert out["in_service"] == "good@1.0.0"
        assert out["evidence"] == "shadow scores"
        assert out["completions"] == 300
        assert out["candidate"]["tau"]["value"] > 0.6 > out["incumbent"]["tau"]["value"] + 0.1
        assert out["tau_difference"]["low"] > 0.1
        queue = client.rank(["long long long", "short"])
        assert queue.ranker_version == "good@1.0.0"
        assert queue.policy.value == "boost"
        assert queue[0].expected_tokens < 230 < queue[1].expected_tokens
        quality = {q.ranker_version: q for q in client.quality().qualities}["good@1.0.0"]
        assert (quality.guard.mode, quality.guard.ranking, quality.guard.reason) == ("warming_up", True, "judged")
        assert admin.rankers().rankers[0].shadow is None


def test_a_better_ranker_is_promoted_on_logged_prompts(start_daemon, rankers, capsys, wait_until, tmp_path):
    """With a completion log both rankers read its prompts, and `promote` says so.

    For a ranker that does not say what it was made of only completions count that are younger than its files, unless it
    is trusted. What an earlier ranker scored is scored anew by the one in service.
    """
    pytest.importorskip("pyarrow")
    daemon = start_daemon(
        ranker=rankers["worse"],
        registry=rankers["registry"],
        completion_log={"directory": str(tmp_path / "log"), "prompt_share": 1.0},
        guard={"enabled": False},
    )
    with AdminClient(daemon.admin_target) as admin, RankClient(daemon.target, model=MODEL, timeout=30) as client:
        traffic(client, 150, seed=4)
        shutil.copytree(rankers["served"], rankers["registry"] / "served")
        admin.load("served")
        admin.promote("served@1.0.0")
        traffic(client, 150, seed=5)
        wait_until(lambda: len(daemon.app.log.recent(999, None)) == 300, what="all completions logged")
        status, out = promote(rankers["good"], "--admin", daemon.admin_target, "--model", MODEL, capsys=capsys)
        assert status == 0
        assert out["evidence"] == "prompts of the completion log"
        assert (out["completions"], out["log_completions"], out["shadow_completions"]) == (300, 300, 0)
        assert out["candidate"]["tau"]["value"] > 0.6 > out["incumbent"]["tau"]["value"] + 0.1 > 0.3
        assert out["older_completions"] == 0
        younger = make_artifact(tmp_path / "younger", name="younger", long=0.1)
        to_daemon = ["--admin", daemon.admin_target]
        assert main(["promote", str(younger), *to_daemon, "--no-shadow"]) == 3
        assert "300 older than this ranker's files" in capsys.readouterr().out
        assert main(["promote", str(younger), *to_daemon, "--trust-evidence"]) == 3
        assert "300 of them ended before this ranker's files were written" in capsys.readouterr().out
        assert (
            promote(younger, "--admin", daemon.admin_target, "--model", "other", capsys=capsys)[1]["completions"] == 0
        )


def test_a_worse_ranker_is_refused_with_its_figures(start_daemon, rankers, capsys, wait_until):
    """Exit status 3, both rankers' figures on stdout, and the candidate leaves the daemon's memory; `--force` promotes
    it all the same, and `rollback` takes that back.
    """
    daemon = start_daemon(ranker=rankers["good"], registry=rankers["registry"])
    target = ["--admin", daemon.admin_target]
    with AdminClient(daemon.admin_target) as admin, RankClient(daemon.target, model=MODEL, timeout=30) as client:
        shutil.copytree(rankers["worse"], rankers["registry"] / "worse")
        admin.load("worse")
        admin.start_shadow("worse@1.0.0")
        traffic(client, 250, seed=2, report=False)
        wait_until(lambda: admin.rankers().rankers[-1].shadow.scored == 250, what="everything scored in the shadow")
        traffic(client, 250, seed=2)
        status = main(["promote", str(rankers["worse"]), *target])
        said = capsys.readouterr().out
        assert status == 3
        assert "worse@1.0.0 is refused" in said
        assert "evidence: shadow scores" in said
        assert "judged on 250 completions" in said
        assert client.rank(["long"]).ranker_version == "good@1.0.0"
        assert main(["promote", str(rankers["worse"]), *target, "--force"]) == 0
        assert client.rank(["long"]).ranker_version == "worse@1.0.0"
        assert main(["rollback", *target]) == 0
        assert client.rank(["long"]).ranker_version == "good@1.0.0"


def test_too_few_completions_say_nothing(start_daemon, rankers, capsys):
    """Without evidence a candidate is refused and the numbers that are missing are named; nothing stays loaded."""
    daemon = start_daemon(ranker=rankers["served"], registry=rankers["registry"])
    status = main(["promote", str(rankers["good"]), "--admin", daemon.admin_target])
    said = capsys.readouterr().out
    assert status == 3
    assert "at least 200 are needed" in " ".join(said.split())
    with AdminClient(daemon.admin_target) as admin:
        assert [r.ranker_version for r in admin.rankers().rankers] == ["served@1.0.0"]
    assert (rankers["registry"] / "good@1.0.0" / "model.onnx").exists()
    assert not list(rankers["registry"].glob(".*")), "nothing half-copied is left"


def test_a_negative_margin_accepts_what_is_no_worse(start_daemon, rankers, capsys, wait_until):
    """The same ranker under another name is not better; with a margin of -.02 it is surely not worse by more."""
    twin = make_artifact(rankers["good"].parent / "twin", name="twin", scale=2.0)
    daemon = start_daemon(ranker=rankers["good"], registry=rankers["registry"])
    with AdminClient(daemon.admin_target) as admin, RankClient(daemon.target, model=MODEL, timeout=30) as client:
        shutil.copytree(twin, rankers["registry"] / "twin")
        admin.load("twin")
        admin.start_shadow("twin@1.0.0")
        traffic(client, 200, seed=3, report=False)
        wait_until(lambda: admin.rankers().rankers[-1].shadow.scored == 200, what="everything scored in the shadow")
        traffic(client, 200, seed=3)
        judged = ["--admin", daemon.admin_target, "--evidence", "shadow"]
        assert promote(twin, *judged, capsys=capsys)[0] == 3
        status, out = promote(twin, *judged, "--margin", "-0.02", capsys=capsys)
        assert (status, out["margin"], out["in_service"]) == (0, -0.02, "twin@1.0.0")


def test_bad_input_is_named(start_daemon, rankers, tmp_path, capsys):
    """No directory, no registry, the one in service, another ranker of the same version, no daemon: each says so."""
    daemon = start_daemon(ranker=rankers["served"])
    for directory, remedy in (
        (tmp_path / "nothing", "no such directory"),
        (rankers["good"], "RANKD_REGISTRY"),
        (rankers["served"], "in service already"),
    ):
        assert main(["promote", str(directory), "--admin", daemon.admin_target]) == 2
        assert remedy in capsys.readouterr().err
    assert main(["rollback", "--admin", daemon.admin_target]) == 2
    assert "roll back" in capsys.readouterr().err
    assert main(["promote", str(rankers["good"]), "--admin", "127.0.0.1:1"]) == 1
    assert "does not answer" in capsys.readouterr().err
    other = start_daemon(ranker=rankers["served"], registry=rankers["registry"])
    make_artifact(rankers["registry"] / "good@1.0.0", name="good", scale=3.0)
    assert main(["promote", str(rankers["good"]), "--admin", other.admin_target]) == 2
    assert "another version" in capsys.readouterr().err


def test_rankers_out_of_use_leave_memory(start_daemon, rankers, wait_until):
    """Ten rankers are loaded and promoted one after the other: the one in service, the one before and at most two
    others are held, and memory does not grow with their number.
    """
    daemon = start_daemon(ranker=rankers["served"], registry=rankers["registry"])
    process = psutil.Process()
    with AdminClient(daemon.admin_target) as admin, RankClient(daemon.target, timeout=30) as client:
        sizes = []
        for number in range(10):
            make_artifact(rankers["registry"] / str(number), name="r", version=str(number))
            admin.load(str(number))
            admin.promote(f"r@{number}")
            assert client.rank(["long", "short"]).ranker_version == f"r@{number}"
            assert len(admin.rankers().rankers) == 2
            wait_until(lambda: not daemon.app.registry._leaving, what="unloading")
            sizes.append(process.memory_info().rss)
        assert sizes[-1] - sizes[3] < 40 * 2**20
        for number in (0, 1, 2):
            admin.load(str(number))
        assert {r.ranker_version for r in admin.rankers().rankers} == {"r@9", "r@8", "r@1", "r@2"}
        admin.unload("r@8")
        assert admin.rankers().rollback_to == "r@8"
        with pytest.raises(RankdRefusedError, match="in service"):
            admin.unload("r@9")


def test_shadows_are_bounded_and_never_evicted(start_daemon, rankers):
    """A third shadow, or a third candidate beside two shadows, is refused; a shadow is not the one in service."""
    daemon = start_daemon(ranker=rankers["served"], registry=rankers["registry"])
    for name in ("a", "b", "c"):
        make_artifact(rankers["registry"] / name, name=name)
    with AdminClient(daemon.admin_target) as admin:
        for name in ("a", "b"):
            admin.load(name)
            admin.start_shadow(f"{name}@1.0.0")
        with pytest.raises(RankdRefusedError, match=r"promotion.max_shadows"):
            admin.load("c")
        assert len(admin.rankers().rankers) == 3
        with pytest.raises(RankdRefusedError, match="in service"):
            admin.start_shadow("served@1.0.0")
        with pytest.raises(RankdRefusedError, match="not loaded"):
            admin.start_shadow("c@1.0.0")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"margin": 1.5}, "options.margin"),
        ({"margin": float("nan")}, "options.margin"),
        ({"min_completion_count": 3}, "options.min_completion_count"),
        ({"min_completion_count": 10**6}, "options.min_completion_count"),
        ({"evidence": 77}, "options.evidence"),
        ({"model": "x" * 300}, "options.model"),
    ],
)
def test_impossible_options_name_the_field(daemon, options, field):
    """INVALID_ARGUMENT with the path of the field."""
    call = admin_pb2.JudgeRankerRequest(ranker_version="x", options=admin_pb2.JudgeOptions(**options))
    with daemon.channel(daemon.admin_target) as channel, pytest.raises(grpc.RpcError) as error:
        list(admin_stub(channel).JudgeRanker(call))
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert field in error.value.details()


@pytest.mark.timeout(1500)  # shadows are scored when nothing else is to be done, and others keep the machine busy
def test_promotion_under_load(start_process, rankers, wait_until):
    """200 calls a second against a daemon process, while a better ranker is shadowed, judged, promoted, rolled back
    at once, and a worse one refused: no call fails, no answer mixes rankers, no report is lost.
    """
    process = start_process(rankers["served"], environment={"RANKD_REGISTRY": str(rankers["registry"])})
    command = [sys.executable, "-m", "rankd"]

    def run(*arguments):
        done = subprocess.run(
            [*command, *arguments, "--admin", process.admin_target, "--json"],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    with Traffic(process.target) as load:
        wait_until(lambda: load.calls > 100)
        status, out = run("promote", str(rankers["good"]), "--shadow-completions", "400")
        assert status == 0, out
        assert out["completions"] >= 400
        assert out["evidence"] == "shadow scores"
        wait_until(lambda: load.versions[-1] == "good@1.0.0")
        with AdminClient(process.admin_target) as admin:
            admin.roll_back()
            load.phase, calls = 1, load.calls
            wait_until(lambda: load.calls > calls + 50)
            load.phase = 2
            admin.promote("good@1.0.0")
        status, out = run("promote", str(rankers["worse"]), "--shadow-completions", "300")
        assert status == 3, out
        assert out["candidate"]["tau"]["value"] < out["incumbent"]["tau"]["value"]
        wait_until(lambda calls=load.calls: load.calls > calls + 20)
    assert load.failed == []
    assert load.mixed == []
    assert load.rejected == []
    assert set(load.versions) == {"served@1.0.0", "good@1.0.0"}
    assert load.versions_in[1] == {"served@1.0.0"}
    assert load.versions[-1] == "good@1.0.0"
