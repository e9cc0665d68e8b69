"""Five daemons, real traffic, a real Prometheus: what every panel shows and which alerts are on their way."""

import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.five_daemons import Five
from support.panel_needs import NEEDS
from support.prometheus import RULES, Prometheus, binary
from support.repository import DOCS

from tools.dashboard.dashboard import FILE


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    binary("prometheus")  # before five daemons start for nothing
    five = Five(tmp_path_factory.mktemp("five"))
    yield five
    five.stop()


@pytest.fixture(scope="module")
def prometheus(five, tmp_path_factory):
    """Scrapes the five, with the chart's rules; traffic begins once it sees them."""
    server = Prometheus(tmp_path_factory.mktemp("prometheus"), five.jobs(), sorted(RULES.glob("*.yaml")))
    wait_for(lambda: len(server.now("up == 1")) == 5, "five targets")
    five.start_traffic()
    yield server
    server.stop()


def wait_for(condition, what, seconds=120):
    """Wait for what takes a scrape, an evaluation or some traffic to come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def dashboard():
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def filled_in(expression, chosen):
    """An expression as Grafana sends it, with values chosen for the variables."""
    for name, values in chosen.items():
        expression = re.sub(rf"\${name}\b", "|".join(values), expression)
    expression = expression.replace("$__rate_interval", "8s").replace("$__interval", "4s")
    assert "$" not in expression, expression
    return expression


@pytest.fixture(scope="module")
def chosen(dashboard, five, prometheus):
    """The variables' values with All chosen, once five daemons have served for a while."""
    wait_for(lambda: len(prometheus.now("rankd_order_patience_seconds")) >= 3, "patience tuned on three daemons")
    wait_for(lambda: prometheus.now('rankd_guard_mode{mode="fallback"} == 1'), "the backwards ranker's fallback")
    wait_for(lambda: len(prometheus.now("rankd:fleet_tau_low")) == 2, "figures of the fleet for two rankers")
    wait_for(lambda: five.shadowed() >= 200, "completions to judge the candidate on")
    assert five.judge().verdict == "not_better"
    wait_for(lambda: prometheus.now("rankd_judgements_total"), "the judgement to be scraped")
    assert five.failed == []
    values = {}
    for variable in dashboard["templating"]["list"][1:]:
        label_values = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        series, label = filled_in(label_values[1], values), label_values[2]
        values[variable["name"]] = prometheus.label_values(label, series)
    return values


def test_variables_offer_what_there_is(chosen):
    """Jobs, replicas, served models and rankers of the five."""
    assert chosen["job"] == ["rankd", "rankd-backwards", "rankd-mute"]
    assert len(chosen["instance"]) == 5
    assert "chat" in chosen["model"]
    assert chosen["ranker_version"] == ["backwards@1.0.0", "stumbling@1.0.0", "tiny@1.0.0"]


def shown(panel, chosen, prometheus):
    """Per query, the last value of each series that has one."""
    everything = chosen | {"model": [".*"], "ranker_version": [".*"]}
    for target in panel["targets"]:
        expression = filled_in(target["expr"], everything)
        if target["instant"]:
            yield prometheus.now(expression)
        else:
            series = prometheus.lately(expression)
            numbers = {labels: [v for v in values if not math.isnan(v)] for labels, values in series.items()}
            yield {labels: values[-1] for labels, values in numbers.items() if values}


def missed(panels, chosen, prometheus):
    """What panels do not show although they should: a line each."""
    for panel in panels:
        title, found = panel["title"], list(shown(panel, chosen, prometheus))
        need = NEEDS[title]
        for series, least, target in zip(found, need.series, panel["targets"], strict=True):
            if len(series) < least or any(not need.low <= value <= need.high for value in series.values()):
                yield f"{title}: {target['expr']} gives {series}"
            legend = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            if any(not legend <= {name for name, _ in labels} | {"model"} for labels in series):
                yield f"{title}: no label for its legend in {list(series)}"
        if (
            any(need.series)
            and max((value for series in found for value in series.values()), default=-math.inf) <= need.above
        ):
            yield f"{title}: nothing above {need.above} in {found}"


def test_every_panel_shows_what_five_daemons_do(panels, chosen, prometheus):
    """No query fails; each gives the series it must, within bounds; legends have their labels."""
    assert {panel["title"] for panel in panels} == NEEDS.keys()
    end = time.monotonic() + 120
    # What began a moment ago has a rate after two scrapes.
    while (lines := list(missed(panels, chosen, prometheus))) and time.monotonic() < end:
        time.sleep(0.5)
    assert not lines, "\n".join(lines)


