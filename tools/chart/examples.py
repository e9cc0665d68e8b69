"""What the chart renders from sets of values, as files to look at: a change of a template shows as a difference."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import yaml

from tools.chart.helm import render
from tools.generated import ROOT

VALUES = ROOT / "tests" / "chart" / "values"
EXAMPLES = ROOT / "tests" / "chart" / "examples"
MATRIX = tuple(sorted(path.stem for path in VALUES.glob("*.yaml")))
"""The names of the sets of values."""


def given(name: str) -> dict[str, Any]:
    """A set of values."""
    return yaml.safe_load((VALUES / f"{name}.yaml").read_text(encoding="utf-8")) or {}


@functools.cache
def rendered(name: str) -> list[dict[str, Any]]:
    """The objects of a set of values."""
    return render(given(name))


def example(name: str) -> str:
    """What is checked in of a set of values. Rules and dashboards are files of their own, and left out."""
    shown = []
    for document in rendered(name):
        if document["kind"] == "PrometheusRule":
            shown.append(document | {"spec": {"groups": "of files/rules"}})
        elif document["metadata"]["name"].endswith("-dashboards"):
            shown.append(document | {"data": "files/dashboards"})
        else:
            shown.append(document)
    text: str = yaml.dump_all(shown, Dumper=_Dumper, sort_keys=False, width=120)
    return text


class _Dumper(yaml.SafeDumper):
    """Scripts as they are written, not as one quoted line."""


def _represent_text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    plain = re.sub(r"[ \t]+$", "", value, flags=re.MULTILINE)
    return dumper.represent_scalar("tag:yaml.org,2002:str", plain, style="|" if "\n" in plain else None)


_Dumper.add_representer(str, _represent_text)


def files() -> dict[Path, str]:
    """An example of each set of values."""
    return {EXAMPLES / f"{name}.yaml": example(name) for name in MATRIX}
