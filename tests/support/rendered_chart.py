"""Looks into what the chart renders: refused values, objects by kind, pods and containers."""

import functools
import json
import tempfile

import yaml

from tools.chart.helm import KUBERNETES, template
from tools.chart.values import CHART


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
