"""All generated files at once: ``python -m tools.generate`` writes them, ``--check`` compares."""

from __future__ import annotations

import sys
from pathlib import Path

from tools import (
    command_line_reference,
    grpc_reference,
    python_client_reference,
    recording_rules,
    settings_reference,
    telemetry_reference,
)
from tools.chart import examples, reference
from tools.dashboard import dashboard
from tools.generated import main

GENERATORS = (
    dashboard,
    recording_rules,
    reference,
    examples,
    settings_reference,
    telemetry_reference,
    command_line_reference,
    grpc_reference,
    python_client_reference,
)


def files() -> dict[Path, str]:
    """What all generators write."""
    return {path: text for generator in GENERATORS for path, text in generator.files().items()}


if __name__ == "__main__":
    sys.exit(main(files, "Write all generated files."))
