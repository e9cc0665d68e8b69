"""Wrong values are refused, by schema or guard, in words that say what to do; and all values are documented."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from support.rendered_chart import daemon, engine, named, refusal

from tools.chart import reference
from tools.chart.helm import helm, objects, render, template
from tools.chart.values import CHART, read_values
from tools.generated import ROOT, stale

AUTH = {"enabled": True, "existingSecret": "tokens", "client": {"existingSecret": "token"}}
TLS = {"enabled": True, "existingSecret": "certificate"}
TOKENS = [{"name": "a", "sha256": "0" * 64, "roles": ["rank"]}]
REGISTRY = {"enabled": True}
LOG = {"enabled": True}
PROXY = {"enabled": True, "upstream": "http://vllm:8000"}

WRONG = [
    ({"replicaCount": 3}, "", "additional properties 'replicaCount' not allowed"),
    ({"replicas": "3"}, "/replicas", "got string, want integer"),
    ({"replicas": -1}, "/replicas", "minimum: got -1, want 0"),
    ({"gpu": {"enable": True}}, "/gpu", "additional properties 'enable' not allowed"),
    ({"mode": "daemonset"}, "/mode", "value must be one of 'service', 'sidecar'"),
    ({"provider": "rocm"}, "/provider", "value must be one of '', 'auto'"),
    ({"image": {"digest": "sha256:abc"}}, "/image/digest", "'sha256:abc' does not match pattern"),
    ({"service": {"port": 70000}}, "/service/port", "maximum: got 70,000, want 65,535"),
    ({"completionLog": {"url": "/var/log"}}, "/completionLog/url", "'/var/log' does not match pattern"),
    (
        {"auth": {"tokens": [{"name": "a", "token": "t", "roles": ["rank"]}]}},
        "/auth/tokens/0",
        "additional properties 'token' not allowed",
    ),
    (
        {"auth": {"tokens": [{"name": "a", "sha256": "t", "roles": ["rank"]}]}},
        "/auth/tokens/0/sha256",
        "'t' does not match pattern",
    ),
    ({"signing": {"keys": [{"id": "a", "secret": "c2hvcnQ="}]}}, "/signing/keys/0/secret", "minLength: got 8, want 44"),
    ({"nodeSelector": {"gpu": True}}, "/nodeSelector/gpu", "got boolean, want string"),
    # rankd's own settings are known by name, kind and bounds; what the chart sets itself is not to be set there.
    ({"settings": {"scorin": {}}}, "/settings", "additional properties 'scorin' not allowed"),
    ({"settings": {"scoring": {"thread": 1}}}, "/settings/scoring", "additional properties 'thread' not allowed"),
    ({"settings": {"guard": {"floor": 2}}}, "/settings/guard/floor", "maximum: got 2, want 1"),
    ({"settings": {"order": {"policy": "fifo"}}}, "/settings/order/policy", "value must be one of"),
    (
        {"settings": {"order": {"class_objectives": {"1": "quick"}}}},
        "/settings/order/class_objectives/1",
        "value must be one of",
    ),
    ({"proxy": {"settings": {"max_model": 1}}}, "/proxy/settings", "additional properties 'max_model' not allowed"),
    ({"proxy": {"settings": {"max_models": 5000}}}, "/proxy/settings/max_models", "maximum: got 5,000, want 4,096"),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, "/podDisruptionBudget/maxUnavailable", "minimum: got 0, want 1"),
    ({"podDisruptionBudget": {"minAvailable": "100%"}}, "/podDisruptionBudget/minAvailable", "'100%' does not match"),
    ({"settings": {"listen": "0.0.0.0:1"}}, "/settings", "additional properties 'listen' not allowed"),
    (
        {"settings": {"completion_log": {"join_key": "s"}}},
        "/settings/completion_log",
        "additional properties 'join_key' not allowed",
    ),
]
"""Values, where they are wrong, and what Helm 3.18 and newer say; older ones say it in other words."""

CONTRADICTIONS = [
    ({"gpu": {"enabled": True}, "provider": "cpu"}, "leave provider empty, or set gpu.enabled to false"),
    ({"provider": "cuda"}, "set gpu.enabled to true"),
    ({"registry": REGISTRY | {"accessModes": ["ReadWriteOnce"]}}, "registry.accessModes [ReadWriteOnce] lets one node"),
    ({"completionLog": LOG | {"accessModes": ["ReadWriteOnce"]}}, "or completionLog.url with an object store"),
    (
        {"replicas": 1, "autoscaling": {"enabled": True}, "registry": REGISTRY | {"accessModes": ["ReadWriteOnce"]}},
        "use ReadWriteMany",
    ),
    ({"completionLog": LOG | {"url": "s3://a/b", "existingClaim": "c"}}, "leave one empty"),
    ({"snapshot": {"enabled": True}}, "set workload to StatefulSet"),
    ({"autoscaling": {"enabled": True, "minReplicas": 5, "maxReplicas": 2}}, "minReplicas 5 is above"),
    ({"autoscaling": {"enabled": True, "cpu": {"target": 0}}}, "set autoscaling.cpu.target or autoscaling.queue"),
    ({"autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}}, "set resources.requests.cpu"),
    ({"rollout": {"maxSurge": 0, "maxUnavailable": 0}}, "raise one"),
    ({"tls": {"enabled": True, "certManager": {"enabled": True}}}, "set tls.certManager.issuer.name"),
    ({"tls": {"enabled": True}}, "set tls.existingSecret, or tls.certManager.enabled"),
    ({"tls": {"mutual": {"enabled": True}}}, "need tls.enabled"),
    ({"tls": TLS, "probes": {"kind": "grpc"}}, "set probes.kind to http"),
    ({"tls": TLS | {"mutual": {"enabled": True}}}, "set tls.client.existingSecret"),
    ({"networkPolicy": {"enabled": False}}, "or set auth.allowAnonymous to true if that is meant"),
    ({"admin": {"exposed": True}}, "set auth.enabled or tls.mutual.enabled, or leave it off"),
    ({"service": {"type": "LoadBalancer"}}, "service.type LoadBalancer is reached from outside"),
    ({"auth": {"enabled": True}}, "set auth.existingSecret, auth.tokens or auth.certificates"),
    ({"auth": AUTH | {"tokens": TOKENS}, "tls": TLS}, "leave one empty"),
    ({"auth": {"enabled": True, "existingSecret": "tokens"}, "tls": TLS}, "set auth.client.existingSecret"),
    ({"auth": AUTH}, "tokens would pass in the clear. Set tls.enabled, or auth.plaintext"),
    (
        {"auth": {"enabled": True, "certificates": [{"name": "a", "roles": ["rank"]}]}, "tls": TLS},
        "set tls.mutual.enabled",
    ),
    ({"signing": {"enabled": True}}, "set signing.existingSecret or signing.keys"),
    ({"terminationGracePeriodSeconds": 30}, "at least 50 are needed"),
    ({"retraining": {"enabled": True}}, "set completionLog.enabled, or retraining.data"),
    ({"training": {"enabled": True}}, "set completionLog.enabled, or training.data"),
    ({"training": {"enabled": True}, "completionLog": LOG}, "set registry.enabled"),
    (
        {
            "replicas": 1, "retraining": {"enabled": True}, "registry": REGISTRY,
            "completionLog": LOG | {"accessModes": ["ReadWriteOnce"]},
        },
        "set completionLog.accessModes to [ReadWriteMany], or completionLog.url",
    ),
    ({"retraining": {"enabled": True}, "registry": REGISTRY, "completionLog": LOG}, "set admin.exposed"),
    (
        {
            "retraining": {"enabled": True}, "registry": REGISTRY, "completionLog": LOG, "tls": TLS, "auth": AUTH,
            "admin": {"exposed": True},
        },
        "set workload to StatefulSet",
    ),
    ({"proxy": {"enabled": True}}, "set proxy.upstream to its URL"),
    ({"proxy": PROXY | {"metricsPort": 8080}}, "are both 8080: change one"),
    ({"mode": "sidecar", "proxy": PROXY | {"port": 9464}}, "choose others than [50051 9464 50052]"),
    (
        {"proxy": PROXY, "auth": {"enabled": True, "existingSecret": "a"}, "tls": TLS, "test": {"enabled": False}},
        "set proxy.token.existingSecret or auth.client.existingSecret",
    ),
    (
        {"proxy": PROXY, "tls": TLS | {"mutual": {"enabled": True}}, "test": {"enabled": False}},
        "the proxy needs a certificate too: set tls.client.existingSecret",
    ),
    ({"proxy": PROXY, "networkPolicy": {"egress": {"enabled": True}}}, "let it through by networkPolicy.proxy.egress"),
    ({"proxy": {"enabled": True, "workload": "Sidecar", "initContainers": [{"name": "a"}]}}, "put them there"),
    ({"proxy": {"ingress": {"enabled": True}}}, "an engine's pod has a Service of its own"),
    ({"proxy": PROXY | {"httpRoute": {"enabled": True}}}, "set proxy.httpRoute.parentRefs"),
    ({"mode": "sidecar", "grpcRoute": {"enabled": True}}, "set ingress.enabled and grpcRoute.enabled to false"),
    ({"ingress": {"enabled": True}}, "let callers in from outside of the cluster: set auth.enabled"),
    ({"grpcRoute": {"enabled": True}, "auth": AUTH, "tls": TLS}, "set grpcRoute.parentRefs"),
    ({"service": {"trafficDistribution": "PreferClose"}}, "trafficDistribution PreferClose needs Kubernetes 1.31"),
    ({"podDisruptionBudget": {"minAvailable": 2}}, "podDisruptionBudget.minAvailable 2 of 2 replicas lets no pod go"),
    ({"mode": "sidecar", "extraContainers": [{"name": "a"}]}, "put extraContainers and initContainers into the engine"),
    ({"mode": "sidecar", "autoscaling": {"enabled": True}}, "mode sidecar runs no pods of its own"),
    ({"mode": "sidecar", "probes": {"kind": "grpc"}}, "set probes.kind to http"),
    (
        {"mode": "sidecar", "tls": {"enabled": True, "certManager": {"enabled": True, "issuer": {"name": "i"}}}},
        "loopback",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("values", "place", "message"), WRONG, ids=[f"{p}: {m}" for _, p, m in WRONG])
def test_the_schema_refuses_and_names_the_value(values, place, message):
    said = refusal(values)
    assert "values don't meet the specifications of the schema(s)" in said
    if "- at '" in said:
        assert f"- at '{place}': {message}" in said
    else:
        assert place.replace("/", ".").strip(".") in said


@pytest.mark.parametrize(("values", "message"), CONTRADICTIONS, ids=[m for _, m in CONTRADICTIONS])
def test_a_guard_refuses_and_names_the_remedy(values, message):
    assert message in refusal(values)


def test_every_guard_is_tried():
    """Each ``fail`` in the templates is met by a set of values above."""
    guards = "".join(path.read_text() for path in (CHART / "templates").glob("_guards*.tpl"))
    said = "\n".join(refusal(values) for values, _ in CONTRADICTIONS)
    said += refusal({"mode": "sidecar"}, kubernetes="1.28.0")
    for text in re.findall(r'fail (?:\(printf )?"([^"]*)"', guards):
        fixed = max(re.split(r"%[svd]", text), key=len)
        assert fixed in said, f"no values meet: {text}"


def test_a_sidecar_stays_only_where_kubernetes_knows_such():
    said = refusal({"mode": "sidecar"}, kubernetes="1.28.0")
    assert "set sidecar.native to false" in said


def test_an_old_kubernetes_is_refused():
    assert "kubeVersion" in refusal({}, kubernetes="1.26.0")


def test_reference_and_schema_are_those_of_values_yaml():
    assert stale(reference.files()) == [], "run: make generate"


def test_a_value_without_a_description_is_an_error():
    with pytest.raises(ValueError, match="line 3: b has no description"):
        read_values("# -- What it is for.\na: 1\nb: 2\n")


def test_nothing_in_the_schema_is_open_but_free_maps():
    def walk(schema, path):
        if schema.get("type") == "object" and "properties" in schema:
            assert schema["additionalProperties"] is False, path
            for name, child in schema["properties"].items():
                walk(child, f"{path}.{name}")
        elif schema.get("type") == "object":
            assert "additionalProperties" in schema, path
        elif schema.get("type") == "array":
            walk(schema["items"], f"{path}[]")

    walk(yaml.safe_load((CHART / "values.schema.json").read_text()), "")


def test_another_chart_puts_rankd_beside_its_engine(tmp_path):
    """As a dependency, ``rankd.sidecar`` and ``rankd.sidecarVolumes`` render within the other chart's pod."""
    chart = tmp_path / "engine"
    (chart / "templates").mkdir(parents=True)
    shutil.copytree(CHART, chart / "charts" / "rankd")
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: engine\nversion: 1.0.0\n")
    (chart / "values.yaml").write_text("rankd: {mode: sidecar, settings: {guard: {floor: 0.2}}}\n")
    usage = re.search(r"\{\{- \$rankd := .*?indent 4 \}\}\n\nThe engine", _sidecar_comment(), re.DOTALL)
    lines = usage[0].removesuffix("\n\nThe engine").replace("# or containers, with rankd.sidecar.native: false", "")
    (chart / "templates" / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: engine}\nspec:\n"
        + lines.replace("\n  volumes", "\n  containers: [{name: engine, image: engine}]\n  volumes")
    )
    done = template(chart)
    assert done.returncode == 0, done.stderr
    documents = objects(done.stdout)
    pod = named(documents, "Pod")
    alone = engine(named(render({"mode": "sidecar", "settings": {"guard": {"floor": 0.2}}}), "ConfigMap", "-sidecar"))
    assert pod["spec"]["initContainers"] == alone["initContainers"]
    assert pod["spec"]["volumes"] == alone["volumes"]


