"""All attacks at once on a daemon with 512 MiB, for a minute, while well-behaved callers go on.

``python -m attacks.worst_mix [--seconds 60] [--memory 512] [--kinds bombs,greedy]``: the daemon lives, 99 % of
the others are answered in time, and 5 s after the attack all is as before. Needs root, for a control group.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
import urllib.request

import psutil
from support.control_group import ControlGroup
from support.daemon import DaemonProcess
from support.subprocesses import environment

from attacks.attackers import KINDS

WANTED = 0.99
PROBE_SECONDS = 1.0
"""What Kubernetes gives a probe by default."""


class Probe(threading.Thread):
    """Asks /livez and /readyz as a kubelet does, but four times a second."""

    def __init__(self, page: str) -> None:
        super().__init__(daemon=True)
        self._page, self.asked, self.failed, self.over = page, 0, 0, threading.Event()

    def run(self) -> None:
        """Ask until told that it is over."""
        while not self.over.wait(0.25):
            for name in ("livez", "readyz"):
                self.asked += 1
                try:
                    with urllib.request.urlopen(self._page + name, timeout=PROBE_SECONDS) as answer:
                        self.failed += answer.status != 200
                except OSError:
                    self.failed += 1


def callers(target: str, seconds: float) -> dict[str, object]:
    """Well-behaved callers for so long, in a process of their own."""
    command = [sys.executable, "-m", "attacks.callers", target, str(seconds)]
    done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, check=True, timeout=seconds + 60)
    return json.loads(done.stdout)


def attack(daemon: DaemonProcess, kinds: list[str], seconds: float) -> dict[str, object]:
    """All kinds at once, beside callers and probes; gives how those fared."""
    probe = Probe(daemon.http)
    attackers = [
        subprocess.Popen(
            [sys.executable, "-m", "attacks.attackers", kind, daemon.target, daemon.http, str(seconds)],
            env=environment(), stderr=subprocess.DEVNULL,
        )
        for kind in kinds
    ]  # fmt: skip
    probe.start()
    try:
        out = callers(daemon.target, seconds)
    finally:
        probe.over.set()
        for attacker in attackers:
            attacker.kill()
            attacker.wait()
    return out | {"probes": probe.asked, "probes_failed": probe.failed}


def held(process: psutil.Process) -> dict[str, int]:
    """What the daemon has at present."""
    return {
        "rss_mib": process.memory_info().rss >> 20, "threads": process.num_threads(), "descriptors": process.num_fds()
    }  # fmt: skip


def main() -> int:
    """Attack, and say how everybody fared."""
    parser = argparse.ArgumentParser(prog="attacks.worst_mix", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--memory", type=int, default=512, help="MiB")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--ranker", default=None)
    given = parser.parse_args()
    limit = ControlGroup("rankd-worst-mix", given.memory << 20)
    daemon = DaemonProcess(given.ranker, prefix=limit.prefix)
    faults = []
    try:
        process = psutil.Process(daemon.process.pid)
        calm = callers(daemon.target, 10)
        before = held(process)
        print("calm", json.dumps(calm | before), flush=True)
        mixed = attack(daemon, given.kinds.split(","), given.seconds)
        peak = (limit.peak or 0) >> 20
        print("attack", json.dumps(mixed | {"peak_mib": peak, "kills": limit.kills}), flush=True)
        alive = daemon.process.poll() is None
        faults += [] if alive and not limit.kills else ["the daemon did not live"]
        faults += [] if mixed["in_time"] >= WANTED else [f"only {mixed['in_time']:.2%} of the others in time"]
        faults += [] if mixed["probes_failed"] <= 0.01 * mixed["probes"] else ["probes failed"]
        if alive:
            time.sleep(5)
            after = callers(daemon.target, 10)
            now = held(process)
            print("after", json.dumps(after | now), flush=True)
            faults += [] if after["in_time"] >= min(WANTED, calm["in_time"]) else ["not as before afterwards"]
            faults += [] if now["descriptors"] <= before["descriptors"] + 8 else ["descriptors are left open"]
            alive = daemon.process.poll() is None
            faults += [] if alive else ["the daemon did not live on"]
    finally:
        if daemon.process.poll() is not None:
            print("ended", daemon.process.returncode, *daemon.lines[-40:], flush=True)
        daemon.kill()
        time.sleep(0.5)
        limit.close()
    print("\n".join(faults) or "well")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
