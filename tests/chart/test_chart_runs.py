"""What the chart would have containers do is done here, with real daemons: the daemon's own start, the pod of
``helm test``, and the retraining script from log to all replicas.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from rankd_client import AdminClient
from support.containers import TOKEN, Running, Stand, certificates, dns_names, listening_anywhere, programs
from support.rendered_chart import containers, named, pods

from tools.chart.examples import given, rendered
from tools.chart.helm import render
from tools.chart.values import CHART

RANKS = CHART / "files" / "ranks.sh"
RETRAIN = CHART / "files" / "retrain.sh"


@pytest.fixture
def path(tmp_path):
    return programs(tmp_path)


def _sh(script, *arguments, path, **variables):
    command = ["sh", str(script), *map(str, arguments)]
    return subprocess.run(
        command, env=os.environ | {"PATH": path} | variables, capture_output=True, text=True, timeout=120, check=False
    )


def test_helm_test_fails_where_nothing_answers(path):
    done = _sh(RANKS, CHART / "files" / "prompts.txt", path=path, RANKD_TARGET="127.0.0.1:1")
    assert done.returncode != 0
    assert "were ranked" not in done.stdout


def test_helm_test_fails_where_prompts_get_no_score(start_process, path):
    process = start_process(environment={"RANKD_LIMITS__MAX_ITEMS": "2"})
    done = _sh(RANKS, CHART / "files" / "prompts.txt", path=path, RANKD_TARGET=process.target)
    assert done.returncode != 0


def test_helm_tests_pod_runs_that_script_on_those_prompts():
    (spec,) = [s for label, _, s in pods(rendered("cpu")) if label.startswith("Pod/")]
    (container,) = containers(spec)
    files = named(rendered("cpu"), "ConfigMap", "-test")["data"]
    mounted = next(m["mountPath"] for m in container["volumeMounts"] if m["name"] == "test")
    assert container["command"] == ["/bin/sh", f"{mounted}/ranks.sh", f"{mounted}/prompts.txt"]
    assert files["ranks.sh"].strip() == RANKS.read_text().strip()
    assert {"name": "RANKD_TARGET", "value": "r-rankd.serving.svc:50051"} in container["env"]
    named(rendered("cpu"), "Service", "r-rankd")


@pytest.mark.parametrize("promoted", [False, True], ids=["nothing promoted", "one promoted"])
def test_a_restarted_pod_serves_what_was_promoted_last(promoted, tiny, tmp_path, wait_until):
    """The link in the registry is followed where there is one; and SIGTERM drains the pod within its grace."""
    stand = Stand(render({"registry": {"enabled": True}}), "Deployment", "rankd", tmp_path, {})
    registry = Path(stand.variables()["RANKD_REGISTRY"])
    if promoted:
        shutil.copytree(tiny, registry / "second")
        (registry / "serving").symlink_to("second")
    with Running(stand, **listening_anywhere(stand)) as running:
        assert running.started["ranker_version"] == ("tiny@1.0.0" if promoted else "minilm-l6@1.0.0")
        if promoted:
            # rankd took the shell's place, or the kubelet's SIGTERM would not reach it.
            wait_until(lambda: _handles(running.process.pid, signal.SIGTERM), 30, "a handler of SIGTERM")
            running.process.send_signal(signal.SIGTERM)
            assert running.process.wait(stand.grace) == 0


@pytest.mark.parametrize("name", ["cpu", "nothing", "tls", "everything"])
def test_the_daemon_starts_as_it_is_rendered_and_helm_test_ranks_over_it(name, tmp_path, tiny):
    """With its own command, variables, files and addresses; certificates are made here, as cert-manager would."""
    documents = rendered(name)
    secrets = {
        "rankd-client": {"token": TOKEN},
        "rankd-join": {"join-key": "j"},
        "rankd-snapshot": {"snapshot-key": "s"},
        "rankd-learning": {"learning-key": "l"},
    }
    if given(name).get("tls"):
        (tmp_path / "pki").mkdir()
        pki = certificates(tmp_path / "pki", dns_names(documents))
        secrets |= {"r-rankd-tls": pki["server"], "rankd-client-tls": pki["client"], "clients-ca": pki["client"]}
    kind = given(name).get("workload", "Deployment")
    (tmp_path / "daemon").mkdir()
    stand = Stand(documents, kind, "rankd", tmp_path / "daemon", secrets)
    # A small ranker, to be quick; nothing is at the other end of OTLP.
    others = listening_anywhere(stand) | {"RANKD_RANKER": str(tiny), "OTEL_SDK_DISABLED": "true"}
    with Running(stand, **others) as running:
        assert running.started["listen"].startswith("0.0.0.0:")
        (tmp_path / "test").mkdir()
        # With everything off there is no pod for helm test: the default one's will do.
        documents = documents if name != "nothing" else rendered("cpu")
        pod = Stand(documents, "Pod", "rank", tmp_path / "test", secrets)
        done = pod.run(RANKD_TARGET=f"127.0.0.1:{running.port}")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert [json.loads(line)["position"] for line in lines[:-1]] == [1, 2, 3, 4]
        assert lines[-1] == "4 prompts were ranked"
        if given(name).get("auth", {}).get("enabled"):
            done = pod.run(RANKD_TARGET=f"127.0.0.1:{running.port}", RANKD_TOKEN_FILE="")
            assert done.returncode != 0, "a token is not asked for"


def _handles(pid, number):
    """Whether a process handles a signal (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(re.search(r"^SigCgt:\s*(\S+)", status, re.MULTILINE)[1], 16) >> (number - 1) & 1)


