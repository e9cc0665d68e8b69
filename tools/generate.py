"""All generated files at once: ``python -m tools.generate`` writes them, ``--check`` compares."""

from __future__ import annotations

import sys

from tools import (
    command_line_reference,
    grpc_reference,
    python_client_reference,
    recording_rules,
    settings_reference,
    sync_clients,
    telemetry_reference,
)
from tools.chart import examples, reference
from tools.dashboard import dashboard
from tools.generated import main

GENERATORS = (
    sync_clients,  # first: the reference of the Python client reads what it makes
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


if __name__ == "__main__":
    sys.exit(main("Write all generated files.", *(generator.files for generator in GENERATORS)))
