"""What the chart sets is what rankd takes: every variable, every setting, every file."""

import base64
import os
import tomllib

import pytest
import yaml
from rankd_client.integration.settings import INTEGRATION_VARIABLES
from support.rendered_chart import containers, daemon, named, pods

from rankd.cli import build_parser
from rankd.proxy.settings import ProxySettings, load_proxy_settings
from rankd.settings import Settings, load_settings, settings_reference
from tools.chart.examples import MATRIX, given, rendered
from tools.chart.helm import render
from tools.chart.settings_schema import OWNED_OF_THE_PROXY
from tools.chart.values import CHART


def _variables(container):
    """The variables of a container; those from Secrets with some text."""
    return {v["name"]: v.get("value", "from-a-secret") for v in container.get("env", [])}


def known():
    """Variables of all settings."""
    return {"RANKD_" + name.upper().replace(".", "__") for name, _, _ in settings_reference()} | {"RANKD_CONFIG"}


def _load(documents, tmp_path, monkeypatch):
    """The settings that rankd reads in a rendered container."""
    variables = _variables(daemon(documents))
    ours = {name: value for name, value in variables.items() if name.startswith("RANKD_")}
    if "RANKD_CONFIG" in ours:
        settings = named(documents, "ConfigMap", "-settings")["data"]
        directory, _, file = ours["RANKD_CONFIG"].rpartition("/")
        mounts = {m["mountPath"] for m in daemon(documents)["volumeMounts"]}
        assert directory in mounts
        (tmp_path / file).write_text(settings[file])
        ours["RANKD_CONFIG"] = str(tmp_path / file)
    for name in [n for n in os.environ if n.startswith("RANKD_")]:
        monkeypatch.delenv(name)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    return load_settings(), ours


@pytest.mark.parametrize("name", MATRIX)
def test_rankd_takes_every_variable_and_setting_of_the_container(name, tmp_path, monkeypatch):
    settings, variables = _load(rendered(name), tmp_path, monkeypatch)
    assert set(variables) <= known(), "a variable that rankd does not know"
    # And none of them silently lost: each stands in the settings that were loaded.
    for variable, value in variables.items():
        if variable in ("RANKD_CONFIG", "RANKD_RANKER") or (variable.endswith("_KEY") and "TLS" not in variable):
            continue
        found = settings
        for part in variable.removeprefix("RANKD_").lower().split("__"):
            found = getattr(found, part)
        assert str(found).lower() in (value.lower(), f"{value}.0"), variable
    for section, values in given(name).get("settings", {}).items():
        for key, value in (values if isinstance(values, dict) else {}).items():
            found = getattr(getattr(settings, section), key)
            assert found == (tuple(value) if isinstance(value, list) else value), f"{section}.{key}"


@pytest.mark.parametrize("name", ["proxy", "proxied", "besides"])
def test_the_proxy_takes_every_variable_of_its_container(name, monkeypatch):
    (container,) = [c for _, _, s in pods(rendered(name)) for c in containers(s) if c["name"] == "proxy"]
    variables = _variables(container)
    for one in [n for n in os.environ if n.startswith("RANKD_")]:
        monkeypatch.delenv(one)
    of_the_proxy = {n: v for n, v in variables.items() if n.startswith("RANKD_PROXY_")}
    for variable, value in of_the_proxy.items():
        monkeypatch.setenv(variable, value)
    settings = load_proxy_settings()
    for variable, value in of_the_proxy.items():
        found = getattr(settings, variable.removeprefix("RANKD_PROXY_").lower())
        assert str(getattr(found, "value", found)) in (value, f"{value}.0"), variable
    assert set(variables) - set(of_the_proxy) <= set(INTEGRATION_VARIABLES)


def test_every_setting_that_values_may_name_reaches_the_proxy(monkeypatch):
    """Each with its default: what comes out is the proxy's own defaults again."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())["properties"]["proxy"]["properties"]["settings"]
    defaults = ProxySettings(upstream="http://vllm:8000").model_dump(mode="json")
    filled = {name: defaults[name] for name in schema["properties"]}
    assert set(defaults) - set(filled) == OWNED_OF_THE_PROXY
    documents = render({"proxy": {"enabled": True, "upstream": "http://vllm:8000", "settings": filled}})
    (container,) = [c for _, _, s in pods(documents) for c in containers(s) if c["name"] == "proxy"]
    for variable, value in _variables(container).items():
        monkeypatch.setenv(variable, value)
    assert load_proxy_settings().model_dump(mode="json", include=set(filled)) == filled


def test_every_setting_that_values_may_name_reaches_rankd(tmp_path, monkeypatch):
    """All of ``settings``, each with its default: the TOML that comes out is rankd's own defaults again."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())["properties"]["settings"]
    defaults = Settings().model_dump(mode="json")

    def fill(part, values):
        return {
            name: fill(child, values[name]) if "properties" in child else values[name]
            for name, child in part["properties"].items()
            if values[name] is not None
        }

    filled = fill(schema, defaults)
    assert len(filled) > 5
    assert len(filled["order"]) > 10
    settings, _ = _load(render({"settings": filled}), tmp_path, monkeypatch)
    assert fill(schema, settings.model_dump(mode="json")) == filled


