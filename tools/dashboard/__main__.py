"""Writes the dashboard."""

import sys

from tools.dashboard.dashboard import files
from tools.generated import main

if __name__ == "__main__":
    sys.exit(main("Write the chart's Grafana dashboard.", files))
