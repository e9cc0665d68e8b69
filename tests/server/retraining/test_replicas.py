"""`rankd retrain` and real daemons: who judges, who follows, what is left alone, and what is said of it."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from rankd_client import AdminClient, Completed, Item, RankClient
from support.retraining import QuickTools, append_rows, options
from support.tiny_ranker import make_artifact

from rankd.retraining.dry_run import dry_run
from rankd.retraining.options import ShadowOptions
from rankd.retraining.outcome import RunOutcome
from rankd.retraining.run import Retraining


@pytest.fixture
def replicas(start_daemon, tmp_path):
    """Two on two loopback addresses, with one registry; their ranker orders the wrong way round."""
    append_rows(tmp_path / "rows.jsonl", 600)
    served = make_artifact(tmp_path / "served", name="served", scale=-1.0)
    registry = options(tmp_path).registry
    first = start_daemon(ranker=served, registry=registry, admin="127.0.0.1:0")
    second = start_daemon(ranker=served, registry=registry, admin=f"127.0.0.2:{first.app.admin.port}")
    return first, second


def run(place, targets, tools=None, **more):
    chosen = options(place, **{"promote": True, "admin": tuple(targets)} | more)
    return Retraining(chosen, tools or QuickTools()).run()


def addresses(replicas):
    port = replicas[0].app.admin.port
    return [f"127.0.0.1:{port}", f"127.0.0.2:{port}"]


def in_service(replicas):
    return [d.app.registry.in_service.version for d in replicas]


def test_a_better_ranker_is_in_service_everywhere_and_what_an_operator_undoes_is_left_so(replicas, tmp_path):
    """Forced, since these daemons have no completions to judge by."""
    targets = addresses(replicas)
    nobody = f"127.0.0.3:{replicas[0].app.admin.port}"
    record = run(tmp_path, [*targets, nobody], force=True)
    version = f"retrained@{record.run}"
    assert (record.outcome, record.outcome.exit_status) == (RunOutcome.UNREACHABLE, 1)
    assert nobody in record.reason
    assert in_service(replicas) == [version, version]
    # Started again it mends what is to be mended, and trains nothing.
    with AdminClient(targets[1]) as client:
        client.roll_back()
    tools = QuickTools()
    again = run(tmp_path, targets, tools, force=True)
    assert (again.outcome, again.run, tools.trained) == (RunOutcome.PROMOTED, record.run, [])
    assert in_service(replicas) == [version, version]
    assert again.details["promotion"]["replicas"] == {targets[0]: "in_service", targets[1]: "promoted"}
    with AdminClient(targets[0]) as first, AdminClient(targets[1]) as second:
        first.roll_back()
        second.roll_back()
    assert run(tmp_path, targets, force=True).outcome is RunOutcome.NOTHING_NEW
    assert in_service(replicas) == ["served@1.0.0", "served@1.0.0"]


def test_what_was_taken_out_of_service_before_the_run_was_over_is_not_put_back(replicas, tmp_path):
    targets = addresses(replicas)
    run(tmp_path, [*targets, "127.0.0.3:1"], force=True)
    for target in targets:
        with AdminClient(target) as client:
            client.roll_back()
    record = run(tmp_path, targets, force=True)
    assert record.outcome is RunOutcome.NO_BETTER
    assert "taken out of service again" in record.reason


def test_nobody_answers_and_the_next_run_goes_on_from_there(replicas, tmp_path):
    record = run(tmp_path, ["127.0.0.3:1"], force=True)
    assert (record.outcome.exit_status, record.details["judged"]["incumbent"]) == (1, "minilm-l6@1.0.0")
    tools = QuickTools()
    assert run(tmp_path, [replicas[0].admin_target], tools, force=True).outcome is RunOutcome.PROMOTED
    assert tools.trained == []


def test_replicas_are_found_by_one_name(replicas, tmp_path):
    record = run(tmp_path, [], force=True, admin_name=f"localhost:{replicas[0].app.admin.port}")
    assert f"retrained@{record.run}" in in_service(replicas)


def test_without_completions_of_its_own_the_daemon_lets_it_score_in_the_shadow_first(replicas, tmp_path):
    """Offline it is better; the daemon knows of no completion, so new traffic decides."""
    first, _ = replicas
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    shadow = ShadowOptions(seconds=120, completions=100)
    with ThreadPoolExecutor(1) as thread, RankClient(first.target) as client:
        run_ = thread.submit(run, tmp_path, addresses(replicas), shadow=shadow)
        number = 0
        while not run_.done():
            part = [rows[(number + i) % 600] for i in range(10)]
            queue = client.rank([Item(r["prompt"], request_id=f"{number}-{i}") for i, r in enumerate(part)])
            lengths = [part[r.index]["output_token_count"] for r in queue]
            client.report(
                [Completed(r.request_id, r.prediction, output_tokens=n) for r, n in zip(queue, lengths, strict=True)]
            )
            number += 10
    record = run_.result()
    assert record.outcome is RunOutcome.PROMOTED, record.as_json()
    promotion = record.details["promotion"]
    assert promotion["judgement"]["evidence"] == "shadow_scores"
    assert promotion["shadow_completions"] >= 100
    assert in_service(replicas) == [f"retrained@{record.run}"] * 2


def test_never_in_the_shadow_means_too_little_data_and_the_daemon_forgets_it(replicas, tmp_path):
    record = run(tmp_path, [replicas[0].admin_target], shadow=ShadowOptions("never"))
    assert (record.outcome, record.outcome.exit_status) == (RunOutcome.TOO_LITTLE_DATA, 4)
    with AdminClient(replicas[0].admin_target) as client:
        assert [r.ranker_version for r in client.rankers().rankers] == ["served@1.0.0"]
    assert [p.name for p in (tmp_path / "registry").iterdir() if not p.name.startswith(".")] == []


def test_a_dry_run_tells_a_daemon_nothing(replicas, tmp_path):
    targets = addresses(replicas)
    chosen = options(tmp_path, promote=True, admin=(*targets, "127.0.0.3:1"))
    found = dry_run(chosen, QuickTools())
    assert found.details["decision"]["replicas"] == {
        targets[0]: "served@1.0.0", targets[1]: "served@1.0.0", "127.0.0.3:1": "does not answer",
    }  # fmt: skip
    assert found.details["incumbent"] == "served@1.0.0"
    with AdminClient(targets[0]) as client:
        assert len(client.rankers().rankers) == 1