def test_a_table_in_a_section_reaches_rankd(tmp_path, monkeypatch):
    """TOML's tables are no JSON objects."""
    values = {"settings": {"order": {"class_objectives": {"1": "mean", "-2": "first"}, "policy": "due"}}}
    order = _load(render(values), tmp_path, monkeypatch)[0].order
    assert (order.class_objectives, order.policy) == ({1: "mean", -2: "first"}, "due")


def test_settings_that_are_not_for_values_are_the_charts_own():
    """What ``settings`` leaves out is a variable of the container with everything on, or a Secret."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())["properties"]["settings"]["properties"]
    free = {f"{s}.{k}" for s, v in schema.items() for k in v.get("properties", {})} | set(schema)
    own = {name for name, _, _ in settings_reference()} - free
    given_variables = set(_variables(daemon(rendered("everything"))))
    for name in ("tls", "cpu", "scaled"):
        given_variables |= set(_variables(daemon(rendered(name))))
    missing = {name for name in own if "RANKD_" + name.upper().replace(".", "__") not in given_variables}
    assert missing == set()


@pytest.mark.parametrize("name", ["tls", "everything"])
def test_the_file_of_tokens_is_toml_as_written_in_values(name):
    auth = given(name)["auth"]
    text = named(rendered(name), "Secret", "-auth")["stringData"]["auth.toml"]
    parsed = tomllib.loads(text)
    for kind, key in (("token", "tokens"), ("certificate", "certificates"), ("tenant", "tenants")):
        wanted = auth.get(key, [])
        found = [{k: v for k, v in row.items() if k != "expires"} for row in parsed.get(kind, [])]
        assert found == [{k: v for k, v in row.items() if k != "expires"} for row in wanted]
        for row, one in zip(parsed.get(kind, []), wanted, strict=True):
            if "expires" in one:
                assert row["expires"].isoformat() == one["expires"].replace("Z", "+00:00")


def test_the_file_of_keys_is_toml_as_written_in_values():
    text = named(rendered("everything"), "Secret", "-signing")["stringData"]["signing.toml"]
    (key,) = tomllib.loads(text)["key"]
    assert key["id"] == "k1"
    assert len(base64.b64decode(key["secret"])) >= 32


def test_torchrun_is_given_flags_that_rankd_train_knows():
    job = named(rendered("everything"), "Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["torchrun"]
    at = container["args"].index("-m")
    launcher, program = container["args"][:at], container["args"][at + 1 :]
    assert program[0] == "rankd"
    arguments = build_parser().parse_args(program[1:])
    assert str(arguments.out) == "/var/lib/rankd/registry/spring"
    assert [str(d) for d in arguments.data] == ["/var/lib/rankd/log"]
    # The first pod's name, as Kubernetes makes it: its Job's, its index, and the Service that gives names.
    spec = job["spec"]["template"]["spec"]
    host = f"{job['metadata']['name']}-0.{spec['subdomain']}.serving.svc"
    assert f"--rdzv-endpoint={host}:29500" in launcher
    service = named(rendered("everything"), "Service", spec["subdomain"])
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 2
    assert "--node-rank=$(JOB_COMPLETION_INDEX)" in launcher


@pytest.mark.parametrize("name", ["scaled", "everything"])
def test_retraining_is_given_flags_that_rankd_knows(name):
    spec = next(s for label, _, s in pods(rendered(name)) if label.startswith("CronJob"))
    (container,) = spec["containers"]
    assert container["command"] == ["rankd"]
    arguments = build_parser().parse_args(container["args"])
    assert arguments.exit_zero
    assert [str(d) for d in arguments.data] == [
        {"scaled": "s3:/bucket/rankd?region=eu-central-1", "everything": "/var/lib/rankd/log"}[name]
    ]
    mounted = [m["mountPath"] for m in container["volumeMounts"]]
    assert {str(arguments.registry), str(arguments.scratch)} <= set(mounted)
    if name == "scaled":
        assert arguments.admin_name == "r-rankd-headless.serving.svc:50052"
        assert arguments.base == "ngram"
    else:
        assert arguments.admin == [f"r-rankd-{i}.r-rankd-headless.serving.svc:50052" for i in range(3)]
        assert (arguments.min_tau, [str(p) for p in arguments.evaluate_data]) == (0.2, ["/data/holdout.jsonl.gz"])
        assert str(arguments.tls_ca).startswith("/etc/rankd/client")
