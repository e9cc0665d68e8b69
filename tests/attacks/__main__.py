"""All attacks, one after the other: ``make attacks``, or some by name: ``python -m attacks fuzz worst_mix``.

Each is a script of its own and prints what it saw; at the end a table says which ones succeeded. They want the machine
for themselves, and root for control groups and namespaces.
"""

import subprocess
import sys
import time

from support.subprocesses import environment

ATTACKS = [
    "worst_mix", "fuzz", "empty_entries", "held_memory", "one_caller", "page_port", "no_descriptors", "scrapers",
    "shutdown", "answers_out_of_step", "answers_read_along", "silent_connections", "stalled_uploads", "names_asked",
]  # fmt: skip


def main() -> int:
    """Run them, and say how they ended."""
    rows = []
    for name in sys.argv[1:] or ATTACKS:
        print(f"-- {name}", flush=True)
        began = time.monotonic()
        status = subprocess.run([sys.executable, "-m", f"attacks.{name}"], env=environment(), check=False).returncode
        rows.append((name, "held" if status == 0 else "FAILED", time.monotonic() - began))
    print()
    for name, verdict, seconds in rows:
        print(f"{name:20} {verdict:7} {seconds:5.0f} s")
    return any(verdict == "FAILED" for _, verdict, _ in rows)


if __name__ == "__main__":
    sys.exit(main())
