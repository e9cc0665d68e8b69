"""Schemas, by hand, of what the chart uses of cert-manager's, the Prometheus operator's and the Gateway API's kinds.

Nothing installed here carries their own. Written after https://cert-manager.io/docs/reference/api-docs,
https://prometheus-operator.dev/docs/api-reference/api and https://gateway-api.sigs.k8s.io/reference/spec.
"""


def _closed(required, **properties):
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _document(api_version, kind, spec):
    metadata = _closed(
        ["name", "namespace", "labels"],
        name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253},
        namespace={"type": "string"},
        labels={"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}},
        annotations={"type": "object", "additionalProperties": {"type": "string"}},
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
_NAMES = {"type": "array", "minItems": 1, "items": _TEXT}
_RELABELINGS = {
    "type": "array",
    "items": _closed(
        [], sourceLabels=_NAMES, separator=_TEXT, targetLabel=_TEXT, regex=_TEXT, replacement={"type": "string"},
        action={"enum": ["replace", "keep", "drop", "labeldrop", "labelkeep", "labelmap", "hashmod"]},
    ),
}  # fmt: skip


def _monitor(endpoints):
    endpoint = _closed(
        ["port"], port=_TEXT, path={"type": "string", "pattern": "^/"}, interval=_TIME, scrapeTimeout=_TIME,
        relabelings=_RELABELINGS, metricRelabelings=_RELABELINGS,
    )  # fmt: skip
    return _closed(
        ["selector", endpoints],
        selector=_closed(["matchLabels"], matchLabels=_LABELS),
        namespaceSelector=_closed([], any={"type": "boolean"}, matchNames={"type": "array", "items": _TEXT}),
        **{endpoints: {"type": "array", "minItems": 1, "items": endpoint}},
    )


_HOST = {"type": "string", "pattern": rf"^(\*\.)?{_LABEL}(\.{_LABEL})*$"}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_DURATION = {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}
_MATCH = _closed(["path"], path=_closed(["type", "value"], type={"enum": ["PathPrefix"]}, value=_TEXT))


def _route(**of_a_rule):
    return _closed(
        ["parentRefs", "rules"],
        parentRefs={
            "type": "array",
            "minItems": 1,
            "items": _closed(["name"], name=_TEXT, namespace=_TEXT, sectionName=_TEXT, port=_PORT),
        },
        hostnames={"type": "array", "items": _HOST},
        rules={
            "type": "array",
            "items": _closed(
                ["backendRefs"],
                backendRefs={"type": "array", "items": _closed(["name", "port"], name=_TEXT, port=_PORT)},
                **of_a_rule,
            ),
        },
    )


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
        ("monitoring.coreos.com/v1", "ServiceMonitor", _monitor("endpoints")),
        ("monitoring.coreos.com/v1", "PodMonitor", _monitor("podMetricsEndpoints")),
        ("gateway.networking.k8s.io/v1", "GRPCRoute", _route()),
        (
            "gateway.networking.k8s.io/v1",
            "HTTPRoute",
            _route(
                matches={"type": "array", "items": _MATCH},
                timeouts=_closed([], request=_DURATION, backendRequest=_DURATION),
            ),
        ),
        # Of the examples' extraObjects.
        ("gateway.networking.k8s.io/v1", "BackendTLSPolicy", {"type": "object"}),
        ("monitoring.coreos.com/v1", "PrometheusRule", _RULES),
    )
}
