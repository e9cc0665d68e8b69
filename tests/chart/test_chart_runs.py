"""What the chart would have containers do is done here, with real daemons: the daemon's own start, the pod of
``helm test``, and the CronJob's `rankd retrain`.
"""

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support.containers import TOKEN, Running, Stand, certificates, dns_names, listening_anywhere, programs
from support.rendered_chart import containers, named, pods

from tools.chart.examples import given, rendered
from tools.chart.helm import render
from tools.chart.values import CHART

RANKS = CHART / "files" / "ranks.sh"


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


@pytest.fixture
def retraining(tmp_path):
    """The CronJob's container, and a log for it."""
    values = {
        "registry": {"enabled": True},
        "completionLog": {"enabled": True},
        "retraining": {
            "enabled": True,
            "base": "ngram",
            "args": ["--epochs", "1", "--threads", "1", "--min-new", "300", "--max-held-back", "60", "--force"],
            "evaluate": {"minTau": 0.1},
            "promote": {"enabled": False},
        },
    }
    stand = Stand(render(values), "CronJob", "retrain", tmp_path, {})
    rows = tmp_path / "var/lib/rankd/log/rows.jsonl"
    words = ["hi", "list", "story", "essay", "chart", "code", "poem", "song"]
    with rows.open("w") as file:
        for i in range(320):
            own = " ".join("abcdefghijklmnopqrstuvwxyz"[(i >> shift) % 26] * 3 for shift in (0, 3, 6))
            prompt = f"Write a {words[i % 8]} about {own}"
            row = {"prompt": prompt, "output_token_count": 10 + 40 * (i % 8), "ended_at": 1_750_000_000 + i}
            file.write(json.dumps(row) + "\n")
    return stand


def test_the_cron_job_trains_and_leaves_a_judged_ranker_in_the_registry(retraining, tmp_path):
    done = retraining.run()
    assert done.returncode == 0, done.stderr
    assert "kept" in done.stdout
    registry = tmp_path / "var/lib/rankd/registry"
    (kept,) = [p for p in registry.iterdir() if not p.name.startswith(".")]
    (record,) = (registry / ".retraining/runs").glob("*.json")
    assert json.loads(record.read_text())["trained"]["ranker_version"] == kept.name
    # Nothing is new: the next one is over at once, and no failure either. It loads no torch.
    done = retraining.run()
    assert (done.returncode, "nothing new" in done.stdout) == (0, True)