def _sidecar_comment():
    return (CHART / "templates" / "_sidecar.tpl").read_text().partition("*/}}")[0]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (
            {},
            [
                "helm -n serving test r",
                "ONLY ENGINES IN NAMESPACE serving",
                "OPEN: callers need no token",
                "IMAGE: rankd:0.1.0-cpu is not published",
            ],
        ),
        ({"auth": AUTH, "tls": TLS, "image": {"repository": "example.com/rankd"}}, ["authorization: Bearer"]),
        ({"mode": "sidecar"}, ["Nothing runs yet", "r-rankd-sidecar"]),
        (
            {
                "proxy": PROXY | {"ingress": {"enabled": True}},
                "networkPolicy": {"namespaces": ["engines", "batch"]},
                "auth": AUTH,
                "tls": TLS,
            },
            [
                "pods of these namespaces get through: engines, batch",
                "http://r-rankd-proxy.serving.svc:8080/v1",
                "outside",
            ],
        ),
        (
            {"proxy": {"enabled": True, "workload": "Sidecar"}, "auth": AUTH, "tls": TLS},
            ["configmap r-rankd-proxy-sidecar"],
        ),
    ],
    ids=["defaults", "auth", "sidecar", "proxy", "proxy beside"],
)
def test_notes_say_what_to_do_next(values, wanted, tmp_path):
    """``helm install --dry-run`` needs a cluster; the notes are rendered as a page of a copied chart instead."""
    chart = tmp_path / "rankd"
    shutil.copytree(CHART, chart)
    notes = (chart / "templates" / "NOTES.txt").read_text()
    (chart / "templates" / "NOTES.txt").unlink()
    page = '{{- define "notes" -}}\n' + notes + '{{- end -}}\nnotes: {{ include "notes" . | toJson }}\n'
    (chart / "templates" / "notes.yaml").write_text(page)
    (page,) = [d["notes"] for d in render(values, chart=chart) if "notes" in d]
    for text in wanted:
        assert text in page
    assert ("OPEN" in page) == (values == {})


