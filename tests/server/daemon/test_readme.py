"""What the README promises, executed."""

import io
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rankd_client import Estimate, QualityReport, RankClient, SavedLatency, Savings, ServiceStatus
from support.repository import ROOT
from support.retraining import append_rows
from support.tiny_ranker import make_artifact

from rankd.cli.status_savings import saved
from rankd.cli.terminal import PlainConsole
from rankd.registry.artifact import load_artifact
from rankd.registry.bundled import default_ranker_path
from rankd.settings import settings_reference

README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"<!-- tested: python -->\n```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def bundled():
    """A daemon as `make run` starts it, with the bundled ranker."""
    from support.daemon import DaemonProcess

    process = DaemonProcess(None)
    yield process
    process.kill()


@pytest.mark.parametrize("code", SNIPPETS, ids=["sync"])
def test_python_examples_run(bundled, code):
    """Each example runs as it stands, but for the port, and ranks: the short answer goes first."""
    code = code.replace("127.0.0.1:50051", bundled.target).replace("timeout=0.05", "timeout=30")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "boost" in done.stdout
    assert "\n2\n" in done.stdout


def test_shell_examples_run(bundled, tmp_path):
    """The commands of the first minutes do what the text says."""
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "prompts.txt" in b]
    block = block.replace(".venv/bin/rankd", f"{sys.executable} -m rankd").replace("status --watch", "status")
    done = subprocess.run(
        ["bash", "-euc", block], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
        env=os.environ | {"RANKD_TARGET": bundled.target},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"position"')]
    assert len(lines) == 3
    assert '"request_id": "2"' in lines[-1], "the essay is expected to be the longest"


def shell(block, folder, **environment):
    """Run commands of the README."""
    return subprocess.run(
        ["bash", "-euc", block.replace(".venv/bin/rankd", f"{sys.executable} -m rankd")],
        capture_output=True, text=True, timeout=200, cwd=folder, check=False, env=os.environ | environment,
    )  # fmt: skip


def test_what_it_would_gain(tmp_path):
    """A trace becomes a page that says in words which objective to order for, also where nothing queues."""
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "rankd replay" in b]
    for gap, words in ((0.12, "mean e2e latency is"), (60.0, "nothing to gain")):
        rows = [f"{n * gap:.3f},{20 + n % 50},{1 + (n * 37) % 400}" for n in range(600)]
        (tmp_path / "trace.csv").write_text("arrival,input_tokens,output_tokens\n" + "\n".join(rows), encoding="utf-8")
        done = shell(block.replace("--trace", "--slots 4 --no-sweeps --trace"), tmp_path)
        assert done.returncode == 0, done.stderr
        page = (tmp_path / "replay.html").read_text(encoding="utf-8")
        assert "<svg" in page
        assert words in (done.stdout + page).lower(), words


def test_a_pilot_is_started_shown_and_stopped(bundled, tmp_path):
    """The three commands, on a daemon with an admin listener."""
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "rankd pilot" in b]
    done = shell(block, tmp_path, RANKD_ADMIN_TARGET=bundled.admin_target)
    assert done.returncode == 0, done.stderr
    assert "fcfs" in done.stdout
    assert "boost" in done.stdout


