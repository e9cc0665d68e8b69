"""Schemas, by hand, of the fields that the chart uses of cert-manager's and the Prometheus operator's kinds.

Nothing installed here carries their own. Written after https://cert-manager.io/docs/reference/api-docs and
https://prometheus-operator.dev/docs/api-reference/api.
"""


def _closed(required, **properties):
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _document(api_version, kind, spec):
    metadata = _closed(
        ["name", "namespace", "labels"],
        name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253},
        namespace={"type": "string"},
        labels={"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
    )
    return _closed(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": api_version}, kind={"const": kind}, metadata=metadata, spec=spec,
    )  # fmt: skip


_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_TEXT = {"type": "string", "minLength": 1}
_TIME = {"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"}
_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
_CERTIFICATE = _closed(
    ["secretName", "dnsNames", "issuerRef"],
    secretName=_TEXT,
    duration={"type": "string", "pattern": "^([0-9]+[hms])+$"},
    renewBefore={"type": "string", "pattern": "^([0-9]+[hms])+$"},
    privateKey=_closed(
        ["algorithm"], algorithm={"enum": ["RSA", "ECDSA", "Ed25519"]}, size={"enum": [256, 384, 521]},
        rotationPolicy={"enum": ["Never", "Always"]},
    ),
    usages={"type": "array", "items": {"enum": ["digital signature", "server auth", "client auth"]}},
    dnsNames={
        "type": "array", "minItems": 1, "uniqueItems": True,
        "items": {"type": "string", "pattern": rf"^(\*\.)?{_LABEL}(\.{_LABEL})*$"},
    },
    issuerRef=_closed(["name"], name=_TEXT, kind=_TEXT, group=_TEXT),
)  # fmt: skip
_MONITOR = _closed(
    ["selector", "endpoints"],
    selector=_closed(["matchLabels"], matchLabels=_LABELS),
    namespaceSelector=_closed([], any={"type": "boolean"}, matchNames={"type": "array", "items": _TEXT}),
    endpoints={
        "type": "array", "minItems": 1,
        "items": _closed(
            ["port"], port=_TEXT, path={"type": "string", "pattern": "^/"}, interval=_TIME, scrapeTimeout=_TIME,
            relabelings={
                "type": "array",
                "items": _closed(["targetLabel", "replacement"], targetLabel=_TEXT, replacement=_TEXT),
            },
        ),
    },
)  # fmt: skip
_RULE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["expr"],
    "oneOf": [{"required": ["alert"]}, {"required": ["record"]}],
    "properties": {
        "alert": _TEXT, "record": _TEXT, "expr": {"type": ["string", "integer"]}, "for": _TIME,
        "keep_firing_for": _TIME,
        "labels": _LABELS, "annotations": _LABELS,
    },
}  # fmt: skip
_GROUP = _closed(
    ["name", "rules"], name=_TEXT, interval=_TIME, limit={"type": "integer"}, labels=_LABELS,
    rules={"type": "array", "items": _RULE},
)  # fmt: skip
_RULES = _closed(["groups"], groups={"type": "array", "minItems": 1, "items": _GROUP})

CRDS = {
    (version, kind): _document(version, kind, spec)
    for version, kind, spec in (
        ("cert-manager.io/v1", "Certificate", _CERTIFICATE),
        ("monitoring.coreos.com/v1", "ServiceMonitor", _MONITOR),
        ("monitoring.coreos.com/v1", "PrometheusRule", _RULES),
    )
}
