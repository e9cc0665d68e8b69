"""rankd among the dependencies of another chart: switched on and off by conditions and tags, under any alias."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from support.rendered_chart import named, refusal

from tools.chart.helm import KUBERNETES, helm, objects, render, template
from tools.chart.values import CHART

MODES = {"service": {"Deployment", "Service"}, "sidecar": {"ConfigMap"}}


def parent_of(path: Path, values, *, chart=CHART, name="platform", **dependency) -> Path:
    """A chart whose only dependency is another one."""
    folder = yaml.safe_load((chart / "Chart.yaml").read_text())["name"]
    shutil.copytree(chart, path / "charts" / folder)
    about = {"name": folder, "version": "0.1.0", **dependency}
    (path / "Chart.yaml").write_text(
        json.dumps({"apiVersion": "v2", "name": name, "version": "1.0.0", "dependencies": [about]})
    )
    (path / "values.yaml").write_text(json.dumps(values))
    return path


def kinds(chart, *arguments):
    """Which kinds of objects a chart renders."""
    done = template(chart, *arguments)
    assert done.returncode == 0, done.stderr
    return {d["kind"] for d in objects(done.stdout)}


@pytest.mark.parametrize("mode", MODES)
def test_a_condition_switches_the_chart(tmp_path, mode):
    """In both modes: on by the parent's values, by --set, and where nothing is said; off likewise."""
    chart = parent_of(tmp_path, {"rankd": {"enabled": True, "mode": mode}}, condition="rankd.enabled")
    assert MODES[mode] <= kinds(chart)
    assert kinds(chart, "--set", "rankd.enabled=false") == set()
    assert MODES[mode] <= kinds(chart, "--set", "rankd.enabled=null")
    (chart / "values.yaml").write_text(json.dumps({"rankd": {"enabled": False, "mode": mode}}))
    assert kinds(chart) == set()
    assert MODES[mode] <= kinds(chart, "--set", "rankd.enabled=true")
    # As YAML has a key without a value.
    (chart / "values.yaml").write_text(json.dumps({"global": None, "rankd": {"enabled": None, "mode": mode}}))
    assert MODES[mode] <= kinds(chart)


@pytest.mark.parametrize(
    ("dependency", "values", "off"),
    [
        ({"alias": "ranker", "condition": "ranker.enabled"}, {"ranker": {"enabled": True}}, "ranker.enabled=false"),
        ({"condition": "rankd.on,rankd.enabled"}, {"rankd": {"enabled": True}}, "rankd.enabled=false"),
        ({"condition": "global.rankd"}, {"global": {"rankd": True}}, "global.rankd=false"),
        ({"tags": ["llm"]}, {"tags": {"llm": True}, "rankd": {"enabled": True}}, "tags.llm=false"),
    ],
    ids=["alias", "two conditions", "global", "tags"],
)
def test_so_do_aliases_globals_and_tags(tmp_path, dependency, values, off):
    chart = parent_of(tmp_path, values, **dependency)
    assert "Deployment" in kinds(chart)
    assert kinds(chart, "--set", off) == set()


def test_a_chart_of_charts_switches_it_too(tmp_path):
    """Two levels down, with what parents usually hand on."""
    values = {
        "rankd": {"enabled": True, "nameOverride": "ranker", "commonLabels": {"team": "llm"}},
        "global": {"imageRegistry": "registry.example.com", "imagePullSecrets": ["s"], "storageClass": "fast"},
    }
    middle = parent_of(tmp_path / "middle", values, condition="rankd.enabled", name="llm")
    chart = parent_of(tmp_path / "top", {"llm": {"enabled": True}}, chart=middle, name="top", condition="llm.enabled")
    (deployment,) = [d for d in objects(template(chart).stdout) if d["kind"] == "Deployment"]
    assert deployment["metadata"]["labels"]["team"] == "llm"
    assert deployment["metadata"]["name"] == "r-ranker"
    assert kinds(chart, "--set", "llm.rankd.enabled=false") == set()
    assert kinds(chart, "--set", "llm.enabled=false") == set()


def test_what_is_for_parents_changes_nothing_here():
    """Installed by itself the chart is the same with ``enabled`` and ``global``; ``enabled`` is true or false."""
    assert render({"enabled": True}) == render({"enabled": False}) == render({"global": {"a": 1}}) == render({})
    assert re.search(r"at '/enabled': got string, want|enabled: Invalid type. Expected: ", refusal({"enabled": "yes"}))
    assert "enabled" not in yaml.safe_load((CHART / "values.yaml").read_text())


def test_a_helm_built_with_an_older_kubernetes_needs_to_be_told_the_version():
    """Helm before 3.12 refuses the chart by itself, in words that docs/guides/kubernetes.md repeats."""
    plain = helm("template", "r", CHART)
    if plain.returncode != 0:
        assert "chart requires kubeVersion: >=1.27.0-0 which is incompatible with Kubernetes v1." in plain.stderr
    told = helm("template", "r", CHART, "--kube-version", KUBERNETES)
    assert told.returncode == 0, told.stderr
    assert named(objects(told.stdout), "Deployment")
