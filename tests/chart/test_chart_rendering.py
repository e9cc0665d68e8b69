"""What the chart renders: valid for Kubernetes, hardened, without loose ends, and as the examples say."""

import re

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from support.custom_resources import CRDS
from support.rendered_chart import containers, daemon, engine, named, pods, refusal

from tools.chart.examples import EXAMPLES, MATRIX, example, given, rendered
from tools.chart.helm import helm, render
from tools.chart.values import CHART

OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
"""Native sidecars are known from 1.29 on; the chart itself asks for 1.27."""


@pytest.mark.parametrize("name", MATRIX)
def test_helm_lint_strict_has_no_complaint(name):
    done = helm("lint", "--strict", CHART, "--values", CHART.parents[1] / "tests" / "chart" / "values" / f"{name}.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("name", MATRIX)
def test_every_object_is_valid_by_kubernetes_own_schemas(name, version):
    checked = 0
    for document in rendered(name):
        schema = CRDS.get((document["apiVersion"], document["kind"]))
        if schema is not None:
            Draft202012Validator(schema).validate(document)
        else:
            kubernetes_validate.validate(document, version, strict=True)
        checked += 1
    for label, metadata, spec in pods(rendered(name)):
        if label.startswith("ConfigMap/"):
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "engine"} | metadata, "spec": spec}
            kubernetes_validate.validate(pod, version, strict=True)
    assert checked >= 1


@pytest.mark.parametrize("name", MATRIX)
def test_renders_what_the_example_says(name):
    path = EXAMPLES / f"{name}.yaml"
    written = path.read_text() if path.exists() else ""
    assert written == example(name), f"run `make generate` and look at the difference: {path}"


@pytest.mark.parametrize("name", MATRIX)
def test_every_pod_is_locked_down(name):
    for label, _, spec in pods(rendered(name)):
        sidecar = label.startswith("ConfigMap/")
        if not sidecar:
            assert spec["automountServiceAccountToken"] is False, label
            assert not spec.get("hostNetwork")
            assert not spec.get("hostPID")
        # Or RANKD_PORT=tcp://... and its like would come in, as settings that do not exist.
        assert spec["enableServiceLinks"] is False, label
        for container in containers(spec):
            if container["name"] in ("engine", "watcher", "fetch"):
                continue  # not the chart's
            security = (spec["securityContext"] if not sidecar else {}) | container["securityContext"]
            assert security["runAsNonRoot"], label
            assert security["runAsUser"] == 65532, label
            assert security["readOnlyRootFilesystem"], label
            assert security["allowPrivilegeEscalation"] is False, label
            assert security["capabilities"] == {"drop": ["ALL"]}, label
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}, label
            assert "/tmp" in {m["mountPath"] for m in container["volumeMounts"]}, "nowhere to write"
            assert name == "nothing" or container["resources"]["limits"]["memory"], label


@pytest.mark.parametrize("name", MATRIX)
def test_nothing_refers_to_what_is_not_there(name):
    documents = rendered(name)
    # What values name exists already; what they do not name must be made here.
    there = {(d["kind"], d["metadata"]["name"]) for d in documents}
    there |= {("Secret", "r-rankd-tls"), ("ServiceAccount", "default")}
    known = re.findall(r"[\w.-]+", yaml.safe_dump(given(name)))
    for label, _, spec in pods(documents):
        volumes = {v["name"]: v for v in spec["volumes"]} | (
            {"snapshot": {}} if label.startswith("StatefulSet/") and given(name).get("snapshot") else {}
        )
        for volume in volumes.values():
            for kind, key, field in (
                ("Secret", "secret", "secretName"),
                ("ConfigMap", "configMap", "name"),
                ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"),
            ):
                if key in volume:
                    target = volume[key][field]
                    assert (kind, target) in there or target in known, f"{label}: {kind} {target}"
        mounted = {m["name"] for c in containers(spec) for m in c.get("volumeMounts", [])}
        assert mounted <= set(volumes), label
        assert set(volumes) <= mounted, f"{label}: mounted nowhere"
        account = spec.get("serviceAccountName", "default")
        assert account == "default" or ("ServiceAccount", account) in there, label