def test_fallbacks_and_rankers_are_marked(dashboard, chosen, prometheus):
    """Annotations find the backwards ranker's fallback, what came into service, and no pilot, as there was none.

    Grafana marks where a value is odd: all are 1.
    """
    marks = {mark["name"]: mark["expr"] for mark in dashboard["annotations"]["list"]}
    everything = chosen | {"model": [".*"], "ranker_version": [".*"]}
    marked = {
        name: prometheus.lately(filled_in(expression, everything), seconds=600) for name, expression in marks.items()
    }
    versions = {name: {dict(labels)["ranker_version"] for labels in found} for name, found in marked.items()}
    assert versions == {
        "Fallbacks": {"backwards@1.0.0"},
        "Pilots": set(),
        "Rankers that came into service": set(chosen["ranker_version"]),
    }
    assert {value for found in marked.values() for values in found.values() for value in values} == {1}


def alerts(prometheus):
    """Alerts that are pending or firing, by name and job."""
    rules = [rule for rule in prometheus.rules() if rule["type"] == "alerting"]
    return {(rule["name"], alert["labels"].get("job", "")) for rule in rules for alert in rule["alerts"]}


TROUBLE = {
    ("RankdTauBelowFloor", ""),
    ("RankdFallbackTooLong", "rankd-backwards"),
    ("RankdNoCompletionsReported", "rankd-mute"),
    ("RankdScoringFailing", "rankd-mute"),
    ("RankdOverloaded", "rankd-mute"),
    ("RankdCallersRefused", "rankd-mute"),
    ("RankdCompletionLogNotWriting", "rankd"),
    ("RankdCertificateNearEnd", "rankd"),
}


def test_alerts_see_the_trouble_there_is_and_no_other(chosen, prometheus):
    """Of every kind of trouble among the five its alert is on its way, and none of what is well."""
    del chosen
    wait_for(lambda: alerts(prometheus) == TROUBLE, f"alerts {sorted(TROUBLE)}")


def test_every_rule_is_evaluated_and_every_text_can_be_read(chosen, prometheus):
    """No rule of the chart fails, no annotation has a template's error in it, no metric of an alert is unknown."""
    del chosen
    assert len(prometheus.rules()) > 20
    for rule in prometheus.rules():
        assert (rule["health"], rule.get("lastError")) == ("ok", None), rule["name"]
        for alert in rule.get("alerts", []):
            assert alert["labels"].keys() <= {
                "alertname", "severity", "namespace", "job", "instance", "pod", "model", "ranker_version",
            }  # fmt: skip
            for text in alert["annotations"].values():
                assert "error" not in text
                assert "no value" not in text
        for name in re.findall(r"\b(?:rankd[_:]|process_|rpc_)\w+(?=[\[{) ]|$)", rule["query"]):
            assert prometheus.now(f"count({name})"), f"{rule['name']}: no {name}"


PAGES = DOCS / "operations"


@pytest.mark.parametrize("page", sorted(PAGES.glob("Rankd*.md")), ids=lambda page: page.stem)
def test_a_pages_commands_run_as_they_stand(page, chosen, five, prometheus, tmp_path):
    """Against a daemon in trouble, with the variables of the index: each succeeds and has something to say."""
    del chosen
    about = {"Log": "full", "Callers": "mute", "File": "mute"}
    daemon = five.daemons[next((d for word, d in about.items() if word in page.stem), "backwards")]
    (tmp_path / "rankd.log").write_text("".join(daemon.lines), encoding="utf-8")
    make = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=rankd -days 2 -keyout key.pem -out tls.crt"
    if "CERTIFICATE" in page.read_text(encoding="utf-8"):
        subprocess.run(make.split(), cwd=tmp_path, check=True, capture_output=True)
    variables = {
        "HTTP": daemon.http.rstrip("/"), "RANKD_TARGET": daemon.target, "PROMETHEUS": prometheus.url,
        "LOG": "rankd.log", "CERTIFICATE": "tls.crt", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    block = page.read_text(encoding="utf-8").partition("## How to look\n```sh\n")[2].partition("```")[0]
    assert block.strip()
    for command in re.split(r"\n(?! )", block.strip()):  # an indented line goes on with the one before
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=tmp_path, env=os.environ | variables, check=False, capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert ran.returncode == 0, (command, ran.stderr)
        assert ran.stdout.strip(), command


def test_killed_daemons_are_noticed(chosen, five, prometheus):
    """The only one of its job: nobody answers. One of three: a replica is down."""
    del chosen
    five.daemons["mute"].kill()
    five.daemons["full"].kill()
    both = {("RankdDown", "rankd-mute"), ("RankdReplicaDown", "rankd")}
    wait_for(lambda: both <= alerts(prometheus), "alerts of two that were killed")
    assert {name for name, _ in alerts(prometheus)} & {"RankdDown", "RankdReplicaDown"} == {name for name, _ in both}
