"""Settings of rankd-vllm, and what importing it loads."""

import subprocess
import sys

import pytest
from rankd_client.integration.settings import INTEGRATION_VARIABLES
from rankd_client.ordering import Objective
from rankd_vllm import IntegrationSettings


def test_settings_come_from_the_environment(tmp_path):
    """Every variable is read; empty ones count as absent."""
    (tmp_path / "ca.pem").write_bytes(b"pem")
    read = IntegrationSettings.from_environment(
        {
            "RANKD_TARGET": "rankd:1",
            "RANKD_TIMEOUT": "0.2",
            "RANKD_MODEL": "m",
            "RANKD_OBJECTIVE": "makespan",
            "RANKD_CLIENT_PRIORITY": "ignore",
            "RANKD_MAX_BODY_BYTES": "10",
            "RANKD_TLS_ROOTS": str(tmp_path / "ca.pem"),
        }
    )
    assert (read.target, read.timeout, read.model, read.client_priority, read.max_body_bytes) == (
        "rankd:1", 0.2, "m", "ignore", 10,
    )  # fmt: skip
    assert read.objective is Objective.MAKESPAN
    assert read.tls.root_certificates == b"pem"
    assert IntegrationSettings.from_environment({"RANKD_TIMEOUT": "", "RANKD_TARGET": ""}) == IntegrationSettings()
    assert IntegrationSettings.from_environment({"RANKD_TLS_ROOTS": "system"}).tls.root_certificates is None


def test_all_variables_are_declared():
    """What is read is what the daemon knows as a plug-in's, and none of its own misspelt."""

    class Recorded(dict):
        def get(self, name, default=None):
            read.add(name)
            return super().get(name, default)

    read = set()
    IntegrationSettings.from_environment(Recorded(RANKD_TLS_ROOTS="system"))
    assert read == set(INTEGRATION_VARIABLES)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RANKD_TIMEOUT", "0"), ("RANKD_TIMEOUT", "nan"), ("RANKD_TIMEOUT", "soon"), ("RANKD_TIMEOUT", "inf"),
        ("RANKD_OBJECTIVE", "best"),
        ("RANKD_CLIENT_PRIORITY", "maybe"), ("RANKD_MAX_BODY_BYTES", "-1"), ("RANKD_TLS_ROOTS", "/nowhere.pem"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(name, value):
    """A server does not start with a setting that cannot be, and the message names the variable."""
    with pytest.raises(ValueError, match=name):
        IntegrationSettings.from_environment({name: value})


def test_the_middleware_loads_no_engine():
    """Importing the package needs neither vLLM nor the daemon."""
    code = "import sys, rankd_vllm; print([m for m in ('vllm', 'torch', 'onnxruntime', 'rankd') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
    assert not out.stderr


def test_the_daemon_starts_beside_the_variables_of_the_engine(monkeypatch):
    """One shell may start both: the daemon refuses variables that it does not know, but knows these."""
    from rankd.settings import load_settings

    for name in ("RANKD_TARGET", "RANKD_TIMEOUT", "RANKD_MODEL", "RANKD_OBJECTIVE", "RANKD_CLIENT_PRIORITY",
                 "RANKD_MAX_BODY_BYTES", "RANKD_TLS_ROOTS", "RANKD_TLS_CERTIFICATE", "RANKD_TLS_PRIVATE_KEY",
                 "RANKD_TOKEN", "RANKD_TOKEN_FILE", "RANKD_PLAINTEXT_TOKEN"):  # fmt: skip
        monkeypatch.setenv(name, "x")
    load_settings()
