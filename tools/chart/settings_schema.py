"""The JSON schema of the chart's ``settings``: rankd's own, less what the chart sets itself and less secrets."""

from __future__ import annotations

from typing import Any

from rankd.settings import Settings

OWNED = frozenset(
    {
        "listen", "metrics", "admin", "provider", "ranker", "registry", "drain_delay", "drain_timeout",
        "tls.certificate", "tls.private_key", "tls.client_ca", "auth.file", "auth.anonymous", "signing.file",
        "auth.plaintext", "completion_log.directory", "completion_log.join_key", "quality.snapshot",
        "quality.snapshot_key", "adapt.key",
        "fleet.peers", "fleet.follow", "fleet.token_file", "fleet.tls_roots", "fleet.tls_name",
    }
)  # fmt: skip
"""Settings that the chart gives as variables, which win over the file: in ``settings`` they would be ignored."""

_KEPT = (
    *("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "pattern", "items"),
    "additionalProperties",
)


def settings_schema() -> dict[str, Any]:
    """The schema of ``settings``, closed: a setting that is not in it is refused."""
    whole = Settings.model_json_schema()
    return _section(whole, whole["$defs"], "")


def _section(model: dict[str, Any], definitions: dict[str, Any], prefix: str) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, given in model["properties"].items():
        if prefix + name in OWNED:
            continue
        reference = given.get("$ref") or next((r["$ref"] for r in given.get("allOf", []) if "$ref" in r), "")
        if reference:
            section = _section(definitions[reference.rpartition("/")[2]], definitions, f"{prefix}{name}.")
            if section["properties"]:
                properties[name] = section
        elif given.get("format") != "password":
            properties[name] = _plain(given) | {"description": given.get("description", "")}
    return closed(properties)


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    """What helm's validator understands of a field's schema; None is left out, since TOML has none."""
    if choices := given.get("anyOf"):
        kinds = [_plain(c) for c in choices if c.get("type") != "null"]
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    plain = {key: given[key] for key in _KEPT if key in given}
    if isinstance(values := given.get("additionalProperties"), dict):
        plain["additionalProperties"] = _plain(values)
    if "const" in given:
        plain["enum"] = [given["const"]]
    return plain


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object that has these properties and no others."""
    return {"type": "object", "additionalProperties": False, "properties": properties}
