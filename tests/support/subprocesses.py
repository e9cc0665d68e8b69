"""The environment of scripts that tests start: what the tests import, they can import too."""

import os

from support.repository import TESTS


def environment(**more):
    """This process's environment, with the package ``support`` to be found, and ``more``."""
    before = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *([before] if before else [])]), **more}
