"""``rankd rankers``: what it lists, shows, compares and names, without a daemon and beside one."""

import dataclasses
import json

import numpy as np
import pytest
from rankd_client import AdminClient, ServiceStatus
from support.ranker_start import with_trained_rows
from support.tiny_ranker import make_artifact

from rankd.cli.rankers.standing import standing
from rankd.registry.history import Place, ServiceHistory, StepEvidence, StepKind, new_step
from rankd.training.data.row import Row

NOBODY = ("--admin", "127.0.0.1:1")


@pytest.fixture
def registry(tmp_path):
    """A registry with a good and a bad ranker; the good one was promoted, and is in service."""
    root = tmp_path / "registry"
    root.mkdir()
    make_artifact(root / "good", name="good")
    make_artifact(root / "bad", name="bad", scale=-1.0)
    evidence = StepEvidence("better", "completion_log", 812, 0.08, 0.05, 0.11)
    step = new_step(
        StepKind.PROMOTED, Place("good@1.0.0", "good"), Place("bad@1.0.0", "bad"), by="ops", evidence=evidence
    )
    ServiceHistory(root).append(step)
    return root


def test_list_without_a_daemon(call, registry):
    """Roles are those of the history, which is told too."""
    done = call("rankers", "list", "--registry", registry, *NOBODY)
    assert done.returncode == 0, done.stderr
    for said in ("good@1.0.0", "in service", "previous", "serving", "does not answer", "by ops", "+0.080", "812"):
        assert said in done.stdout
    listed = json.loads(call("rankers", "list", "--registry", registry, *NOBODY, "--json").stdout)
    assert [(r["ranker_version"], r["role"]) for r in listed["rankers"]] == [
        ("good@1.0.0", "in_service"),
        ("bad@1.0.0", "previous"),
    ]
    assert listed["rankers"][0]["aliases"] == ["serving"]
    assert listed["history"][0]["evidence"]["low"] == 0.05
    assert not listed["daemon"]


def test_list_with_neither(call):
    """Says what to name."""
    done = call("rankers", "list", *NOBODY)
    assert done.returncode == 1
    assert "--registry" in done.stderr


def test_list_beside_a_daemon(call, registry, start_daemon, tiny):
    """Roles are the daemon's; that it does not serve what was promoted last is said."""
    daemon = start_daemon(ranker=tiny, registry=registry)
    with AdminClient(daemon.admin_target) as admin:
        admin.load("bad")
    done = call("rankers", "list", "--admin", daemon.admin_target)
    assert done.returncode == 0, done.stderr
    assert "tiny@1.0.0 is in service, and the registry's history says good@1.0.0" in done.stdout
    listed = json.loads(call("rankers", "list", "--admin", daemon.admin_target, "--json").stdout.splitlines()[-1])
    roles = {r["ranker_version"]: r["role"] for r in listed["rankers"]}
    assert roles == {"tiny@1.0.0": "in_service", "good@1.0.0": "previous", "bad@1.0.0": "loaded"}
    done = call("status", "--target", daemon.target)
    assert "good@1.0.0 was promoted last in the registry; the setting `ranker` goes before it" in done.stdout


def test_show(call, registry):
    """By version, alias or directory; with its history."""
    for name in ("good@1.0.0", "serving", "good"):
        shown = json.loads(call("rankers", "show", name, "--registry", registry, "--json").stdout)
        assert shown["ranker_version"] == "good@1.0.0"
        assert shown["manifest"]["licence"]
        assert shown["history"][0]["by"] == "ops"
    text = call("rankers", "show", "good", "--registry", registry).stdout
    assert "good@1.0.0" in text
    assert "0.500" in text
    assert call("rankers", "show", "ngram").returncode == 0
    done = call("rankers", "show", "none@1", "--registry", registry)
    assert done.returncode == 2
    assert "there: bad@1.0.0, good@1.0.0" in done.stderr
    assert "--registry" in call("rankers", "show", "none@1").stderr


