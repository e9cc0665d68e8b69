"""A process that runs `rankd retrain` again and again in children of its own, which are killed, or find the disk full.

Children are forked, so that a death costs no start of Python; nothing has a thread or a channel before that. Told what
to do by lines of JSON on stdin, it answers by one each on stdout.
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path

from rankd.retraining.run import Retraining
from support.retraining import QuickTools, append_rows, options


class _Ticks:
    """Counts what a run does to its files and says to daemons; kills the process before the ``last``."""

    def __init__(self, registry, last):
        self.count, self._registry, self._last = 0, str(registry), last
        sys.addaudithook(self._saw)

    def _saw(self, event, arguments):
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in ("os.rename", "os.mkdir", "os.remove", "shutil.rmtree")) and self._registry in str(
            arguments[0]
        ):
            self.tick()

    def tick(self):
        self.count += 1
        if self.count == self._last:
            os.kill(os.getpid(), signal.SIGKILL)


class _Tools(QuickTools):
    """Says something, or reaches a daemon: a point to die at, too."""

    ticks = None

    def say(self, line):
        super().say(line)
        self.ticks.tick()

    def connect(self, target):
        self.ticks.tick()
        return super().connect(target)


def _run(place, wanted, answer):
    if wanted.get("bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (wanted["bytes"], wanted["bytes"]))
    more = wanted.get("options", {})
    chosen = options(place, **more | ({"against": Path(more["against"])} if "against" in more else {}))
    tools = _Tools()
    tools.ticks = _Ticks(chosen.registry, wanted.get("kill_at"))
    record = Retraining(chosen, tools).run()
    os.write(answer, json.dumps({"record": record.as_json(), "ticks": tools.ticks.count}).encode())


def main():
    """Serve until stdin ends."""
    for line in sys.stdin:
        wanted = json.loads(line)
        place = Path(wanted["place"])
        if wanted.get("rows"):
            append_rows(place / "rows.jsonl", wanted["rows"], seed=wanted["rows"])
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            os.close(reader)
            try:
                _run(place, wanted, writer)
            finally:
                os._exit(0)
        os.close(writer)
        said = b""
        while part := os.read(reader, 65536):
            said += part
        os.close(reader)
        _, status = os.waitpid(child, 0)
        answer = json.loads(said) if said else {}
        sys.stdout.write(json.dumps(answer | {"killed": os.WIFSIGNALED(status)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
