"""Settings: precedence, and errors that name the setting."""

import pytest
from annotated_types import Le

from rankd.errors import ConfigError
from rankd.settings import Settings, load_settings, settings_reference, split_address


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
        ("RANKD_METRICS", "[]:0", "metrics"),
        ("RANKD_METRICS", ":0", "metrics"),
        ("RANKD_ADMIN", "::1:0", "admin"),
        ("RANKD_ADMIN", "[::1:0", "admin"),
        ("RANKD_ADMIN", "127.0.0.1:\u0663", "admin"),
        ("RANKD_ORDER__OBJECTIVE", "fast", "order.objective"),
        ("RANKD_ORDER__OBJECTIVE", "slo", "order"),
        ("RANKD_ORDER__SLO", "quickly", "order.slo"),
        ("RANKD_ORDER__TAIL_BUDGET", "0.5", "order.tail_budget"),
        ("RANKD_ORDER__PROMPT_COST", "-0.5", "order.prompt_cost"),
        ("RANKD_ORDER__CLASS_OBJECTIVES", '{"1": "slo"}', "order"),
        ("RANKD_ORDER__CLASS_OBJECTIVES", '["mean"]', "order.class_objectives"),
    ],
)
def test_a_wrong_value_names_its_setting(monkeypatch, name, value, setting):
    """The operator reads which setting is wrong, and its environment variable."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=rf"{setting} \(RANKD_{setting.upper().replace('.', '__')}\)"):
        load_settings()


@pytest.mark.parametrize("value", ['{"x": "mean"}', '{"1": "quick"}', '{"99999": "mean"}', '{"1": "mean"', "mean"])
def test_a_wrong_table_names_the_variable_that_holds_it(monkeypatch, value):
    """What is in a table has no variable of its own: whoever took its name for one would be told that there is none."""
    monkeypatch.setenv("RANKD_ORDER__CLASS_OBJECTIVES", value)
    with pytest.raises(ConfigError, match=r"RANKD_ORDER__CLASS_OBJECTIVES(\)|: must be JSON, such as \{)"):
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
    with pytest.raises(ConfigError, match=r"bad\.toml is not TOML: Invalid value"):
        load_settings()
    file.write_text("x = " + "[" * 100_000)
    with pytest.raises(ConfigError, match=r"bad\.toml is not TOML"):
        load_settings()
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"bad\.toml is not UTF-8"):
        load_settings()
    monkeypatch.setenv("RANKD_CONFIG", str(tmp_path))
    with pytest.raises(ConfigError, match="is a directory"):
        load_settings()
    monkeypatch.setenv("RANKD_CONFIG", str(file))
    file.write_text("[scoring]\nthraeds = 2\n")
    with pytest.raises(ConfigError, match=r"scoring\.thraeds"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("RANKD_QUALITY__MODELS", "abc"), ("RANKD_QUALITY__MODELS", "[" * 100_000), ("RANKD_SCORING", "{bad")],
)
def test_a_value_that_is_no_json_names_its_variable(monkeypatch, name, value):
    """A list, or a section in one variable, is JSON: which variable is not, and what it would look like."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name}: must be JSON, such as "):
        load_settings()


def test_lists_and_sections_as_json(monkeypatch):
    """What is JSON is taken."""
    monkeypatch.setenv("RANKD_QUALITY__MODELS", '["a", "b"]')
    monkeypatch.setenv("RANKD_SCORING", '{"threads": 2}')
    settings = load_settings()
    assert (settings.quality.models, settings.scoring.threads) == (("a", "b"), 2)


def numbers():
    """Every setting that is a number: its name, type and greatest value."""
    for section, holder in Settings.model_fields.items():
        for name, field in holder.annotation.model_fields.items() if hasattr(holder.annotation, "model_fields") else ():
            if field.annotation in (int, float):
                yield f"{section}.{name}", field
        if holder.annotation in (int, float):
            yield section, holder


def greatest(field):
    return next((m.le for m in field.metadata if isinstance(m, Le)), None)


@pytest.mark.parametrize(("name", "field"), list(numbers()), ids=[name for name, _ in numbers()])
def test_every_number_has_an_end(monkeypatch, name, field):
    """No value of a setting reaches a timer, grpc or an allocation that cannot take it: it is refused by name."""
    variable = "RANKD_" + name.upper().replace(".", "__")
    values = [str(10**30), str(greatest(field) + 1)]
    if field.annotation is float:
        values += ["inf", "nan", "1e300"]
    for value in values:
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigError, match=rf"{name} \({variable}\)"):
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
    """The settings' defaults are those of the quality room, whose behaviour was measured."""
    from rankd.monitor.tracker_settings import guard_settings, quality_settings
    from rankd.quality import GuardSettings, QualitySettings

    assert quality_settings(load_settings()) == QualitySettings()
    assert guard_settings(load_settings()) == GuardSettings()
