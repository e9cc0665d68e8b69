"""Helm: what the chart makes of values."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools.chart.values import CHART
from tools.generated import ROOT

KUBERNETES = "1.30.0"
"""The version that charts are rendered for."""

_HELM = ROOT / ".venv" / "helm" / "helm"


def helm(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run helm; its output and status.

    Raises:
        FileNotFoundError: there is no helm.
    """
    program = os.environ.get("HELM", str(_HELM))
    if not Path(program).exists():
        raise FileNotFoundError(f"{program} is missing: `make helm` installs it, or name another one by HELM")
    command = [program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603


def template(chart: Path, *arguments: object, kubernetes: str = KUBERNETES) -> subprocess.CompletedProcess[str]:
    """Run ``helm template``."""
    return helm("template", "r", chart, "--namespace", "serving", "--kube-version", f"v{kubernetes}", *arguments)


def render(values: Mapping[str, Any], *, chart: Path = CHART, kubernetes: str = KUBERNETES) -> list[dict[str, Any]]:
    """The objects that values make of the chart.

    Raises:
        ValueError: helm refuses the values; what it says.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(values, file)  # JSON is YAML
        file.flush()
        done = template(chart, "--values", file.name, kubernetes=kubernetes)
    if done.returncode != 0:
        raise ValueError(done.stderr)
    return objects(done.stdout)


def objects(text: str) -> list[dict[str, Any]]:
    """The objects in what helm prints."""
    return [document for document in yaml.safe_load_all(text) if document]