def test_alias(call, registry):
    """Sets and removes it; wrong input names the remedy."""
    assert call("rankers", "alias", "best", "good@1.0.0", "--registry", registry).stdout == "best leads to good\n"
    assert (registry / "best" / "manifest.json").is_file()
    assert call("rankers", "alias", "best", "--remove", "--registry", registry).returncode == 0
    assert not (registry / "best").is_symlink()
    for wrong, remedy in (
        (("best",), "VERSION"),
        (("best", "good@1.0.0", "--remove"), "VERSION"),
        (("serving", "good@1.0.0"), "rankd promote"),
        (("best", "none@1"), "there:"),
    ):
        done = call("rankers", "alias", *wrong, "--registry", registry)
        assert done.returncode == 2
        assert remedy in done.stderr
    assert "RANKD_REGISTRY" in call("rankers", "alias", "best", "good@1.0.0").stderr


def test_diff(call, registry, tmp_path):
    """The difference is the one that the rankers' definitions make, with its interval; the same ranker differs by 0."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(400):
        longer, shorter = rng.integers(0, 5, 2).tolist()
        tokens = int(50 * np.exp(0.4 * (longer - shorter) + 0.8 * rng.standard_normal())) + 1
        rows.append({"prompt": " ".join(["long"] * longer + ["short"] * shorter), "output_token_count": tokens})
    data = tmp_path / "log.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    diff = ("--data", data, "--registry", registry, "--json")
    found = json.loads(call("rankers", "diff", "good@1.0.0", "bad@1.0.0", *diff).stdout)
    difference = found["tau_difference"]
    assert difference["low"] < difference["value"] < difference["high"]
    assert difference["value"] == pytest.approx(found["first"]["tau"]["value"] - found["second"]["tau"]["value"])
    assert found["first"]["tau"]["value"] == pytest.approx(-found["second"]["tau"]["value"])
    assert found["better"] == "good@1.0.0"
    assert json.loads(call("rankers", "diff", "bad", "good", *diff).stdout)["better"] == "good@1.0.0"
    same = json.loads(call("rankers", "diff", "good", "good@1.0.0", *diff).stdout)
    assert same["tau_difference"]["value"] == 0
    assert same["better"] is None
    text = call("rankers", "diff", "good", "bad", *diff[:-1]).stdout
    assert "good@1.0.0 is better" in text
    assert call("rankers", "diff", "good", "none", *diff).returncode == 2
    assert "--data" in call("rankers", "diff", "good", "bad", "--registry", registry).stderr


def test_diff_leaves_out_rows_that_one_was_made_of(call, registry, tmp_path):
    """They are counted apart; where none is left it says so, unless they are asked for."""
    prompts = [f"{'long ' * (i % 5)}{'short ' * (i // 5)}" for i in range(1, 26)]
    rows = [{"prompt": p, "output_token_count": 10 + 7 * i} for i, p in enumerate(prompts)]
    data = tmp_path / "log.jsonl"
    data.write_text("".join(json.dumps(r) + "\n" for r in rows))
    diff = ("rankers", "diff", "good", "bad", "--data", data, "--registry", registry, "--json")
    with_trained_rows(registry / "bad", [Row(p, 1, complete=True) for p in prompts[:9]])
    found = json.loads(call(*diff).stdout)
    assert (found["rows"], found["trained"], found["undeclared"]) == (16, 9, ["good@1.0.0"])
    assert "9 prompts listed" in call("rankers", "show", "bad", "--registry", registry).stdout
    with_trained_rows(registry / "good", [Row(p, 1, complete=True) for p in prompts])
    done = call(*diff)
    assert done.returncode == 2
    assert "--with-trained" in done.stderr
    assert json.loads(call(*diff, "--with-trained").stdout)["rows"] == 25


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, ""),
        ({"promoted": "r@1", "ranker_choice": "promoted"}, ""),
        ({"promoted": "r@1", "ranker_choice": "fallen_back", "unusable_rankers": ("r@2",)}, ""),
        ({"promoted": "r@2", "ranker_choice": "fallen_back", "unusable_rankers": ("r@2",)}, "cannot be loaded"),
        ({"ranker_choice": "fallen_back", "unusable_rankers": ("serving",)}, "serving was promoted and cannot be"),
        ({"promoted": "r@2", "ranker_choice": "setting"}, "`ranker` goes before it"),
        ({"promoted": "r@2", "ranker_choice": "bundled"}, "is not in service here"),
    ],
)
def test_what_status_says_of_the_promotion(changes, line):
    """Nothing while what was promoted last is in service."""
    service = ServiceStatus("0.1.0", "r@1", "cpu", 1.0, 1, 2, 0, 2, 0, 0, 0, draining=False)
    said = standing(dataclasses.replace(service, **changes))
    assert (line in said) if line else not said
