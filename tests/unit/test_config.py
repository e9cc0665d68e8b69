"""Settings: precedence, and errors that name the setting."""

import pytest

from rankd.config import load_settings, settings_reference, split_address
from rankd.errors import ConfigError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.startswith("RANKD_"):
            monkeypatch.delenv(name)


def test_flag_before_environment_before_file(monkeypatch, tmp_path):
    """The documented precedence holds, also inside a section."""
    file = tmp_path / "rankd.toml"
    file.write_text('listen = "127.0.0.1:1"\nmetrics = "127.0.0.1:2"\nprovider = "cpu"\n[scoring]\nthreads = 3\n')
    monkeypatch.setenv("RANKD_CONFIG", str(file))
    monkeypatch.setenv("RANKD_METRICS", "127.0.0.1:22")
    monkeypatch.setenv("RANKD_SCORING__NICE", "7")
    settings = load_settings(listen="127.0.0.1:111")
    assert (settings.listen, settings.metrics, settings.provider) == ("127.0.0.1:111", "127.0.0.1:22", "cpu")
    assert (settings.scoring.threads, settings.scoring.nice) == (3, 7)


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("RANKD_LISTEN", "nowhere", "listen"),
        ("RANKD_LISTEN", "h:99999", "listen"),
        ("RANKD_LISTEN", "", "listen"),
        ("RANKD_PROVIDER", "tpu", "provider"),
        ("RANKD_SCORING__THREADS", "many", "scoring.threads"),
        ("RANKD_SCORING__THREADS", "0", "scoring.threads"),
        ("RANKD_LIMITS__MAX_ITEMS", "-1", "limits.max_items"),
        ("RANKD_GUARD__FLOOR", "2", "guard.floor"),
        ("RANKD_TLS__CERTIFICATE", "/x", "tls"),
    ],
)
def test_a_wrong_value_names_its_setting(monkeypatch, name, value, setting):
    """The operator reads which setting is wrong, and its environment variable."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"{setting} \(RANKD_{setting.upper().replace('.', '__')}\)"):
        load_settings()


def test_a_misspelt_variable_is_an_error(monkeypatch):
    """It is named, with the nearest that exists; variables that Kubernetes injects for a service are let be."""
    monkeypatch.setenv("RANKD_PORT", "tcp://10.0.0.1:50051")
    monkeypatch.setenv("RANKD_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("RANKD_PORT_50051_TCP_ADDR", "10.0.0.1")
    load_settings()
    monkeypatch.setenv("RANKD_SCORING__THRAEDS", "2")
    with pytest.raises(
        ConfigError, match="RANKD_SCORING__THRAEDS: no such setting; did you mean RANKD_SCORING__THREADS"
    ):
        load_settings()


def test_a_wrong_file_is_named(monkeypatch, tmp_path):
    """A config file that is missing, malformed or has an unknown setting is an error that says so."""
    monkeypatch.setenv("RANKD_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match="no such file"):
        load_settings()
    file = tmp_path / "bad.toml"
    file.write_text("listen = ")
    monkeypatch.setenv("RANKD_CONFIG", str(file))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings()
    file.write_text("[scoring]\nthraeds = 2\n")
    with pytest.raises(ConfigError, match=r"scoring\.thraeds"):
        load_settings()


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:50051", "0.0.0.0:65535", "localhost:9464"])
def test_addresses(address):
    """Host and port, IPv6 in brackets."""
    host, port = split_address(address)
    assert host
    assert 0 <= port <= 65535


def test_every_setting_is_documented():
    """No setting without a description; names are unique."""
    rows = settings_reference()
    assert all(description for _, _, description in rows)
    assert len({name for name, _, _ in rows}) == len(rows)


def test_defaults_are_those_that_were_measured():
    """The settings' defaults are those of the quality room, whose behaviour docs/quality.md reports."""
    from rankd.monitor import guard_settings, quality_settings
    from rankd.quality import GuardSettings, QualitySettings

    assert quality_settings(load_settings()) == QualitySettings()
    assert guard_settings(load_settings()) == GuardSettings()
