"""``python -m rankd``."""

import sys

from rankd.cli import main

sys.exit(main())
