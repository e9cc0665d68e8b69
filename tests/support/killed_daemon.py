"""``rankd serve`` that kills itself with SIGKILL at one point of its way through the registry's history.

``python killed_daemon.py POINT FILE ... serve ...``: once ``FILE`` is there, the next step ends it at ``POINT``.
"""

import os
import signal
import sys
from pathlib import Path

POINTS = {"before_line": "old", "half_line": "old", "before_sync": "new", "before_link": "new", "before_swap": "new"}
"""What is served at the next start: the ranker before the step, or the step's."""


class KillingSystem:
    """The module ``os``, in which one call of the next step is the last."""

    def __init__(self, point, armed):
        self._point, self._armed = point, Path(armed)

    def __getattr__(self, name):
        return getattr(os, name)

    def die_at(self, point):
        if point == self._point and self._armed.exists():
            os.kill(os.getpid(), signal.SIGKILL)

    def write(self, file, content):
        self.die_at("before_line")
        if self._point == "half_line" and self._armed.exists():
            os.write(file, content[: len(content) // 2])
        self.die_at("half_line")
        return os.write(file, content)

    def fsync(self, file):
        self.die_at("before_sync")
        os.fsync(file)


def main(arguments):
    from rankd.cli import main
    from rankd.registry import history, history_file
    from rankd.registry.promotion import Promotion

    system = history_file.os = KillingSystem(arguments[0], arguments[1])
    point, swap = history.point, Promotion._swap

    def killing_point(link, target):
        system.die_at("before_link")
        point(link, target)

    def killing_swap(promotion, version):
        system.die_at("before_swap")
        return swap(promotion, version)

    history.point, Promotion._swap = killing_point, killing_swap
    return main(arguments[arguments.index("serve") :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
