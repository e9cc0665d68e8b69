"""Alert rules by Prometheus' own promtool, and their runbook pages."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from support.prometheus import RULES, binary
from support.repository import DOCS

ALERTS = RULES / "alerts.yaml"
CASES = Path(__file__).with_name("alerts_test.yaml")
PAGES = DOCS / "operations"


@pytest.fixture(scope="module")
def rules():
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments):
    command = [binary("promtool"), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("path", sorted(RULES.glob("*.yaml")), ids=lambda path: path.name)
def test_promtool_accepts_the_rules(path):
    """Syntax, and no rule twice."""
    found = promtool("check", "rules", "--lint-fatal", path)
    assert found.returncode == 0, found.stdout + found.stderr


def test_every_alert_fires_and_resolves_as_promtool_is_told():
    """alerts_test.yaml holds, texts included."""
    found = promtool("test", "rules", CASES)
    assert found.returncode == 0, found.stdout + found.stderr


def test_promtool_notices_an_alert_that_does_not_fire(tmp_path):
    """The cases can fail: with a longer wait in the rules one does."""
    slow = tmp_path / "alerts.yaml"
    slow.write_text(ALERTS.read_text(encoding="utf-8").replace("for: 15m", "for: 3h"), encoding="utf-8")
    cases = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    cases["rule_files"] = [str(slow)]
    cases["tests"] = [case for case in cases["tests"] if case["name"] == "One of two replicas is down, and comes back"]
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases), encoding="utf-8")
    found = promtool("test", "rules", tmp_path / "cases.yaml")
    assert found.returncode == 1
    assert "alertname: RankdReplicaDown" in found.stdout + found.stderr


def test_every_alert_is_seen_not_yet_firing_firing_and_resolved(rules):
    """The cases hold all three of each alert and severity, in this order."""
    seen = {}
    for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]:
        states = {}
        for check in case["alert_rule_test"]:
            severities = [alert["exp_labels"]["severity"] for alert in check["exp_alerts"]]
            states.setdefault(check["alertname"], []).extend(severities or ["-"])
        for name, told in states.items():
            for severity in set(told) - {"-"}:
                if re.match(rf"-( {severity})+ -", " ".join(told)):
                    seen[name, severity] = case["name"]
    assert seen.keys() == {(rule["alert"], rule["labels"]["severity"]) for rule in rules}


def test_every_alert_says_what_a_person_needs(rules):
    """A severity, a time to heal by itself, a summary, a description and a page."""
    for rule in rules:
        assert rule["labels"] == {"severity": rule["labels"]["severity"]}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert re.fullmatch(r"[0-9]+[mh]", rule["for"]), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/operations/{rule['alert']}.md"


def test_only_what_takes_ranking_away_everywhere_wakes_somebody(rules):
    """Everything else can wait for working hours."""
    assert {r["alert"] for r in rules if r["labels"]["severity"] == "critical"} == {
        "RankdDown",
        "RankdCertificateNearEnd",
    }


def test_every_alert_has_a_page_and_every_page_an_alert(rules):
    """And the index lists them all, each with its severity."""
    names = {rule["alert"] for rule in rules}
    assert {page.stem for page in PAGES.glob("*.md")} - {"README"} == names
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| ([^|]+) \|", index, re.MULTILINE))
    assert listed.keys() == names
    for rule in rules:
        assert rule["labels"]["severity"] in listed[rule["alert"]], rule["alert"]


SECTIONS = ["What it means", "What users feel", "How to look", "Causes and what to do"]


@pytest.mark.parametrize("page", sorted(set(PAGES.glob("Rankd*.md"))), ids=lambda page: page.stem)
def test_a_page_says_what_it_means_what_is_felt_how_to_look_and_what_to_do(page):
    """In this order, with a command to look by, and links that lead somewhere."""
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.stem}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    look = text.partition("## How to look")[2].partition("\n## ")[0]
    assert "```sh\n" in look
    for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link
