"""The dashboard's JSON: panels with their places, the variables that filter them, and how values are shown.

Fields are those of Grafana 10.1, which later ones import; a test reads them back through Grafana's own types.
"""

import json
from pathlib import Path
from typing import Any

from tools.dashboard.daemon_panels import LOG, PROCESS, RANKER
from tools.dashboard.order_panels import ORDER
from tools.dashboard.panel import Panel
from tools.dashboard.promql import BOTH, REPLICA
from tools.dashboard.quality_panels import HELP
from tools.dashboard.savings_panels import SAVED
from tools.dashboard.traffic_panels import LATENCY, TRAFFIC
from tools.generated import ROOT

FILE = ROOT / "charts" / "rankd" / "files" / "dashboards" / "rankd.json"
Json = dict[str, Any]

ROWS = {
    "What ranking saves": SAVED,
    "How good is the order?": HELP,
    "What is it for?": ORDER,
    "Traffic": TRAFFIC,
    "Latency": LATENCY,
    "Ranker": RANKER,
    "Completion log": LOG,
    "Process": PROCESS,
}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_HIDDEN = ["Time", "Value", "__name__", "otel_scope_name", "otel_scope_schema_url", "otel_scope_version", "endpoint"]


def variable(name: str, label: str, query: str) -> Json:
    """A filter over what there is, several values at a time; All also finds what lacks the label."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": "All", "value": "$__all"},
        "hide": 0,
        "regex": "",
        "skipUrlSync": False,
    }


VARIABLES = [
    {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "current": {},
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
    },
    variable("job", "Job", "label_values(rankd_ranker_info, job)"),
    variable("instance", "Replica", 'label_values(rankd_ranker_info{job=~"$job"}, instance)'),
    variable("model", "Served model", 'label_values(rankd_guard_mode{job=~"$job"}, model)'),
    variable("ranker_version", "Ranker", 'label_values(rankd_guard_mode{job=~"$job"}, ranker_version)'),
]


def annotation(name: str, colour: str, expression: str, title: str, text: str) -> Json:
    """Marks on all panels where an expression is 1: one where it is so for a moment, from to where it is for longer."""
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expression,
        "titleFormat": title,
        "textFormat": text,
    }


_INFO = f"rankd_ranker_info{{{REPLICA}}}"
ANNOTATIONS = [
    annotation(
        "Fallbacks",
        "red",
        f'rankd_guard_mode{{{BOTH},mode="fallback"}} == 1',
        "fallback: {{model}} on {{instance}}",
        "{{ranker_version}} is held back by its guard",
    ),
    annotation(
        "Pilots",
        "purple",
        f'rankd_pilot_running{{{REPLICA},model=~"$model"}} == 1',
        "pilot: {{model}} on {{instance}}",
        "figures are of both policies",
    ),
    annotation(
        "Rankers that came into service",
        "blue",
        f"{_INFO} unless on (job, instance, ranker_version) {_INFO} offset $__interval",
        "{{ranker_version}} came into service on {{instance}}",
        "promoted, rolled back, or the daemon started",
    ),
]


def field_config(panel: Panel) -> Json:
    """How values are written and coloured."""
    steps = [{"color": colour, "value": value} for value, colour in panel.steps or [(None, "green")]]
    styles: dict[str, Json] = {
        "timeseries": {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if panel.stack else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stack else "none", "group": "A"},
        },
        "state-timeline": {"fillOpacity": 75, "lineWidth": 0},
    }
    defaults: Json = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": steps},
        "custom": styles.get(panel.kind, {}),
        "mappings": _mappings(panel),
    }
    numbers = {"min": panel.low, "max": panel.high, "decimals": panel.decimals}
    defaults |= {name: value for name, value in numbers.items() if value is not None}
    dashes = {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [6, 4]}}
    overrides = (
        [{"matcher": {"id": "byRegexp", "options": panel.dashed}, "properties": [dashes]}] if panel.dashed else []
    )
    return {"defaults": defaults, "overrides": overrides}


def _mappings(panel: Panel) -> list[Json]:
    options = {
        value: {"text": text, "color": colour, "index": index}
        for index, (value, (text, colour)) in enumerate(panel.value_names.items())
    }
    return [{"type": "value", "options": options}] if options else []


def options_of(panel: Panel) -> Json:
    """The options of the kind of panel."""
    options: dict[str, Json] = {
        "timeseries": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "stat": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "area",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "auto" if panel.unit != "short" or panel.decimals else "value_and_name",
        },
        "state-timeline": {
            "mergeValues": True,
            "showValue": "auto",
            "rowHeight": 0.8,
            "alignValue": "left",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "single", "sort": "none"},
        },
        "table": {"showHeader": True, "frameIndex": 0, "cellHeight": "sm"},
    }
    return options[panel.kind]


def panel_json(panel: Panel, number: int, x: int, y: int) -> Json:
    """One panel as Grafana has it."""
    targets = [
        {
            "datasource": SOURCE,
            "refId": chr(ord("A") + index),
            "expr": expression,
            "legendFormat": legend,
            "editorMode": "code",
            "range": panel.kind != "table",
            "instant": panel.kind == "table",
            "format": "table" if panel.kind == "table" else "time_series",
        }
        for index, (expression, legend) in enumerate(panel.queries)
    ]
    made: Json = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "targets": targets,
        "fieldConfig": field_config(panel),
        "options": options_of(panel),
    }
    if panel.kind == "table":
        organise = {"excludeByName": dict.fromkeys(_HIDDEN, True), "indexByName": {}, "renameByName": {}}
        made["transformations"] = [{"id": "organize", "options": organise}]
    return made


def laid_out() -> list[Json]:
    """All rows and panels with their places, left to right and top to bottom."""
    made: list[Json] = []
    y = 0
    for title, panels in ROWS.items():
        place = {"x": 0, "y": y, "w": 24, "h": 1}
        made.append(
            {"id": len(made) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        )
        x, y, height = 0, y + 1, 0
        for panel in panels:
            if x + panel.width > 24:
                x, y, height = 0, y + height, 0
            made.append(panel_json(panel, len(made) + 1, x, y))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return made


def dashboard() -> Json:
    """The whole dashboard."""
    return {
        "title": "rankd",
        "uid": "rankd",
        "description": "Does rankd help, what is it doing, and how fast? Each panel explains itself behind its (i).",
        "tags": ["rankd", "llm"],
        "schemaVersion": 38,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": ANNOTATIONS},
        "templating": {"list": VARIABLES},
        "panels": laid_out(),
    }


def files() -> dict[Path, str]:
    """The dashboard's file."""
    return {FILE: json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"}
