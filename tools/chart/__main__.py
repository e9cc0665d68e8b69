"""Writes the chart's reference, schema and examples."""

import sys

from tools.chart import examples, reference
from tools.generated import main

if __name__ == "__main__":
    sys.exit(main("Write the chart's reference, schema and examples.", reference.files, examples.files))