SERVED = [name for name in MATRIX if given(name).get("mode") != "sidecar"]
WORKLOADS = ("Deployment", "StatefulSet")


@pytest.mark.parametrize("name", SERVED)
def test_services_policies_and_scalers_find_the_pods_and_their_ports(name):
    documents = [d for d in rendered(name) if "train" not in d["metadata"]["name"]]
    found = [(metadata["labels"], spec) for _, metadata, spec in pods(documents)]
    workloads = [(m["labels"], s) for label, m, s in pods(documents) if label.startswith(WORKLOADS)]
    assert len(workloads) == 1 + ("upstream" in given(name).get("proxy", {}))
    for document in documents:
        if document["kind"] not in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            continue
        spec = document["spec"]
        selector = spec.get("podSelector", spec.get("selector"))
        selector = selector.get("matchLabels", selector).items()
        (pod,) = [s for labels, s in found if selector <= labels.items()]
        assert any(selector <= labels.items() for labels, _ in workloads)
        ports = {p["name"] for c in containers(pod) for p in c.get("ports", [])}
        if document["kind"] == "Service":
            assert {p["targetPort"] for p in spec["ports"]} <= ports
        elif document["kind"] == "NetworkPolicy":
            assert {p["port"] for rule in spec["ingress"] for p in rule["ports"]} == ports
    for _, spec in workloads:
        for container in [c for c in containers(spec) if c["name"] in ("rankd", "proxy")]:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert container[probe]["httpGet"]["port"] in {p["name"] for p in container["ports"]}
    for scaler in (d for d in documents if d["kind"] == "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert "replicas" not in named(documents, target["kind"], target["name"])["spec"]


@pytest.mark.parametrize("name", SERVED)
def test_monitors_and_routes_find_their_services_and_ports(name):
    documents = rendered(name)
    services = {d["metadata"]["name"]: d for d in documents if d["kind"] == "Service"}
    for monitor in (d for d in documents if d["kind"] == "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (service,) = [d for d in services.values() if wanted <= d["metadata"]["labels"].items()]
        assert monitor["spec"]["endpoints"][0]["port"] in {p["name"] for p in service["spec"]["ports"]}
    for monitor in (d for d in documents if d["kind"] == "PodMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        (spec,) = [s for _, m, s in pods(documents) if wanted <= m["labels"].items()]
        ports = {p["name"] for c in containers(spec) for p in c["ports"]}
        assert monitor["spec"]["podMetricsEndpoints"][0]["port"] in ports
    backends = [
        (one["name"], one["port"])
        for d in documents
        if d["kind"].endswith("Route")
        for rule in d["spec"]["rules"]
        for one in rule["backendRefs"]
    ]
    backends += [
        (path["backend"]["service"]["name"], path["backend"]["service"]["port"]["number"])
        for d in documents
        if d["kind"] == "Ingress"
        for rule in d["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    assert len(backends) == (4 if name == "proxy" else 0)
    for service, port in backends:
        assert port in {p["port"] for p in services[service]["spec"]["ports"]}


def test_one_line_asks_for_a_gpu_and_refuses_a_cpu():
    container = daemon(render({"gpu": {"enabled": True}}))
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"name": "RANKD_PROVIDER", "value": "cuda"} in container["env"]
    assert container["image"] == "rankd:0.1.0-cuda"


def test_pods_live_as_long_as_a_drain_takes():
    spec = named(render({"drain": {"delay": 7.5, "timeout": 60}}), "Deployment")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 8 + 60 + 15


def test_a_changed_setting_rolls_the_pods_and_a_changed_token_does_not():
    def annotations(**values):
        return named(render(values), "Deployment")["spec"]["template"]["metadata"]["annotations"]

    token = {"name": "a", "sha256": "0" * 64, "roles": ["rank"]}
    auth = {"enabled": True, "tokens": [token], "client": {"existingSecret": "c"}, "plaintext": True}
    other = auth | {"tokens": [token | {"tenant": "b"}]}
    assert annotations(settings={"guard": {"floor": 0.2}}) != annotations(settings={"guard": {"floor": 0.3}})
    assert annotations(auth=auth) == annotations(auth=other)


def test_rules_and_dashboards_reach_the_cluster_as_they_are_in_their_files():
    """But for the base of the runbook pages, which is the operator's."""
    documents = rendered("everything")
    files = sorted((CHART / "files" / "rules").glob("*.yaml"))
    texts = [
        p.read_text().replace("runbook_url: docs", "runbook_url: https://git.example.org/rankd/docs") for p in files
    ]
    assert any("git.example.org" in text for text in texts)
    groups = [group for text in texts for group in yaml.safe_load(text)["groups"]]
    found = [d["spec"]["groups"] for d in documents if d["kind"] == "PrometheusRule"]
    assert found == ([groups] if groups else [])
    boards = {p.name: p.read_text() for p in (CHART / "files" / "dashboards").glob("*.json")}
    maps = [d["data"] for d in documents if d["metadata"]["name"].endswith("-dashboards")]
    assert maps == ([boards] if boards else [])


def test_the_proxy_is_beside_the_engine_or_has_pods_of_its_own():
    def found(name):
        return {
            label.partition("/")[0]: c
            for label, _, spec in pods(rendered(name))
            for c in containers(spec)
            if c["name"] == "proxy"
        }

    def target(container):
        return next(v["value"] for v in container["env"] if v["name"] == "RANKD_TARGET")

    assert {kind: target(c) for kind, c in found("proxy").items()} == {"Deployment": "r-rankd.serving.svc:50051"}
    assert {kind: target(c) for kind, c in found("besides").items()} == {"ConfigMap": "r-rankd.serving.svc:50051"}
    assert {kind: target(c) for kind, c in found("proxied").items()} == {"ConfigMap": "127.0.0.1:50051"}
    assert "restartPolicy" not in found("besides")["ConfigMap"]
    assert found("proxied")["ConfigMap"]["restartPolicy"] == "Always"
    # What opens an object store is not for pods that clients reach.
    spec = named(rendered("proxy"), "Deployment", "-proxy")["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "default"
    # A pod lives as long as its drain takes, also where proxy and rankd get their SIGTERM with the engine.
    assert spec["terminationGracePeriodSeconds"] == 5 + 600 + 5
    both = named(render({"mode": "sidecar", "proxy": {"enabled": True}, "sidecar": {"native": False}}), "ConfigMap")
    assert engine(both)["terminationGracePeriodSeconds"] == 610


def test_other_namespaces_are_let_in_by_name():
    rules = named(render({"networkPolicy": {"namespaces": ["engines"]}}), "NetworkPolicy")["spec"]["ingress"]
    (grpc,) = [rule for rule in rules if rule["ports"][0]["port"] == "grpc"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "engines"}}} in grpc["from"]
    assert {"podSelector": {}} in grpc["from"]


def test_traffic_can_be_kept_near_where_kubernetes_can():
    near = {"service": {"trafficDistribution": "PreferSameZone"}}
    service = named(render(near, kubernetes="1.34.0"), "Service", "r-rankd")
    assert service["spec"]["trafficDistribution"] == "PreferSameZone"
    kubernetes_validate.validate(service, NEWEST, strict=True)
    assert "needs Kubernetes 1.34, and this is v1.33.0: leave it empty" in refusal(near, kubernetes="1.33.0")


def test_a_sidecar_makes_no_pods_and_is_called_on_loopback_only():
    kinds = {d["kind"] for d in rendered("sidecar")}
    assert kinds == {"ConfigMap"}
    container = daemon(rendered("sidecar"))
    assert {"name": "RANKD_LISTEN", "value": "127.0.0.1:50051"} in container["env"]
    assert container["restartPolicy"] == "Always"
    assert "restartPolicy" not in daemon(render({"mode": "sidecar", "sidecar": {"native": False}}))
