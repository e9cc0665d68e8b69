"""Writes the chart's reference, schema and examples."""

import sys
from pathlib import Path

from tools.chart import examples, reference
from tools.generated import main


def files() -> dict[Path, str]:
    """All that is made for the chart; needs helm."""
    return reference.files() | examples.files()


if __name__ == "__main__":
    sys.exit(main(files, "Write the chart's reference, schema and examples."))