class _Retraining:
    """The script as the CronJob runs it, on a registry and a workspace."""

    def __init__(self, place, path):
        self.workspace, self.registry, self.path = place / "workspace", place / "registry", path
        rows = place / "rows with a space.jsonl"
        self.variables = {
            "RUN": "run-1",
            "WORKSPACE": str(self.workspace),
            "REGISTRY": str(self.registry),
            "TRAIN_DATA": str(rows),
            "TRAIN_ARGS": "--base\nngram\n--epochs\n1\n--threads\n1\n--name\nretrained",
            "EVALUATE_DATA": str(rows),
            "EVALUATE_ARGS": "--rows\n200",
            "MIN_TAU": "0.1",
        }
        if not rows.exists():
            self.workspace.mkdir()
            self.registry.mkdir()
            words = ["hi", "list", "story", "essay", "chart", "code", "poem", "song"]
            with rows.open("w") as file:
                for i in range(320):
                    row = {"prompt": f"Write a {words[i % 8]} about {i}", "output_token_count": 10 + 40 * (i % 8)}
                    file.write(json.dumps(row) + "\n")

    def run(self, **more):
        return _sh(RETRAIN, path=self.path, **(self.variables | more))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the script, without promotion; training takes seconds, so it is shared."""
    place = tmp_path_factory.mktemp("retraining")
    done = _Retraining(place, programs(place)).run()
    assert done.returncode == 0, done.stderr
    assert "promote it with: rankd promote" in done.stderr
    return place


@pytest.fixture
def retraining(trained, start_daemon, tiny, tmp_path, path):
    """That run, and two replicas on two loopback addresses with its registry."""
    shutil.copytree(trained, tmp_path / "run")
    retraining = _Retraining(tmp_path / "run", path)
    first = start_daemon(ranker=tiny, registry=retraining.registry, admin="127.0.0.1:0")
    port = first.app.admin.port
    second = start_daemon(ranker=tiny, registry=retraining.registry, admin=f"127.0.0.2:{port}")
    retraining.variables |= {"ADMIN_HOSTS": "127.0.0.1\n127.0.0.2", "ADMIN_PORT": str(port)}
    retraining.in_service = lambda: [d.app.registry.in_service.version for d in (first, second)]
    return retraining


def test_retraining_without_promotion_puts_a_judged_ranker_into_the_registry(trained):
    assert json.loads((trained / "registry" / "run-1" / "manifest.json").read_text())["version"] == "run-1"
    assert json.loads((trained / "workspace" / "run-1.json").read_text())["kendall_tau"] > 0.1
    assert [p.name for p in (trained / "registry").iterdir()] == ["run-1"], "no link, and nothing half-done"


def test_a_refused_ranker_is_no_failure_and_changes_nothing(retraining):
    # Without completions there is nothing to judge by.
    done = retraining.run(PROMOTE_ARGS="")
    assert done.returncode == 0, done.stderr
    assert "no better; nothing changes" in done.stderr
    done = retraining.run(PROMOTE_ARGS="--force", MIN_TAU="0.99")
    assert done.returncode == 0, done.stderr
    assert "not good enough" in done.stderr
    assert retraining.in_service() == ["tiny@1.0.0", "tiny@1.0.0"]
    assert not (retraining.registry / "serving").exists()


def test_a_promoted_ranker_is_in_service_on_all_replicas_and_the_next_to_start_find_it(retraining):
    # Started again, as after a lost node, it does not train again.
    done = retraining.run(PROMOTE_ARGS="--force")
    assert done.returncode == 0, done.stderr
    assert "trained already" in done.stderr
    assert retraining.in_service() == ["retrained@run-1", "retrained@run-1"]
    assert (retraining.registry / "serving").resolve() == (retraining.registry / "run-1").resolve()
    # One replica lost it; the script is started once more, and mends that.
    with AdminClient(f"127.0.0.2:{retraining.variables['ADMIN_PORT']}") as client:
        client.roll_back()
    done = retraining.run(PROMOTE_ARGS="--force")
    assert done.returncode == 0, done.stderr
    assert retraining.in_service() == ["retrained@run-1", "retrained@run-1"]
    assert sorted(p.name for p in retraining.registry.iterdir()) == ["history.jsonl", "run-1", "serving"]


def test_a_replica_that_does_not_answer_fails_the_run_so_that_it_is_tried_again(retraining):
    done = retraining.run(PROMOTE_ARGS="--force", ADMIN_HOSTS="127.0.0.1\n127.0.0.3")
    assert done.returncode == 1
    assert "127.0.0.3" in done.stderr
    assert retraining.in_service()[0] == "retrained@run-1"


def test_replicas_are_found_by_one_name(retraining):
    retraining.run(PROMOTE_ARGS="--force", ADMIN_HOSTS="", ADMIN_NAME="localhost")
    assert retraining.in_service()[0] == "retrained@run-1"
