"""The JSON schemas of the chart's ``settings``: rankd's and its proxy's, less what it sets itself and secrets."""

from __future__ import annotations

from typing import Any, Literal

from rankd.proxy.settings import ProxySettings
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

OWNED_OF_THE_PROXY = frozenset({"upstream", "listen", "metrics", "direction", "drain_delay", "drain_timeout"})
"""The same of the proxy's."""

_KEPT = (
    *("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "pattern", "items"),
    "additionalProperties",
)


def settings_schema(whose: Literal["rankd", "proxy"] = "rankd") -> dict[str, Any]:
    """The schema of ``settings``, closed: a setting that is not in it is refused."""
    whole = (ProxySettings if whose == "proxy" else Settings).model_json_schema()
    return _section(whole, OWNED_OF_THE_PROXY if whose == "proxy" else OWNED, "")


def _section(
    model: dict[str, Any], owned: frozenset[str], prefix: str, root: dict[str, Any] | None = None
) -> dict[str, Any]:
    root = root or model
    properties: dict[str, Any] = {}
    for name, given in model["properties"].items():
        if prefix + name in owned:
            continue
        reference = given.get("$ref") or next((r["$ref"] for r in given.get("allOf", []) if "$ref" in r), "")
        definition = root["$defs"][reference.rpartition("/")[2]] if reference else {}
        if "properties" in definition:
            section = _section(definition, owned, f"{prefix}{name}.", root)
            if section["properties"]:
                properties[name] = section
        elif given.get("format") != "password":
            properties[name] = _plain(definition or given) | {"description": given.get("description", "")}
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
