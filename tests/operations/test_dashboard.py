"""The Grafana dashboard's form, by Grafana's own types; test_live.py looks at what its panels show."""

import json
import re

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from support.prometheus import RULES

from rankd.telemetry.catalogue import METRICS
from tools.dashboard.dashboard import FILE, files
from tools.generated import stale

UNTYPED = {"titleFormat", "textFormat"}
"""What Grafana writes into annotations and its types leave out."""


@pytest.fixture(scope="module")
def dashboard():
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_the_file_is_made_from_the_declarations():
    """charts/rankd/files/dashboards/rankd.json is what tools.dashboard writes."""
    assert stale(files()) == [], "run: make generate"


def lost(before, after, path=""):
    """Where two documents differ, by path; what only the second has does not count."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key not in UNTYPED:
                yield from lost(value, after[key], f"{path}/{key}") if key in after else [f"{path}/{key}"]
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{path}/{index}")
    elif before != after:
        yield path


def through_grafana(document):
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(document)))


def test_grafanas_own_types_keep_every_field(dashboard):
    """Read and written by Grafana's types nothing is lost; a field that Grafana does not know would be."""
    assert list(lost(dashboard, through_grafana(dashboard))) == []
    wrong = json.loads(json.dumps(dashboard))
    wrong["panels"][1]["targets"][0]["expresion"] = "up"
    wrong["panels"][1]["fieldConfig"]["defaults"]["colour"] = "red"
    assert list(lost(wrong, through_grafana(wrong))) == [
        "/panels/1/targets/0/expresion",
        "/panels/1/fieldConfig/defaults/colour",
    ]


def test_every_panel_explains_itself_and_has_a_place(dashboard, panels):
    """Descriptions in words, units, unique titles and ids, no overlap, and every query by the variables."""
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    assert len({panel["title"] for panel in panels}) == len(panels) > 40
    taken = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in panels:
        assert len(panel["description"].split()) >= 5, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert "$job" in target["expr"] or "$model" in target["expr"], panel["title"]


def test_every_metric_of_the_daemon_is_shown_or_watched():
    """What docs/reference/telemetry.md lists is in the dashboard, a recording rule or an alert."""
    used = "".join(path.read_text(encoding="utf-8") for path in (FILE, *RULES.glob("*.yaml")))
    assert [name for name in METRICS if not re.search(rf"\b{name.replace('.', '_')}", used)] == []


def test_it_can_be_imported_anywhere(dashboard):
    """No data source, folder or number of one installation is in it."""
    assert [v["name"] for v in dashboard["templating"]["list"]] == [
        "datasource", "job", "instance", "model", "ranker_version",
    ]  # fmt: skip
    assert "id" not in dashboard
    assert set(re.findall(r'"uid": "([^"]*)"', json.dumps(dashboard))) == {"rankd", "${datasource}"}