@pytest.mark.parametrize("values", [{}, {"fullnameOverride": "ranker"}, {"nameOverride": "order"}], ids=str)
def test_alerts_find_rankd_under_any_name(values):
    """They know it by its job. Without one RankdDown pages for ever, and no other alert ever fires."""
    documents = render(values | {"serviceMonitor": {"enabled": True}})
    (endpoint,) = named(documents, "ServiceMonitor")["spec"]["endpoints"]
    job = named(documents, "Service", "-headless")["metadata"]["name"]
    for rule in endpoint.get("relabelings", []):
        assert rule["targetLabel"] == "job"
        job = rule["replacement"]
    assert "rankd" in job


def test_versions_are_those_of_the_package():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert chart["appVersion"] == version
    assert f'"AppVersion" "{version}"' in _sidecar_comment()


def test_the_chart_packs_into_what_helm_can_install(tmp_path):
    done = helm("package", CHART, "--destination", tmp_path)
    assert done.returncode == 0, done.stderr
    (archive,) = Path(tmp_path).glob("rankd-*.tgz")
    done = template(archive)
    assert done.returncode == 0, done.stderr
    assert daemon(objects(done.stdout))["image"] == "rankd:0.1.0-cpu"


def _blocks():
    text = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()
    return re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("block", _blocks(), ids=lambda block: block.partition("\n")[0])
def test_values_in_the_docs_are_taken_as_they_stand(block):
    assert render(yaml.safe_load(block))