def test_load_on_ones_own_daemon(bundled, tmp_path):
    """The command says what it sends, and ends in the share that was ranked; here for a second."""
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "rankd bench" in b]
    done = shell(block.replace("127.0.0.1:50051", bundled.target).replace("--seconds 10", "--seconds 1"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ranked_share" in done.stdout


def test_what_status_says_first_is_as_the_example_has_it():
    """The three lines are those that `rankd status` makes of such figures."""
    (example,) = re.findall(r"```text\n(.*?)```", README, flags=re.DOTALL)
    told = Savings(
        model="llm", state="gains", from_time=0.0, to_time=1.0, completions=3108, queued_share=0.62,
        latencies=(
            SavedLatency("end_to_end", "mean", 6.0, 7.8, Estimate(1.8, 1.2, 2.4)),
            SavedLatency("end_to_end", "p99", 20.4, 20.0, Estimate(-0.4, -0.6, -0.2)),
        ),
        payers=(), slower_share=0.18, slower_by_seconds=0.62,
    )  # fmt: skip
    service = ServiceStatus("0.1.0", "r@1", "cpu", 1.0, 1, 2, 0, 2, 0, 0, 0, draining=False)
    shown = PlainConsole(file=io.StringIO(), width=200)
    shown.print(saved(QualityReport(service=service, qualities=(), policies=(), savings=(told,))))
    lines = [line.rstrip() for line in shown.file.getvalue().splitlines()]
    assert lines[:3] == example.splitlines()


def test_a_ranker_is_promoted_listed_and_rolled_back(start_daemon, tmp_path):
    """The three commands; the first is forced, since this daemon has no completions to judge by."""
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "rankd rollback" in b]
    served, registry = make_artifact(tmp_path / "served", name="served"), tmp_path / "registry"
    make_artifact(tmp_path / "rankers" / "mine", name="mine")
    daemon = start_daemon(ranker=served, registry=registry)
    done = shell(
        block.replace("rankers/mine", "rankers/mine --force"), tmp_path,
        RANKD_ADMIN_TARGET=daemon.admin_target, RANKD_REGISTRY=str(registry),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mine@1.0.0" in done.stdout
    assert daemon.app.registry.in_service.version == "served@1.0.0"


def test_what_retraining_would_do(tmp_path):
    """A dry run on a log says on what it would train and by what it would judge, and writes nothing."""
    pytest.importorskip("torch", reason="needs rankd[train]")
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "rankd retrain" in b]
    (tmp_path / "log").mkdir()
    append_rows(tmp_path / "log" / "rows.jsonl", 600)
    done = shell(block, tmp_path, RANKD_ADMIN_TARGET="127.0.0.1:9")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "600" in done.stdout + done.stderr
    assert not (tmp_path / "registry").exists()


def test_a_ranker_of_ones_own(tmp_path):
    """A log becomes a ranker, and a verdict on rows it has not seen, by the two commands of the README."""
    (block,) = [b for b in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) if "rankd train" in b]
    asks = (("Tell a long, detailed story about {}.", 400), ("What is {}? Answer in one word.", 4))
    subjects = ["".join(letters) for letters in itertools.product("bdfgk", "aeiou", "lmnr", "o")]
    for name, numbers in (("log", range(60)), ("other", range(60, 100))):
        # Other words, since prompts that differ in numbers only are the same to the list of what was trained on.
        rows = [
            {"prompt": ask.format(subjects[n]), "output_token_count": size + n % 7}
            for n in numbers
            for ask, size in asks
        ]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    done = subprocess.run(
        ["bash", "-euc", block.replace(".venv/bin/rankd", f"{sys.executable} -m rankd")],
        capture_output=True, text=True, timeout=200, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout[done.stdout.index("{") :])
    assert (verdict["rows"], verdict["realised_gain"] > 0.9) == (80, True)


def test_the_smaller_bundled_ranker_is_served_by_its_name():
    """`rankd serve --ranker ngram`, as the README has it; it ranks what the first example asks."""
    from support.daemon import DaemonProcess

    assert "rankd serve --ranker ngram" in README
    daemon = DaemonProcess(Path("ngram"))
    try:
        with RankClient(daemon.target, timeout=10) as client:
            queue = client.rank(["Write a detailed essay on the fall of the Roman empire.", "What is 2+2?"])
        assert queue.ranker_version.startswith("ngram@")
        assert [r.index for r in queue] == [1, 0]
    finally:
        daemon.kill()


def test_benchmarks_are_written_down():
    """The figures have a command, a machine and a date beside them."""
    text = (ROOT / "docs" / "measurements" / "2026-11-25-daemon.md").read_text(encoding="utf-8")
    assert "rankd bench" in text
    assert re.search(r"20\d\d-\d\d-\d\d", text)


def test_figures_of_the_bundled_ranker_are_those_of_its_manifest():
    """The tau named in the README is the one that was measured."""
    measured = {m.dataset: m.kendall_tau for m in load_artifact(default_ranker_path()).manifest.measurements}
    assert f"tau {measured['alpaca20k-seqsched']:.2f}".replace("0.", ".") in README
    assert f"{measured['instructwild_v2']:.2f}".replace("0.", ".") in README


def test_settings_and_files_named_in_the_docs_exist():
    """No variable and no link in the README leads nowhere."""
    known = {"RANKD_" + name.upper().replace(".", "__") for name, _, _ in settings_reference()} | {"RANKD_CONFIG"}
    assert set(re.findall(r"RANKD_[A-Z_]+", README)) <= known
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        if not link.startswith("http"):
            assert (ROOT / link).exists(), link


def test_make_targets_named_in_the_readme_exist():
    """The two commands, and `make` alone."""
    targets = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in re.findall(r"make ([a-z-]+)", README):
        assert re.search(rf"^{name}\b", targets, flags=re.MULTILINE), name
